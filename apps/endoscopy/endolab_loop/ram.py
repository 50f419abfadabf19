"""What is left of the memory that this process may use: the machine's, or less where its container has a limit."""

from __future__ import annotations

from pathlib import Path

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def left(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Bytes that can be had without taking them from anybody; of old control groups (v1) the limit is not known."""
    machine = 1024 * _fields(proc / "meminfo")["MemAvailable:"]
    limit = cgroup / "memory.max"
    if not limit.exists() or (most := limit.read_text(encoding="ascii").strip()) == "max":
        return machine
    used = int((cgroup / "memory.current").read_text(encoding="ascii"))
    # What is only kept of files goes when somebody needs the room.
    return min(machine, int(most) - used + _fields(cgroup / "memory.stat")["inactive_file"])


def _fields(path: Path) -> dict[str, int]:
    """A file of names and numbers."""
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines}
