"""A bundle of a small image, a small package, a model and a wheel: made, broken off, finished, made anew."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bundle_server
import pytest
import yaml
from ansible_collections.endolab.active_learning.bundling import controller, making, sbom
from ansible_collections.endolab.active_learning.bundling.fetching import Wanted, fetch
from ansible_collections.endolab.active_learning.bundling.making import Model, Request, Source
from ansible_collections.endolab.active_learning.plugins.module_utils import bundle_manifest
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError
from ansible_collections.endolab.active_learning.plugins.modules.bundle_check import check
from requests import Response

from tests.unit.bundling.conftest import Layout, served

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = {"id": "debian", "codename": "trixie", "architecture": "amd64"}
MODEL = b"a model"
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("apt-get", "dpkg-deb", "gpg"))), reason="needs apt and gpg, and so Debian"
)


@pytest.fixture(scope="module")
def make_repository() -> ModuleType:
    """What makes the repositories of the simulated hosts."""
    file = ROOT / "molecule/stand_ins/host/repository/make.py"
    spec = importlib.util.spec_from_file_location("make_repository", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, make_repository: ModuleType) -> Iterator[Path]:
    """A signed one, with the package `tool`, which needs `library`, and `other`, which nobody needs."""
    root, home = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", str(home))
        for name, depends in (("tool", "library"), ("library", ""), ("other", "")):
            make_repository.make_package(name, "1.0-1", depends, root / "pool")
        index = "\n".join(_entry(root, package) for package in sorted((root / "pool").iterdir()))
        (root / "Packages").write_text(index, encoding="utf-8")
        total = hashlib.sha256(index.encode()).hexdigest()
        (root / "Release").write_text(f"SHA256:\n {total} {len(index)} Packages\n", encoding="utf-8")
        key = make_repository.make_key("tests")
        make_repository.sign(root / "Release", key)
        (root / "gpg").write_text(make_repository.run("gpg", "--armor", "--export", key), encoding="utf-8")
        (root / "fingerprint").write_text(key, encoding="utf-8")
        (root / "model.zip").write_bytes(MODEL)
        yield root
        subprocess.run(["gpgconf", "--kill", "all"], check=True)


def _entry(root: Path, package: Path) -> str:
    """A package's paragraph of an index."""
    control = subprocess.run(["dpkg-deb", "--field", package], check=True, text=True, capture_output=True).stdout
    data = package.read_bytes()
    where = package.relative_to(root)
    return f"{control}Filename: {where}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"


@pytest.fixture
def request_of(registry: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Request]:
    """What the bundle is to hold; the wheels of the controller are one small one."""

    def fill(requirements: Path, wheels: Path) -> None:
        assert requirements == ROOT / "requirements.txt"
        wheels.mkdir(exist_ok=True)
        (wheels / "rich-15.0.0-py3-none-any.whl").write_bytes(b"a wheel")

    monkeypatch.setattr(controller, "fill_wheels", fill)
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], check=True, text=True, capture_output=True
    ).stdout.strip()
    (repository / "images").mkdir(exist_ok=True)
    (repository / "images" / "index.json").write_text('{"manifests": []}', encoding="utf-8")
    with served(bundle_server.serve(0, repository)) as address:
        url = f"http://{address}"
        yield Request(
            images={name: f"{registry}/{name}" for name in ("postgres:15", "cvat/ui:v2")},
            packages=["tool"],
            sources=[
                Source(
                    name="docker",
                    url=url,
                    source=f"Types: deb\nURIs: {url}\nSuites: ./\nSigned-By: /etc/nowhere.asc\n",
                    keyring=Path("/nowhere"),
                    key=f"{url}/gpg",
                    fingerprint=(repository / "fingerprint").read_text(encoding="utf-8"),
                )
            ],
            lock=tmp_path / "images.lock",
            model=Model(f"{url}/model.zip", f"sha1:{hashlib.sha1(MODEL).hexdigest()}", "tools"),
            system={**SYSTEM, "architecture": architecture},
            checkout=ROOT,
        )


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is fetched of what was not there."""
    names: list[str] = []

    def watched(wanted: Wanted, tell: Callable[[int], object]) -> None:
        if not wanted.right(wanted.path):
            names.append(wanted.path.name)
        fetch(wanted, tell)

    monkeypatch.setattr(making, "fetch", watched)
    return names


def silent(_: str) -> None:
    """Hears nothing."""


def test_it_holds_all_and_is_whole(tmp_path: Path, request_of: Request, layout: Layout) -> None:
    root = tmp_path / "bundle"
    number = making.make(root, request_of, silent)
    found = check(root, number, 0, 60)
    assert found["whole"]
    assert found["images"] == {
        each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"] for each in layout.index
    }
    assert found["packages"] == ["tool"]
    assert found["model"] == {"name": "tools", "checksum": request_of.model.checksum}
    packages = {
        path.relative_to(root / "packages").as_posix() for path in (root / "packages").rglob("*") if path.is_file()
    }
    architecture = request_of.system["architecture"]
    assert packages == {
        "docker/gpg",
        "docker/InRelease",
        "docker/Packages",
        *(f"docker/pool/{name}_1.0-1_{architecture}.deb" for name in ("tool", "library")),
    }
    assert (root / "model/tools.zip").read_bytes() == MODEL
    assert [path.name for path in (root / "collection").iterdir()] == [f"endolab-active_learning-{VERSION}.tar.gz"]


def test_apt_installs_from_it_what_its_publisher_has_signed(tmp_path: Path, request_of: Request) -> None:
    root = tmp_path / "bundle"
    making.make(root, request_of, silent)
    with served(bundle_server.serve(0, root)) as address:
        url = f"http://{address}/packages/docker"
        source = replace(
            request_of.sources[0], url=url, source=f"Types: deb\nURIs: {url}\nSuites: ./\n", key=f"{url}/gpg"
        )
        apt = making._apt(tmp_path, [source], request_of.system["architecture"])
        apt.update()
        apt.run("install", "--yes", "--download-only", "tool")
    assert sorted(path.name.partition("_")[0] for path in (tmp_path / "var/cache/apt/archives").glob("*.deb")) == [
        "library",
        "tool",
    ]


def test_the_bill_names_what_it_holds(tmp_path: Path, request_of: Request) -> None:
    making.make(tmp_path / "bundle", request_of, silent)
    bill = json.loads((tmp_path / "bundle" / making.SBOM).read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert {(each["type"], each["name"], each.get("version")) for each in bill["components"]} == {
        ("container", "postgres", "15"),
        ("container", "cvat/ui", "v2"),
        ("library", "tool", "1.0-1"),
        ("library", "library", "1.0-1"),
        ("library", "rich", "15.0.0"),
        ("machine-learning-model", "tools", None),
        ("application", "endolab-active_learning", VERSION),
    }


@pytest.mark.parametrize("name", ["lab/monai@sha256:1", "lab/monai"])
def test_the_bill_names_an_image_without_a_tag(name: str) -> None:
    about = {"images": {name: f"sha256:{'1' * 64}"}, "system": SYSTEM, "files": {}}
    (component,) = json.loads(sbom.bill(about))["components"]
    assert component["name"] == "lab/monai"
    assert "version" not in component
    assert component["purl"].startswith("pkg:oci/monai@sha256")


def test_one_that_was_killed_is_no_bundle_and_is_finished(
    tmp_path: Path, request_of: Request, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "bundle"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(making, "_fetch_model", killed)
        with pytest.raises(KeyboardInterrupt):
            making.make(root, request_of, silent)
    first = list(fetched)
    with pytest.raises(BundleError, match="holds no bundle"):
        check(root, "", 0, 60)
    fetched.clear()
    making.make(root, request_of, silent)
    assert "tools.zip" not in first
    assert fetched == ["tools.zip"]
    assert check(root, "", 0, 60)["whole"]


def test_one_that_is_being_made_anew_is_no_bundle_meanwhile(
    tmp_path: Path, request_of: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "bundle"
    making.make(root, request_of, silent)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "_fetch", killed)
    with pytest.raises(KeyboardInterrupt):
        making.make(root, request_of, silent)
    assert not (root / bundle_manifest.MANIFEST).exists()


def test_what_is_not_wanted_any_more_goes(tmp_path: Path, request_of: Request, fetched: list[str]) -> None:
    root = tmp_path / "bundle"
    making.make(root, request_of, silent)
    fetched.clear()
    model = replace(request_of.model, name="other")
    fewer = replace(
        request_of, packages=["library"], model=model, images={"cvat/ui:v2": request_of.images["cvat/ui:v2"]}
    )
    number = making.make(root, fewer, silent)
    assert fetched == ["other.zip"]
    assert [path.name for path in (root / "model").iterdir()] == ["other.zip"]
    assert not list(root.rglob("tool_*.deb"))
    held = {path.read_bytes() for path in (root / "images/blobs/sha256").iterdir()}
    assert b"common layer" in held
    assert b"layer of amd64" not in held
    assert check(root, number, 0, 60)["images"].keys() == {"cvat/ui:v2"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": {"redis:8": "{registry}/redis:8"}},
        {"packages": ["nothing"]},
        {"model": Model("nowhere.zip", "sha1:0", "tools")},
        {"model": Model("http://{registry}/nowhere.zip", "sha1:0", "tools")},
        {"checkout": Path("/")},
    ],
    ids=["an image that the registry lacks", "a package that nobody has", "no model", "a model's URL", "no checkout"],
)
def test_a_bundle_stays_whole_where_no_other_can_be_made(
    tmp_path: Path, request_of: Request, registry: str, wrong: dict[str, Any]
) -> None:
    root = tmp_path / "bundle"
    number = making.make(root, request_of, silent)
    if images := wrong.get("images"):
        wrong = {"images": {name: where.format(registry=registry) for name, where in images.items()}}
    if model := wrong.get("model"):
        wrong = {"model": replace(model, source=model.source.format(registry=registry))}
    with pytest.raises(BundleError):
        making.make(root, replace(request_of, **wrong), silent)
    assert check(root, number, 0, 60)["whole"]


def test_a_bundle_stays_whole_where_there_is_no_room_for_another(
    tmp_path: Path, request_of: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "bundle"
    number = making.make(root, request_of, silent)
    monkeypatch.setattr(making.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(BundleError):
        making.make(root, replace(request_of, model=replace(request_of.model, name="other")), silent)
    assert check(root, number, 0, 60)["whole"]


def test_what_has_come_in_part_needs_no_room_again(
    tmp_path: Path, request_of: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(tmp_path / "layer", "registry", lambda headers: Response(), 10, "sha256:0")
    wanted.partial.write_bytes(b"12345678")
    assert wanted.missing == 2
    monkeypatch.setattr(making.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(BundleError, match="has 1 byte free, and 2 bytes are to come"):
        making._refuse_without_room(tmp_path, [wanted])
    wanted.path.touch()
    assert wanted.missing == 0


@pytest.mark.parametrize("name", ["photos", *making.DIRECTORIES])
def test_a_directory_of_somebody_elses_is_refused(tmp_path: Path, request_of: Request, name: str) -> None:
    file = tmp_path / "own" / name / "holiday.jpg"
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(BundleError, match=f"holds {name}, which is not of a bundle"):
        making.make(tmp_path / "own", request_of, silent)
    assert file.exists()


def test_a_host_can_serve_one_that_was_made_by_somebody_careful(tmp_path: Path, request_of: Request) -> None:
    root = tmp_path / "bundle"
    before = os.umask(0o077)
    try:
        making.make(root, request_of, silent)
    finally:
        os.umask(before)
    assert {path for path in (root, *root.rglob("*")) if path.stat().st_mode & 0o044 != 0o044} == set()
    assert {path for path in (root, *root.rglob("*/")) if path.stat().st_mode & 0o011 != 0o011} == set()


def test_what_somebody_puts_beside_a_bundle_is_named(tmp_path: Path, request_of: Request) -> None:
    making.make(tmp_path / "bundle", request_of, silent)
    (tmp_path / "bundle" / "photos").touch()
    with pytest.raises(BundleError, match="holds photos, which is not of a bundle"):
        making.make(tmp_path / "bundle", request_of, silent)


def test_a_disk_that_is_too_small_is_named_before_anything_is_fetched(
    tmp_path: Path, request_of: Request, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(BundleError, match=r"has 10 bytes free, and .* are to come"):
        making.make(tmp_path / "bundle", request_of, silent)
    assert fetched == []


def test_another_key_than_the_publishers_is_refused(tmp_path: Path, request_of: Request) -> None:
    wrong = replace(request_of, sources=[replace(request_of.sources[0], fingerprint="A" * 40)])
    with pytest.raises(BundleError, match=f"and the key {'A' * 40} was expected"):
        making.make(tmp_path / "bundle", wrong, silent)


def test_a_repository_that_somebody_else_has_signed_is_refused(
    tmp_path: Path, request_of: Request, repository: Path
) -> None:
    signed = repository / "InRelease"
    before = signed.read_text(encoding="utf-8")
    signed.write_text(before.replace("SHA256", "Sha256"), encoding="utf-8")
    try:
        with pytest.raises(BundleError, match=r"apt-get update .*fails"):
            making.make(tmp_path / "bundle", request_of, silent)
    finally:
        signed.write_text(before, encoding="utf-8")


def test_a_package_that_nobody_has_is_named(tmp_path: Path, request_of: Request) -> None:
    with pytest.raises(BundleError, match="Unable to locate package nothing"):
        making.make(tmp_path / "bundle", replace(request_of, packages=["nothing"]), silent)


@pytest.mark.parametrize("local", [True, False])
def test_another_model_than_its_checksum_says_is_refused(tmp_path: Path, request_of: Request, local: bool) -> None:
    file = tmp_path / "model.zip"
    file.write_bytes(MODEL)
    model = Model(str(file) if local else request_of.model.source, f"sha256:{'0' * 64}", "tools")
    with pytest.raises(BundleError, match="is not what"):
        making.make(tmp_path / "bundle", replace(request_of, model=model), silent)


def test_a_model_of_unknown_size_is_refused(
    tmp_path: Path, request_of: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = contextlib.nullcontext(SimpleNamespace(ok=True, headers={}))
    monkeypatch.setattr(making, "plain", lambda source: lambda headers: answer)
    with pytest.raises(BundleError, match="does not say how large it is"):
        making._wanted_model(tmp_path, request_of.model)


def test_wheels_come_with_their_sums(tmp_path: Path) -> None:
    wheels, links = tmp_path / "wheels", tmp_path / "links"
    links.mkdir()
    name = "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(links / name, "w") as archive:
        archive.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        archive.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("small-1.0.dist-info/RECORD", "")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"--no-index\n--find-links {links}\nsmall==1.0\n", encoding="utf-8")
    wheels.mkdir()
    (wheels / "older-1.0-py3-none-any.whl").touch()
    (wheels / name).write_bytes(b"cut off, or another's")
    controller.fill_wheels(requirements, wheels)
    total = hashlib.sha256((links / name).read_bytes()).hexdigest()
    assert {path.name for path in wheels.iterdir()} == {name, "requirements.txt"}
    assert (wheels / "requirements.txt").read_text(encoding="utf-8") == f"small==1.0 --hash=sha256:{total}\n"
    assert wheels.stat().st_mode & 0o777 == 0o755


def test_a_directory_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no checkout of Endolab"):
        controller.refuse_other(tmp_path)
