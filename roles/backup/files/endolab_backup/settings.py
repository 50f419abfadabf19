"""What the role backup says of this host, in one JSON file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/endolab/backup/settings.json")
STATE = Path("/var/lib/endolab/backup")

# Seconds in which the containers of a host that has just started answer.
PATIENCE = 300


class Fault(Exception):
    """What is wrong, and how to mend it, in a sentence for a person."""


@dataclass(frozen=True)
class Tree:
    """A directory of the lab's.

    name: what an archive calls it. path: where it lies on this host. within: all that its container sees, and may put
    links in. linked: patterns of files that are written once, and then only replaced or removed. skip: directories on
    its first level whose content is not worth keeping. foreign_files_stay: files on its first level that an archive
    does not have stay when it is brought back.
    """

    name: str
    path: Path
    within: Path
    linked: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    foreign_files_stay: bool = False


@dataclass(frozen=True)
class Settings:
    """lab: whose archives these are. host: this one's name in the inventory. repository: restic's.

    keep: how many daily, weekly and monthly archives stay. versions: what the lab runs. database: PostgreSQL's
    container; queue: the container and the volume of Redis; cache: the volume of kvrocks; None where CVAT is on another
    host. writers: the containers that write what is backed up. trees: a name, a volume of Docker's or a directory each,
    and what else Tree says.
    """

    lab: str
    host: str
    repository: str
    keep: dict[str, int]
    versions: dict[str, str]
    database: str | None
    queue: dict[str, str] | None
    cache: str | None
    writers: list[str]
    trees: list[dict[str, Any]]

    @classmethod
    def load(cls, path: Path = SETTINGS) -> Settings:
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def found_trees(self, make: bool = False) -> list[Tree]:
        """The trees of this host that are there; with `make`, all of them."""
        found = []
        for each in self.trees:
            if make:
                make_place(each)
            path = volume(each["volume"]) if "volume" in each else Path(each["directory"])
            if path and path.is_dir():
                within = Path(each.get("within", path))
                linked, skip = (tuple(each.get(name, ())) for name in ("linked", "skip"))
                found.append(Tree(each["name"], path, within, linked, skip, each.get("foreign_files_stay", False)))
        return found

    def disk_of(self, tree: dict[str, Any]) -> Path:
        """A directory on the disk where a tree is, or would be."""
        path = volume(tree["volume"]) or docker_disk() if "volume" in tree else Path(tree["directory"])
        return next(each for each in [path, *path.parents] if each.is_dir())


def docker_disk() -> Path:
    """Where Docker keeps its volumes."""
    return Path(run("docker", "info", "--format", "{{.DockerRootDir}}").strip())


def make_place(tree: dict[str, Any]) -> None:
    if "volume" in tree:
        run("docker", "volume", "create", tree["volume"])
    else:
        Path(tree["directory"]).mkdir(parents=True, exist_ok=True)


def volume(name: str) -> Path | None:
    """Where a volume of Docker's lies; None where there is none of that name."""
    command = ["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", name]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(shown.stdout.strip()) if shown.returncode == 0 else None


def running(names: list[str]) -> list[str]:
    """Those of the containers that run."""
    up = run("docker", "ps", "--format", "{{.Names}}").split()
    return [name for name in names if name in up]


def until_ready(command: list[str], name: str, container: str, seconds: float) -> None:
    """Waits until a command ends well; a Fault where it does not."""
    end = time.monotonic() + seconds
    while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        if time.monotonic() >= end:
            words = last_words(done.stderr or done.stdout)
            raise Fault(f"{name} does not answer: {words}. See `docker logs {container}`, and run site.yml")
        time.sleep(2)


def run(*command: str) -> str:
    """What a command prints; a Fault with its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fault(f"`{' '.join(command[:3])} …` failed: {last_words(done.stderr or done.stdout)}")
    return done.stdout


def say(line: str) -> None:
    """Tells whoever looks, on standard error; standard output is for the result."""
    print(line, file=sys.stderr, flush=True)


def last_words(said: str) -> str:
    """The last line of what a program said: of one that failed, most often the reason."""
    return (said.strip().splitlines() or ["it said nothing"])[-1]


def size(number: float) -> str:
    """Bytes for a person."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def write_json(path: Path, content: Any) -> None:
    """Writes `content` so that a reader finds the old file or the new one."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Any:
    """The content of a JSON file; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
