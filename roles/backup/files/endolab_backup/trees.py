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
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from .directories import held, own, through
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


@contextmanager
def opened(tree: Tree) -> Iterator[int]:
    """A tree's descriptor; a Fault where it leads out of what its container sees."""
    within, path = tree.within.resolve(), tree.path.resolve()
    if not path.is_relative_to(within):
        raise Fault(
            f"{tree.path} leads to {path}, and its container sees {tree.within} alone. Move the files there, and "
            "remove the link"
        )
    with ExitStack() as open_ones:
        descriptor = open_ones.enter_context(held(within))
        for name in path.relative_to(within).parts:
            descriptor = open_ones.enter_context(held(name, descriptor))
        yield descriptor


def link(tree: Tree) -> Path:
    """Links what is not linked yet; can be repeated. Returns the directory of the links."""
    with opened(tree) as source, held(LINKED, source, make=True) as target:
        _link(tree, Path(), source, target)
    return tree.path / LINKED


def _link(tree: Tree, path: Path, source: int, target: int) -> None:
    """Links what a held directory, at this path in the tree, holds."""
    own(target, source)
    if str(path) in tree.skip:
        return
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_symlink():
                _refuse_if_it_leads_out(tree, tree.path / path / entry.name)
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(UNFINISHED_DIRECTORIES):
                    _link_directory(tree, path / entry.name, source, target)
            elif not entry.name.endswith(UNFINISHED_FILES) and (entry.is_symlink() or entry.is_file()):
                written_once = any(fnmatch.fnmatch(entry.name, each) for each in tree.linked)
                _link_file(entry.name, source, target, written_once or entry.is_symlink())


def _link_directory(tree: Tree, path: Path, source: int, target: int) -> None:
    with ExitStack() as open_ones:
        try:
            inner = open_ones.enter_context(held(path.name, source))
        except (FileNotFoundError, NotADirectoryError):  # it has gone, or something else is there, in the meantime
            return
        _link(tree, path, inner, open_ones.enter_context(held(path.name, target, make=True)))


def _refuse_if_it_leads_out(tree: Tree, link: Path) -> None:
    """MONAI Label and CVAT do not see what such a link leads to either: their containers have the tree alone."""
    try:
        leads_to = link.resolve()
    except RuntimeError:  # before Python 3.13: it leads to itself
        return
    if leads_to.exists() and not leads_to.is_relative_to(tree.path.resolve()):
        raise Fault(
            f"{link} is a link to {leads_to}, and an archive would have the link alone. Move the files there, "
            "or remove the link"
        )


def _link_file(name: str, source: int, target: int, as_it_is: bool) -> None:
    """Brings a file from one held directory to another: as one more name of it, where it stays as it is."""
    unfinished = f"{name}.partial"
    _remove(unfinished, target)
    try:
        if not as_it_is:
            _copy(name, source, unfinished, target)
        else:
            # A file that was replaced since the first time is linked anew.
            try:
                os.link(name, unfinished, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                _copy(name, source, unfinished, target)
    except FileNotFoundError:  # it has gone in the meantime
        return
    os.replace(unfinished, name, src_dir_fd=target, dst_dir_fd=target)
    _remove(unfinished, target)  # a rename between two links of one file does nothing


def _copy(name: str, source: int, copy: str, target: int) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), copy, dir_fd=target)
        os.chown(copy, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
        return
    as_it_is, new = partial(_as_it_is, within=source), partial(os.open, mode=0o600, dir_fd=target)
    with open(name, "rb", opener=as_it_is) as content, open(copy, "xb", opener=new) as written:
        shutil.copy2(through(content.fileno()), through(written.fileno()))
        own(written.fileno(), content.fileno())


def _remove(name: str, within: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=within)


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
    """The files of a tree that are no longer as they were when their sums were taken, or were not there then."""
    found = ((f"{name}/{file.relative_to(directory)}", file.lstat()) for file in files(directory))
    return [key for key, now in found if key not in known or not _same(known[key], now)]


def _same(known: Sum, now: os.stat_result) -> bool:
    """Whether a file has the size and the time that it had when its sum was taken."""
    return (known.bytes, known.changed) == (now.st_size, now.st_mtime_ns)


def content_sum(file: Path) -> str:
    """The SHA-256 of a file's content, or of what a symbolic link says."""
    if file.is_symlink():
        return hashlib.sha256(os.fsencode(file.readlink())).hexdigest()
    digest = hashlib.sha256()
    with open(file, "rb", opener=_as_it_is) as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _as_it_is(path: str, flags: int, within: int | None = None) -> int:
    """Opens what lies there and nothing that it may lead to, and waits for no other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)


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
    with opened(tree) as root, held(REPLACED, root, make=True) as replaced:
        staged = through(root) / STAGED
        for entry in sorted(through(root).iterdir()):
            stays = tree.foreign_files_stay and entry.is_file() and entry.name != INDEX
            if not entry.name.startswith((OURS, DISKS)) and not (stays and not (staged / entry.name).exists()):
                os.rename(entry.name, entry.name, src_dir_fd=root, dst_dir_fd=replaced)


def swap_in(tree: Tree) -> None:
    """Puts a staged tree where it belongs; can be repeated."""
    with opened(tree) as root:
        if not (through(root) / STAGED).exists():
            return
        with held(STAGED, root) as staged:
            for entry in sorted(through(staged).iterdir()):
                os.rename(entry.name, entry.name, src_dir_fd=staged, dst_dir_fd=root)
            own(root, staged)
        os.rmdir(STAGED, dir_fd=root)
