"""restic, as this host uses it: patient while others use the repository, and with a sentence where it fails."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .settings import Fault, Settings, last_words, say

PASSWORD = Path("/etc/endolab/backup/secrets/password")
ENVIRONMENT = PASSWORD.with_name("environment.json")
KEY = PASSWORD.with_name("ssh_key")
KNOWN_HOSTS = Path("/etc/endolab/backup/known_hosts")
CACHE = Path("/var/cache/endolab-backup")

# Seconds to wait for whoever uses the repository: a person does, and the nightly run, beside which another host may
# make its first archive. How often it is asked again.
FOR_A_PERSON, AT_NIGHT, PAUSE = 300, 8 * 3600, 20

# How repositories of all kinds say that a file is not there, beside what restic says of any that it cannot open.
NOT_OPEN = re.compile(r"Is there a repository at|repository does not exist")
NOT_THERE = re.compile(r"no such file or directory|(does not|doesn't|not) exist|\b404\b")
HOLDER = re.compile(r"already locked.* by PID (\d+) on (\S+)")

# Who logs in where for a repository at sftp:, in either of the ways that restic knows.
SFTP = re.compile(r"sftp:(?://(?P<address>[^/]+)|(?P<login>[^:/]+):)")
# Nobody is there to be asked, and a connection that is dead ends within five minutes.
OPTIONS = ("BatchMode=yes", "ConnectTimeout=30", "ServerAliveInterval=60", "ServerAliveCountMax=5")


class Missing(Fault):
    """There is no repository."""


def environment(settings: Settings) -> dict[str, str]:
    """What restic has to know; its times are UTC, as all of ours."""
    return {
        **os.environ,
        "TZ": "UTC",
        "RESTIC_REPOSITORY": settings.repository,
        "RESTIC_PASSWORD_FILE": str(PASSWORD),
        "RESTIC_CACHE_DIR": str(CACHE),
        **json.loads(ENVIRONMENT.read_text(encoding="utf-8")),
    }


def ssh(settings: Settings) -> list[str]:
    """How restic's repository is reached by SFTP; empty where it is not.

    With the key and the hosts that the lab has been given, or root's own.
    """
    if not (found := SFTP.match(settings.repository)):
        return []
    options = list(OPTIONS)
    if KEY.read_text(encoding="utf-8").strip():
        options += [f"IdentityFile={KEY}", "IdentitiesOnly=yes"]
        options += [f"UserKnownHostsFile={KNOWN_HOSTS}", "StrictHostKeyChecking=yes"]
    where = f"ssh://{found['address']}" if found["address"] else found["login"]
    return ["ssh", *(word for option in options for word in ("-o", option)), where, "-s", "sftp"]


def command(settings: Settings) -> list[str]:
    """restic, with a call of ssh of ours: older ones of restic have no option that adds to theirs."""
    call = ssh(settings)
    return ["restic", "-o", f"sftp.command={shlex.join(call)}"] if call else ["restic"]


class Restic:
    """restic with this host's settings. patience: seconds to wait where another host uses the repository."""

    def __init__(self, settings: Settings, patience: float = FOR_A_PERSON) -> None:
        self.settings, self.where, self.patience = settings, settings.repository, patience
        self.command, self.environment = command(settings), environment(settings)

    def ask(self, *arguments: str, heard: Callable[[str], None] | None = None) -> str:
        """restic's answer, or nothing where `heard` gets it line by line; a Fault where restic fails."""
        began = time.monotonic()
        while True:
            code, answer, errors = self._run(arguments, heard)
            if code == 0:
                return answer
            if not (holder := HOLDER.search(errors)):
                raise self._fault(errors)
            who = f"{holder.group(2)} (process {holder.group(1)})"
            if time.monotonic() - began >= self.patience:
                raise Fault(
                    f"{self.where} has been in use by {who} for {self.patience // 60:.0f} minutes. "
                    "Try again when its archive is made"
                )
            say(f"{self.where} is in use by {who}; waiting for that to end")
            time.sleep(PAUSE)
            self._run(("unlock", "--quiet"))  # of locks whose holders are gone

    def _run(self, arguments: tuple[str, ...], heard: Callable[[str], None] | None = None) -> tuple[int, str, str]:
        # Errors go to a file: who reads one pipe to its end must not be waited for at the other.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            with subprocess.Popen(
                [*self.command, *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=said, text=True
            ) as process:
                assert process.stdout is not None
                answer = ""
                if heard:
                    for line in process.stdout:
                        heard(line)
                else:
                    answer = process.stdout.read()
            said.seek(0)
            return process.returncode, answer, said.read()

    def _why_not(self) -> str:
        """What ssh says; restic may end before it has handed that on."""
        call = ssh(self.settings)
        asked = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return last_words(asked.stderr).removeprefix("ssh: ").rstrip(".")

    def _fault(self, errors: str) -> Fault:
        words, unread = understood(errors)
        if "unable to start the sftp session" in errors:
            return Fault(
                f"{self.where} cannot be reached: {self._why_not()}. See that its host runs, accepts the key "
                "(backup_ssh_key, or root's own), and is the one that backup_ssh_known_hosts, or root, knows"
            )
        if "wrong password" in errors:
            return Fault(
                f"backup_password does not open the repository in {self.where}. Use the one that it was begun with"
            )
        if NOT_OPEN.search(errors) and NOT_THERE.search(errors):
            return Missing(
                f"there is no repository in {self.where}. Where it is on a disk of its own, mount that; to begin a new "
                "one, run site.yml"
            )
        if unread:
            more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
            return Fault(
                f"{', '.join(unread[:3])}{more} could not be read, so that the archive would not be whole. "
                "`dmesg` shows whether a disk is damaged"
            )
        return Fault(f"restic cannot work with {self.where}: {words}")


def understood(errors: str) -> tuple[str, list[str]]:
    """The last thing that restic said, and the files that it could not read."""
    words, unread = "it said nothing", []
    for line in errors.splitlines():
        if line.startswith("{"):
            message = json.loads(line)
            if message.get("during") == "archival":
                unread.append(str(message["item"]))
            words = str(message.get("message", words)).splitlines()[0]
        elif NOT_OPEN.match(line):
            break
        elif line.strip():
            words = line.strip()
    return words, unread
