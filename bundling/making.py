"""A bundle is made: all that a lab is installed from where there is no network, in one directory."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ansible_collections.endolab.active_learning.bundling import controller, images, packages, sbom
from ansible_collections.endolab.active_learning.bundling.fetching import (
    Wanted,
    fetch,
    plain,
)
from ansible_collections.endolab.active_learning.bundling.progress import Progress
from ansible_collections.endolab.active_learning.plugins.module_utils import bundle_manifest
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError, digest
from ansible_collections.endolab.active_learning.plugins.module_utils.openpgp import keyring as held_keys
from rich import filesize

SBOM = "sbom.cdx.json"
LOCK = "images.lock"
# Those below which everything is the bundle's own, and may be taken away when it is not wanted any more.
DIRECTORIES = ("images", "packages", "model", "wheels", "collection")
# Says that a directory is a bundle's, also of one that was not finished; it stays.
MARK = ".endolab-bundle"
TOP = (*DIRECTORIES, MARK, SBOM, LOCK, bundle_manifest.MANIFEST, bundle_manifest.SUM)


@dataclass(frozen=True)
class Source:
    """A package repository: its name in the bundle, its URL, an apt source in deb822 form, and who signs it.

    That is either the key at the URL `key`, which has this fingerprint, or those in the file `keyring`. Of the
    distribution's, hosts learn the `suites` from the bundle; of the others from their roles.
    """

    name: str
    url: str
    source: str
    keyring: Path
    suites: str = ""
    key: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class Model:
    """The model bundle: a file or a URL, its checksum, and the name that it gets."""

    source: str
    checksum: str
    name: str

    @property
    def is_url(self) -> bool:
        return self.source.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Request:
    """What a bundle is to hold: images by the names that hosts ask for, each with where it is now, and so on.

    `lock` says which bytes the images are, where it is there; `system` has the id, codename and architecture of the
    hosts; `checkout` is the one that installs them.
    """

    images: dict[str, str]
    packages: list[str]
    sources: list[Source]
    lock: Path
    model: Model
    system: dict[str, str]
    checkout: Path


def make(root: Path, request: Request, say: Callable[[str], object]) -> str:
    """Makes the bundle at `root`, or finishes it; returns its manifest's sum.

    Raises BundleError with a sentence where that cannot be done; what has been fetched stays for the next time.
    """
    refuse(root, request)
    say("Asking registries and repositories what there is to fetch")
    found = [
        images.find(name, reference, request.system["architecture"], root / "images")
        for name, reference in sorted(request.images.items())
    ]
    with TemporaryDirectory() as scratch:
        apt = _apt(Path(scratch), request.sources, request.system["architecture"])
        apt.update()
        wanted = {each.path: each for image in found for each in image.blobs}
        wanted |= {each.path: each for each in apt.wanted(request.packages, root / "packages")}
        model = _wanted_model(root, request.model)
        root.mkdir(parents=True, exist_ok=True)
        _refuse_without_room(root, [*wanted.values(), model])
        _begin(root)
        _fetch(list(wanted.values()), "images and packages", say)
        _fetch_model(request.model, model, say)
        _sweep(root, {*wanted, model.path})
        images.write_layout(root / "images", found)
        apt.copy_indices(root / "packages")
    say("Putting the wheels of the controller and Endolab itself beside them")
    (root / LOCK).unlink(missing_ok=True)
    if request.lock.is_file():
        shutil.copyfile(request.lock, root / LOCK)
    controller.fill_wheels(request.checkout / "requirements.txt", root / "wheels")
    controller.fill_collection(request.checkout, root / "collection")
    names = {image.descriptor["annotations"][images.NAME]: image.descriptor["digest"] for image in found}
    suites = {each.name: each.suites for each in request.sources if each.suites}
    about = {
        "system": request.system,
        "suites": suites,
        "images": names,
        "packages": request.packages,
        "model": {"name": request.model.name, "checksum": request.model.checksum},
    }
    number = _close(root, about, say)
    _let_all_read(root)
    return number


def refuse(root: Path, request: Request) -> None:
    """Raises BundleError where it can be seen without a network that the bundle cannot be made."""
    _refuse_foreign(root)
    controller.refuse_other(request.checkout)
    if not request.model.is_url:
        _refuse_other_model(Path(request.model.source), request.model)


def _refuse_foreign(root: Path) -> None:
    there = {path.name for path in root.iterdir()} if root.exists() else set()
    if foreign := sorted(there.difference(TOP) if MARK in there else there):
        raise BundleError(
            f"{root} holds {' and '.join(foreign)}, which is not of a bundle. Name an empty directory, or a new one."
        )


def _refuse_other_model(file: Path, model: Model) -> None:
    if not file.is_file():
        raise BundleError(f"There is no file {file}, which monailabel_bundle names.")
    algorithm, _, expected = model.checksum.partition(":")
    if digest(file, algorithm) != expected:
        raise BundleError(f"{file} is not what monailabel_bundle_checksum says, {model.checksum}.")


def _begin(root: Path) -> None:
    """Begins a bundle, or goes on; takes away what would call an unfinished one whole."""
    (root / MARK).touch()
    for name in (bundle_manifest.MANIFEST, bundle_manifest.SUM):
        (root / name).unlink(missing_ok=True)


def _apt(scratch: Path, sources: list[Source], architecture: str) -> packages.Apt:
    """An apt that trusts, for each repository, those keys that hosts will trust."""
    repositories = []
    for each in sources:
        keyring = each.keyring
        if each.key:
            keyring = scratch / f"{each.name}.asc"
            keyring.write_bytes(_key(each))
        repositories.append(packages.Repository(each.name, each.url, each.source, keyring, each.key))
    return packages.Apt(scratch, architecture, repositories)


def _key(source: Source) -> bytes:
    with plain(source.key)({}) as answer:
        found = held_keys(answer.content) if answer.ok else []
        if found != [source.fingerprint]:
            raise BundleError(
                f"{source.key} holds {' and '.join(found) or 'no key'}, and the key {source.fingerprint} was"
                " expected. If the publisher has changed it, compare the new fingerprint with that on its website, and"
                " set it in the inventory."
            )
        return bytes(answer.content)


def _refuse_without_room(root: Path, wanted: list[Wanted]) -> None:
    missing, free = sum(each.missing for each in wanted), shutil.disk_usage(root).free
    if missing > free:
        raise BundleError(
            f"{root} has {filesize.decimal(free)} free, and {filesize.decimal(missing)} are to come. Make room."
        )


def _fetch(wanted: list[Wanted], what: str, say: Callable[[str], object]) -> None:
    progress = Progress(f"Fetching {what}", sum(each.size for each in wanted), say)
    for each in wanted:
        fetch(each, progress.advance)
    say(progress.line())


def _wanted_model(root: Path, model: Model) -> Wanted:
    """The model bundle as a file of the bundle; its server is asked how large it is."""
    target = root / "model" / f"{model.name}.zip"
    if not model.is_url:
        return Wanted(target, model.source, plain(model.source), Path(model.source).stat().st_size, model.checksum)
    with plain(model.source)({"Accept-Encoding": "identity"}) as answer:
        if not answer.ok:
            raise BundleError(f"{model.source} cannot be fetched: {answer.status_code} {answer.reason}.")
        if "Content-Length" not in answer.headers:
            raise BundleError(
                f"{model.source} does not say how large it is. Fetch the file, and name it as monailabel_bundle."
            )
        return Wanted(target, model.source, plain(model.source), int(answer.headers["Content-Length"]), model.checksum)


def _fetch_model(model: Model, wanted: Wanted, say: Callable[[str], object]) -> None:
    if model.is_url:
        _fetch([wanted], "the model bundle", say)
    else:
        wanted.path.parent.mkdir(exist_ok=True)
        shutil.copyfile(model.source, wanted.path)
        _refuse_other_model(wanted.path, model)


def _sweep(root: Path, wanted: set[Path]) -> None:
    """Takes away what an earlier bundle here had and this one has not."""
    for directory in (root / "images", root / "packages", root / "model"):
        for path in directory.rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()


def _close(root: Path, about: dict[str, Any], say: Callable[[str], object]) -> str:
    """Reads all of it back, and writes the bill of materials and the manifest."""
    (root / SBOM).unlink(missing_ok=True)
    sizes = bundle_manifest.present(root)
    progress = Progress("Reading it back", sum(sizes.values()), say)
    sums = {path: digest(root / path, tell=progress.advance) for path in sizes}
    about = {**about, "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    files = {path: {"size": sizes[path], "sha256": sums[path]} for path in sorted(sizes)}
    (root / SBOM).write_text(sbom.bill({**about, "files": files}), encoding="utf-8")
    return str(bundle_manifest.write(root, about, {**sums, SBOM: digest(root / SBOM)}))


def _let_all_read(root: Path) -> None:
    """Whatever the umask here: what serves it on a host is nobody there."""
    for path in (root, *root.rglob("*")):
        mode = path.lstat().st_mode
        wanted = mode | (0o555 if path.is_dir() else 0o444)
        if mode != wanted:
            with suppress(PermissionError):  # a file system without modes of its own
                path.chmod(wanted)
