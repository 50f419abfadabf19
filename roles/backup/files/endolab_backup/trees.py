"""Directories as they are at one moment: a second tree beside them.

What is written once is linked, which takes neither time nor room. The rest is copied: it may be written in place.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .settings import Fault, Tree

# Everything of ours in a directory of the lab's begins like this.
OURS = ".endolab-"
LINKED, STAGED, REPLACED = (OURS + name for name in ("backup", "restored", "replaced"))

# What MONAI Label knows of the files beside it, which one that is not the archive's would say wrongly.
INDEX = "datastore_v2.json"

# What a disk has of its own where it is mounted.
DISKS = "lost+found"

# What is being written just now: a training's scratch copy, and files that will be renamed.
UNFINISHED_DIRECTORIES = (OURS, ".training-", DISKS)
UNFINISHED_FILES = (".partial", ".new", ".lock")

# A disk that is mounted in a tree, and file systems without hard links, such as those of Windows' shares.
NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Sum:
    """A file's content: its SHA-256, bytes, and nanoseconds of its last change."""

    sha256: str
    bytes: int
    changed: int


def link(tree: Tree) -> Path:
    """Links what is not linked yet; can be repeated. Returns the directory of the links."""
    target = tree.path / LINKED
    _link(tree, tree.path, target)
    return target


def _link(tree: Tree, source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    _own(target, source)
    if source.parent == tree.path and source.name in tree.skip:
        return
    with os.scandir(source) as entries:
        for entry in entries:
            place = target / entry.name
            if entry.is_symlink():
                _refuse_if_it_leads_out(tree, Path(entry.path))
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(UNFINISHED_DIRECTORIES):
                    with suppress(FileNotFoundError):  # it has gone in the meantime
                        _link(tree, Path(entry.path), place)
            elif not entry.name.endswith(UNFINISHED_FILES) and (entry.is_symlink() or entry.is_file()):
                _link_file(Path(entry.path), place, any(fnmatch.fnmatch(entry.name, each) for each in tree.linked))


def _refuse_if_it_leads_out(tree: Tree, link: Path) -> None:
    """MONAI Label and CVAT do not see what such a link leads to either: their containers have the tree alone."""
    try:
        leads_to = link.resolve()
    except RuntimeError:  # before Python 3.13: it leads to itself
        return
    if leads_to.exists() and not leads_to.is_relative_to(tree.path.resolve()):
        raise Fault(
            f"{link} is a link to {leads_to}, and an archive would have the link alone. Move the files there, mount "
            "their disk there, or remove the link"
        )


def _own(target: Path, like: Path) -> None:
    """Gives a directory the owner and the mode of another."""
    status = like.stat()
    os.chown(target, status.st_uid, status.st_gid)
    target.chmod(status.st_mode & 0o7777)


def _link_file(source: Path, target: Path, written_once: bool) -> None:
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        if source.is_symlink() or written_once:
            # A file that was replaced since the first time is linked anew.
            try:
                os.link(source, partial, follow_symlinks=False)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                _copy(source, partial)
        else:
            _copy(source, partial)
    except FileNotFoundError:  # it has gone in the meantime
        return
    partial.replace(target)
    partial.unlink(missing_ok=True)  # a rename between two links of one file does nothing


def _copy(source: Path, target: Path) -> None:
    shutil.copy2(source, target, follow_symlinks=False)
    status = source.lstat()
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)


def files(directory: Path) -> Iterator[Path]:
    """All files and links below a directory, in order."""
    for parent, directories, names in os.walk(directory):
        directories.sort()
        yield from (Path(parent, name) for name in sorted(names))


def sums(directory: Path, name: str, known: dict[str, Sum]) -> dict[str, Sum]:
    """The sums of a tree's files by the tree's name and their path in it.

    A file of the same size and time as a known one has its sum.
    """
    found = {}
    for file in files(directory):
        key, status = f"{name}/{file.relative_to(directory)}", file.lstat()
        old = known.get(key)
        if old and _same(old, status):
            found[key] = old
        else:
            found[key] = Sum(content_sum(file), status.st_size, status.st_mtime_ns)
    return found


def changed(directory: Path, name: str, known: dict[str, Sum]) -> list[str]:
    """The files of a tree that are no longer as they were when their sums were taken."""
    found = ((f"{name}/{file.relative_to(directory)}", file.lstat()) for file in files(directory))
    return [key for key, now in found if key in known and not _same(known[key], now)]


def _same(known: Sum, now: os.stat_result) -> bool:
    """Whether a file has the size and the time that it had when its sum was taken."""
    return (known.bytes, known.changed) == (now.st_size, now.st_mtime_ns)


def content_sum(file: Path) -> str:
    """The SHA-256 of a file's content, or of what a symbolic link says."""
    if file.is_symlink():
        return hashlib.sha256(os.fsencode(file.readlink())).hexdigest()
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_sums(path: Path, found: dict[str, Sum]) -> None:
    with path.open("w", encoding="ascii") as file:
        for key, each in found.items():
            file.write(json.dumps({"path": key, **asdict(each)}) + "\n")


def read_sums(path: Path) -> dict[str, Sum]:
    """What write_sums has written; nothing where there is no such file, or a damaged one."""
    try:
        with path.open(encoding="ascii") as file:
            entries = [json.loads(line) for line in file]
        return {each.pop("path"): Sum(**each) for each in entries}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def swap_out(tree: Tree) -> None:
    """Sets aside what lies where a staged tree is to come; can be repeated."""
    staged, replaced = tree.path / STAGED, tree.path / REPLACED
    replaced.mkdir(exist_ok=True)
    for entry in sorted(tree.path.iterdir()):
        stays = tree.foreign_files_stay and entry.is_file() and entry.name != INDEX
        if not entry.name.startswith((OURS, DISKS)) and not (stays and not (staged / entry.name).exists()):
            entry.rename(replaced / entry.name)


def swap_in(tree: Tree) -> None:
    """Puts a staged tree where it belongs; can be repeated."""
    staged = tree.path / STAGED
    if not staged.is_dir():
        return
    for entry in sorted(staged.iterdir()):
        entry.rename(tree.path / entry.name)
    _own(tree.path, staged)
    staged.rmdir()
