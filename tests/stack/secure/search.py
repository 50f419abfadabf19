"""Runs on a host as root: looks for texts in files, arguments, environments and the journal.

Standard input: {name: [text, ...]}. Standard output: a list of [kind, place, name]; the place of a process is its
container, or its own name where it is in none.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Every file system of the host's own that keeps something. In those that containers see are the same files once more.
DISKS = ["/", "/run", "/tmp", "/dev/shm", "/var/lib/docker"]


def patterns(markers: dict[str, list[str]]) -> str:
    """The path of a file in memory, which no directory shows, with a text a line."""
    descriptor = os.memfd_create("patterns", 0)
    os.write(descriptor, "\n".join(text for texts in markers.values() for text in texts).encode())
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def names(content: bytes, markers: dict[str, list[str]]) -> Iterator[str]:
    for name, texts in markers.items():
        if any(text.encode() in content for text in texts):
            yield name


def containers() -> dict[str, str]:
    """The running containers' names by their ids."""
    command = ["docker", "ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return dict(tuple(line.split()) for line in lines)  # type: ignore[misc]


def processes(markers: dict[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    by_id = containers()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ids = re.findall(r"[/-]([0-9a-f]{64})", (process / "cgroup").read_text())
            place = by_id.get(ids[-1] if ids else "", (process / "comm").read_text().strip())
            for kind, file in (("argument", "cmdline"), ("environment", "environ")):
                for name in names((process / file).read_bytes(), markers):
                    yield kind, place, name
        except OSError:
            continue  # it has ended


def files(markers: dict[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    disks = [path for path in DISKS if Path(path).is_dir()]
    with subprocess.Popen(["find", *disks, "-xdev", "-type", "f", "-print0"], stdout=subprocess.PIPE) as find:
        grep = ["grep", "-l", "--text", "--fixed-strings", "--no-messages", "--null", "--file", patterns(markers)]
        found = subprocess.run(["xargs", "-0", *grep], stdin=find.stdout, capture_output=True, check=False).stdout
    for path in {os.fsdecode(path) for path in found.split(b"\0") if path}:
        try:
            content = Path(path).read_bytes()
        except OSError:
            continue  # it has gone
        for name in names(content, markers):
            yield "file", path, name


def journal(markers: dict[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    content = subprocess.run(["journalctl", "--all", "--output=export"], capture_output=True, check=True).stdout
    for name in names(content, markers):
        yield "journal", "", name


def main() -> None:
    markers = json.load(sys.stdin)
    json.dump(sorted({*files(markers), *processes(markers), *journal(markers)}), sys.stdout)


if __name__ == "__main__":
    main()
