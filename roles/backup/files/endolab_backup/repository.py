"""Archives in a restic repository: encrypted, compressed, and each part of them kept once.

Several hosts and several labs may share one; a host sees its own lab's archives of itself. restic keeps an archive as
soon as it has read everything, and it counts as whole once it was found to be one moment's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from .restic import FOR_A_PERSON, Missing, Restic
from .settings import STATE, Fault, Settings, size

TAG, WHOLE = "endolab", "whole"
# However few stay: who makes an archive before he brings back one of the same day needs both.
ALL_OF = "2d"

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")


@dataclass(frozen=True)
class Archive:
    """at: when the lab looked like this. original: its id before it counted as whole."""

    id: str
    at: datetime
    original: str

    @property
    def short(self) -> str:
        return self.id[:8]


def archive(snapshot: dict[str, Any]) -> Archive:
    """An archive as restic lists it."""
    return Archive(snapshot["id"], moment(snapshot["time"]), snapshot.get("original") or snapshot["id"])


def moment(text: str) -> datetime:
    """A time as restic writes it, with nanoseconds, or a person; UTC where it says nothing else."""
    text = re.sub(r"(\.\d{1,6})\d*", lambda found: found.group(1).ljust(7, "0"), text.replace("Z", "+00:00"))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Fault(f"{text} is no time. Write one such as 2026-11-27T02:30, in UTC") from None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


class Repository:
    """This host's archives; every method that talks to the repository raises a Fault when restic fails."""

    def __init__(self, settings: Settings, patience: float = FOR_A_PERSON) -> None:
        self.settings, self._ask = settings, Restic(settings, patience).ask
        self.tags = f"{TAG},lab:{settings.lab}"
        # There once this host has seen the repository; roles/backup knows the name, too.
        self.marker = STATE / f"repository-{sha256(settings.repository.encode()).hexdigest()[:16]}"

    def make(self, known: bool) -> bool:
        """Begins the repository; returns False where there is one already. A backup never does.

        known: archives in it are asked for, so it must be there.
        """
        made = False
        try:
            self._ask("cat", "config", "--quiet")
        except Missing as missing:
            if known:
                raise
            if self.marker.exists():
                raise Fault(
                    f"there was a repository in {self.settings.repository}, and there is none now. Where it is on a "
                    f"disk of its own, mount that; to begin a new one, remove {self.marker} on the host, and run "
                    "site.yml"
                ) from missing
            self._ask("init", "--quiet")
            made = True
        self.marker.touch()
        return made

    def unlock(self) -> None:
        """Removes the locks that killed runs have left."""
        self._ask("unlock", "--quiet")

    def _listed(self, tags: str) -> list[dict[str, Any]]:
        return json.loads(self._ask("snapshots", "--json", "--host", self.settings.host, "--tag", tags)) or []

    def archives(self) -> list[Archive]:
        """The whole ones, the oldest first."""
        return sorted(map(archive, self._listed(f"{self.tags},{WHOLE}")), key=lambda each: each.at)

    def find(self, name: str) -> Archive:
        """The latest archive, the last one up to a time, or the one of that id."""
        where, host = self.settings.repository, self.settings.host
        if not (known := self.archives()):
            raise Fault(f"{where} has no archive of {self.settings.lab}'s {host}{self._elsewhere()}")
        if name == "latest":
            return known[-1]
        if TIME.match(name):
            if found := [each for each in known if each.at <= moment(name)]:
                return found[-1]
            raise Fault(f"the first archive of {host} in {where} is of {known[0].at:%Y-%m-%dT%H:%M:%S}, UTC")
        for each in known:
            if name in (each.id, each.short, each.original):
                return each
        raise Fault(
            f"{where} has no archive {name} of {host}; where a lab has several hosts, name a time instead. "
            f"It has {', '.join(f'{each.short} of {each.at:%Y-%m-%dT%H:%M:%S}' for each in known)}, UTC"
        )

    def _elsewhere(self) -> str:
        tags = [tag for each in self._listed(TAG) for tag in each.get("tags") or ()]
        labs = sorted({tag[len("lab:") :] for tag in tags if tag.startswith("lab:")} - {self.settings.lab})
        return f". It has some of {', '.join(labs)}; backup_lab names the lab" if labs else ""

    def backup(
        self, paths: Iterable[Path], at: datetime, last: Archive | None, report: Callable[[float, str], None]
    ) -> dict[str, Any]:
        """Archives these paths as they were at a time; returns restic's summary. What is as in `last` is not read."""
        # A file's links change its ctime, not its content. restic by itself may compare with another lab's archive.
        options = ["--ignore-ctime", *(("--parent", last.id) if last else ("--force",))]
        options += ["--host", self.settings.host, "--tag", self.tags, "--time", f"{at:%Y-%m-%d %H:%M:%S}"]
        summary: dict[str, Any] = {}

        def heard(line: str) -> None:
            message = json.loads(line)
            if message["message_type"] == "status":
                report(message.get("percent_done", 0), progress(message))
            elif message["message_type"] == "summary":
                summary.update(message)

        self._ask("backup", "--json", *options, *map(str, paths), heard=heard)
        return summary

    def accept(self, snapshot: str) -> Archive:
        """An archive counts from now on; those of before that never did are removed."""
        self._ask("tag", "--quiet", "--add", WHOLE, snapshot)
        known = self._listed(self.tags)
        if broken := [each["id"] for each in known if WHOLE not in each["tags"]]:
            self._ask("forget", "--quiet", *broken)
        return next(each for each in map(archive, known) if each.original.startswith(snapshot))

    def read(self, snapshot: str, path: str) -> str:
        """A text file of an archive."""
        return self._ask("dump", snapshot, path)

    def restore(self, snapshot: str, path: str, target: Path) -> None:
        """Brings one path of an archive back, below `target`."""
        self._ask("restore", snapshot, "--quiet", "--include", path, "--target", str(target))

    def forget(self) -> None:
        """Removes the archives that are kept no longer, and what only they held."""
        keep = [word for name, number in self.settings.keep.items() for word in (f"--keep-{name}", str(number))]
        ours = ["--host", self.settings.host, "--tag", f"{self.tags},{WHOLE}", "--group-by", "host"]
        self._ask("forget", "--quiet", "--prune", *ours, *keep, "--keep-within", ALL_OF)

    def check(self, part: int, parts: int) -> None:
        """Reads the repository's lists, and one of so many parts of all that it holds."""
        self._ask("check", "--quiet", f"--read-data-subset={part}/{parts}")


def progress(message: dict[str, Any]) -> str:
    """A status message of restic's as a line."""
    done, total = message.get("bytes_done", 0), message.get("total_bytes", 0)
    left = f", {message['seconds_remaining'] // 60 + 1} min left" if message.get("seconds_remaining") else ""
    return f"archived: {size(done)} of {size(total)}{left}"
