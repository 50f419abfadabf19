"""Directories held open: they lie in containers' users' own ones, who may put links in their places meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def held(path: str | Path, within: int | None = None, make: bool = False) -> Iterator[int]:
    """A directory's descriptor; a link in place of one `within` a held directory is not followed.

    make: makes it unless it is there.
    """
    if make:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700, dir_fd=within)
    flags = os.O_RDONLY | os.O_DIRECTORY | (0 if within is None else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags, dir_fd=within)
    except OSError as error:
        if within is not None:
            error.filename = str(path_of(within) / path)
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int) -> Path:
    """Where a held directory lies now."""
    return through(descriptor).readlink()


def through(descriptor: int) -> Path:
    """A path to a held directory itself, wherever it lies; for this process and those that it waits for."""
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def there(path: Path) -> bool:
    """Whether something has this name, be it a link that leads nowhere."""
    return path.is_symlink() or path.exists()


def remove(path: Path) -> None:
    """Removes a directory with what is in it, or whatever somebody has put in its place; of a link the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def own(descriptor: int, like: int) -> None:
    """Gives a held directory the owner and the mode of another."""
    status = os.fstat(like)
    os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o7777)
