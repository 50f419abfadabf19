"""The file on a host that says who changes it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.endolab.active_learning.plugins.module_utils.text import read

LOCK = "/run/endolab/lock.json"  # in /run, so that nobody holds a host that has restarted

# Seconds after which a run shows again that it lives, and after which one that has not is taken for dead.
BEAT = 60
SILENCE = 300

# Seconds since the host has started, which nobody sets, as somebody may set its clock.
UPTIME = "/proc/uptime"

FIELDS = ("owner", "machine", "playbook", "since", "token")


def uptime() -> float:
    return float(read(UPTIME).split()[0])


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Nobody else looks at the lock, or changes it, at the same time."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_lock(path: Path) -> dict[str, Any] | None:
    """The lock, with the seconds since its run's last sign of life; None where there is none, or none that is whole."""
    try:
        lock = json.loads(read(path))
        return {**{field: str(lock[field]) for field in FIELDS}, "silent": uptime() - float(lock["beat"])}
    except (ValueError, KeyError, TypeError):
        return None


def lives(lock: dict[str, Any]) -> bool:
    """Whether its run has shown itself; a sign of life that is still to come is from before the host has restarted."""
    return bool(0 <= lock["silent"] <= SILENCE)


def write_lock(path: Path, lock: dict[str, str]) -> None:
    """Writes it as a whole or not at all, readable for root alone."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({**lock, "beat": uptime()}, file)
    Path(name).replace(path)


def beat_command(path: Path, token: str) -> str:
    """For a shell on the host: shows that the run with this token lives, as long as the lock is its own."""
    beat = f"""sed -i 's/"beat": [0-9.]*/"beat": '"$(cut -d ' ' -f 1 {UPTIME})"/"""
    return f"{_if_own(path, token)} && {beat} {shlex.quote(str(path))}"


def release_command(path: Path, token: str) -> str:
    """For a shell on the host: gives the lock back, as long as it is that of the run with this token."""
    return f"{_if_own(path, token)} && rm {shlex.quote(str(path))}"


def _if_own(path: Path, token: str) -> str:
    own = shlex.quote(json.dumps({"token": token})[1:-1])
    return f"exec 9< {shlex.quote(str(path.parent))} && flock 9 && grep -qsF {own} {shlex.quote(str(path))}"
