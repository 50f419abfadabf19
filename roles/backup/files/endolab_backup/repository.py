"""Archives in a restic repository: encrypted, compressed, and each part of them kept once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .settings import Fault, Settings

PASSWORD = Path("/etc/endolab/backup/secrets/password")
ENVIRONMENT = PASSWORD.with_name("environment.json")
CACHE = Path("/var/cache/endolab-backup")
TAG = "endolab"


class Repository:
    """restic with this host's settings; every method that talks to it raises a Fault when restic fails."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.environment = {
            **os.environ,
            "RESTIC_REPOSITORY": settings.repository,
            "RESTIC_PASSWORD_FILE": str(PASSWORD),
            "RESTIC_CACHE_DIR": str(CACHE),
            **json.loads(ENVIRONMENT.read_text(encoding="utf-8")),
        }

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["restic", *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def _ask(self, *arguments: str) -> str:
        process = self._start(*arguments)
        answer, errors = process.communicate()
        if process.returncode:
            raise Fault(self._sentence(errors or answer))
        return answer

    def _sentence(self, errors: str) -> str:
        where = self.settings.repository
        if "Is there a repository at" in errors or "repository does not exist" in errors:
            return (
                f"there is no repository in {where}. Where it is on a disk of its own, mount that; to begin a new one, "
                "run site.yml"
            )
        if "wrong password" in errors:
            return f"backup_password does not open the repository in {where}. Use the one that it was begun with"
        words = [line for line in errors.strip().splitlines() if line and not line.startswith("{")] or [errors.strip()]
        return f"restic cannot work with {where}: {words[-1]}"

    def make(self) -> bool:
        """Begins the repository; returns False where there is one already. A backup never does."""
        try:
            self._ask("cat", "config", "--quiet")
            return False
        except Fault as fault:
            if "there is no repository" not in str(fault):
                raise
        self._ask("init", "--quiet")
        return True

    def unlock(self) -> None:
        """Removes the locks that killed runs have left."""
        self._ask("unlock", "--quiet")

    def snapshots(self) -> list[dict[str, Any]]:
        """This host's archives, the oldest first."""
        found = self._ask("snapshots", "--json", "--host", self.settings.host, "--tag", TAG)
        return sorted(json.loads(found) or [], key=lambda each: str(each["time"]))

    def find(self, name: str) -> dict[str, Any]:
        """This host's archive of that id, or its latest."""
        known = self.snapshots()
        if not known:
            raise Fault(f"{self.settings.repository} has no archive of {self.settings.host}")
        found = known[-1:] if name == "latest" else [each for each in known if name in (each["id"], each["short_id"])]
        if not found:
            raise Fault(
                f"{self.settings.repository} has no archive {name} of {self.settings.host}. "
                f"It has {', '.join(each['short_id'] for each in known)}"
            )
        return dict(found[0])

    def backup(self, paths: Iterable[Path], report: Callable[[float, str], None]) -> dict[str, Any]:
        """Archives these paths; returns restic's summary."""
        # A file's links change its ctime, not its content.
        options = ["--json", "--ignore-ctime", "--host", self.settings.host, "--tag", TAG]
        process = self._start("backup", *options, *map(str, paths))
        assert process.stdout is not None
        assert process.stderr is not None
        summary: dict[str, Any] = {}
        for line in process.stdout:
            message = json.loads(line)
            if message["message_type"] == "status":
                report(message.get("percent_done", 0), progress(message))
            elif message["message_type"] == "summary":
                summary = message
        errors = process.stderr.read()
        if process.wait():
            if "snapshot_id" in summary:  # not all of it could be read
                self.drop(summary["snapshot_id"])
            raise Fault(self._sentence(errors))
        return summary

    def read(self, snapshot: str, path: str) -> str:
        """A text file of an archive."""
        return self._ask("dump", snapshot, path)

    def restore(self, snapshot: str, path: str, target: Path) -> None:
        """Brings one path of an archive back, below `target`."""
        self._ask("restore", snapshot, "--quiet", "--include", path, "--target", str(target))

    def drop(self, snapshot: str) -> None:
        """Removes one archive."""
        self._ask("forget", "--quiet", snapshot)

    def forget(self) -> None:
        """Removes the archives that are kept no longer, and what only they held."""
        keep = [word for name, number in self.settings.keep.items() for word in (f"--keep-{name}", str(number))]
        of_this_host = ["--host", self.settings.host, "--tag", TAG, "--group-by", "host"]
        self._ask("forget", "--quiet", "--prune", *of_this_host, *keep)

    def check(self, part: int, parts: int) -> None:
        """Reads the repository's lists, and one of so many parts of all that it holds."""
        self._ask("check", "--quiet", f"--read-data-subset={part}/{parts}")


def progress(message: dict[str, Any]) -> str:
    """A status message of restic's as a line."""
    done, total = message.get("bytes_done", 0), message.get("total_bytes", 0)
    left = f", {message['seconds_remaining'] // 60 + 1} min left" if message.get("seconds_remaining") else ""
    return f"archived: {size(done)} of {size(total)}{left}"


def size(number: float) -> str:
    """Bytes for a person."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
