"""A folder as a Docker build context: always the same bytes for the same content, and a fingerprint of them."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_IGNORED = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", "wheels"}


def files(folder: Path) -> Iterator[Path]:
    """Files and links below `folder` in a fixed order, without what tools leave behind."""
    for path in sorted(folder.iterdir()):
        if path.name in _IGNORED:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from files(path)
        else:
            yield path


def fingerprint(folder: Path) -> str:
    """Changes with the name, the content or the mode of any file below `folder`."""
    digest = hashlib.sha256()
    for path in files(folder):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{_mode(path)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def write_tar(folder: Path, wheels: Path | None, to: BinaryIO) -> None:
    """Writes the context of `folder`, with the files of `wheels` in its folder wheels/."""
    with tarfile.open(fileobj=to, mode="w") as tar:
        for path in files(folder):
            _add(tar, path, path.relative_to(folder).as_posix())
        for path in sorted(wheels.iterdir()) if wheels else []:
            _add(tar, path, f"wheels/{path.name}")


def _mode(path: Path) -> int:
    return 0o755 if path.stat(follow_symlinks=False).st_mode & 0o100 else 0o644


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    # Docker's own cache compares metadata too, and a fresh clone has other times and owners.
    entry = tar.gettarinfo(path, name)
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = _mode(path)
    if entry.isreg():
        with path.open("rb") as content:
            tar.addfile(entry, content)
    else:
        tar.addfile(entry)
