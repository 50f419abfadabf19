"""Room on the disks that labels, scores and weights are written to.

Cures: a disk that fills while something is written, which only a traceback tells of afterwards.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30

# Bytes below which nothing is begun any more. A training copies its model, of tens of megabytes, some three times.
FULL = 1 * GIB

# Bytes below which people are told, while there is time.
TIGHT = 5 * GIB

REMEDY = f"make room; the loop goes on by itself with {FULL / GIB:.0f} GiB or more"


@dataclass(frozen=True)
class Room:
    """What is left on the disk of a directory, in bytes."""

    directory: Path
    free: int

    @property
    def warning(self) -> str | None:
        """What people should know of it; None where there is enough."""
        if self.free >= TIGHT:
            return None
        return (
            f"{self.free / GIB:.1f} GiB are left on the disk of {self.directory}; the loop stops below {FULL / GIB:.0f}"
        )


def left(directories: Iterable[Path]) -> list[Room]:
    """The room on the disk of each directory that is there; of one that is not, the loop's own error tells."""
    found = []
    for each in directories:
        with suppress(OSError):
            found.append(_of(each))
    return found


def least(directories: Iterable[Path]) -> Room:
    """The directory whose disk has the least room; raises OSError where one is not there."""
    return min(map(_of, directories), key=lambda room: room.free)


def is_full(error: BaseException) -> bool:
    """Whether something was not written because of a full disk, or a quota that is used up."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _of(directory: Path) -> Room:
    return Room(directory, shutil.disk_usage(directory).free)
