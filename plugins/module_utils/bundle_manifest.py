"""What a bundle says of itself: for which system it is, which images it holds, and the size and sum of each file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
SUM = "manifest.json.sha256"  # as sha256sum writes and reads it
FORMAT = 1
BLOCK = 1 << 20


class BundleError(Exception):
    """What is wrong with a bundle, and how to mend it."""


def digest(path: Path, algorithm: str = "sha256", tell: Callable[[int], Any] = lambda _: None) -> str:
    """The file's sum, in hexadecimal digits; `tell` hears how many bytes have been read since it was called last."""
    found = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
            tell(len(block))
    return found.hexdigest()


def present(root: Path) -> dict[str, int]:
    """The size of each file below `root`, by its path from there; not of those that a manifest cannot hold itself."""
    files = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    sizes = {path.relative_to(root).as_posix(): path.lstat().st_size for path in files}
    return {path: size for path, size in sizes.items() if path not in (MANIFEST, SUM)}


def write(root: Path, about: dict[str, Any], sums: dict[str, str]) -> str:
    """Writes the manifest of the files whose sums these are, with what `about` says; returns its own sum."""
    files = {path: {"size": size, "sha256": sums[path]} for path, size in sorted(present(root).items())}
    (root / MANIFEST).write_text(json.dumps({"format": FORMAT, **about, "files": files}, indent=1), encoding="utf-8")
    own = digest(root / MANIFEST)
    (root / SUM).write_text(f"{own}  {MANIFEST}\n", encoding="utf-8")
    return own


def read(root: Path, expected: str = "") -> dict[str, Any]:
    """The manifest, whose sum is `expected` where that is given.

    Raises BundleError where there is none, or it is another or damaged.
    """
    if not (root / MANIFEST).is_file() or not (root / SUM).is_file():
        raise BundleError(
            f"{root} holds no bundle: {MANIFEST} or {SUM} is missing. Name the directory that bundle.yml has made;"
            " one that it has not finished is finished by running it again."
        )
    own = digest(root / MANIFEST)
    if own != (root / SUM).read_text(encoding="utf-8").partition(" ")[0]:
        raise BundleError(f"{root / MANIFEST} is damaged: it is not what {SUM} says. Copy the bundle again.")
    if expected and own != expected:
        raise BundleError(
            f"The bundle in {root} is not the one that you mean: the SHA-256 of its {MANIFEST} is {own}, and"
            f" bundle_digest is {expected}. Take the number that bundle.yml has said at its end."
        )
    manifest: dict[str, Any] = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format"] != FORMAT:
        raise BundleError(f"{root} holds a bundle of form {manifest['format']}, and this Endolab reads form {FORMAT}.")
    return manifest


def misfits(root: Path, files: dict[str, dict[str, Any]]) -> list[str]:
    """What can be seen without reading the files: which are missing, have another size, or are nobody's."""
    there = present(root)
    return [
        *(f"{path} is missing" for path in files if path not in there),
        *(
            f"{path} has {there[path]} bytes, not {entry['size']}"
            for path, entry in files.items()
            if path in there and there[path] != entry["size"]
        ),
        *(f"{path} is not of the bundle" for path in there if path not in files),
    ]
