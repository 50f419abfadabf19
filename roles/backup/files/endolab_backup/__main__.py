"""Back up what this host holds of its lab, and bring it back.

What is said on the way goes to standard error; the last line of standard output is the result, as JSON.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import restore
from .backup import LAST, backup
from .progress import STEPS, Progress, begin, follow, state
from .repository import Repository
from .settings import STATE, Fault, Settings


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def alone() -> Iterator[None]:
    """Only one of us at a time."""
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (STATE / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fault("a backup or a restore is under way here already; see `journalctl -u endolab-backup`") from None
        yield


def listed(repository: Repository) -> list[dict[str, Any]]:
    return [{"archive": each["short_id"], "at": each["time"][:19]} for each in repository.snapshots()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="endolab-backup", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("make", help="begin the repository, unless it is there")
    verbs.add_parser("run", help="make an archive")
    verbs.add_parser("start", help="let systemd make an archive")
    known = verbs.add_parser("follow", help="wait until a step of that is done")
    known.add_argument("step", choices=STEPS)
    verbs.add_parser("state", help="show the last archive, and why the run after it failed")
    verbs.add_parser("list", help="list this host's archives")
    for verb, text in (("check", "say what speaks against bringing one back"), ("restore", "bring one back")):
        known = verbs.add_parser(verb, help=text)
        known.add_argument("archive", help="its id, or latest")
        known.add_argument("--replace", action="store_true", help="although the host holds something")
    verbs.add_parser("resume", help="end a restore that was broken off while things were put into their places")
    given = parser.parse_args()
    start = time.monotonic()
    try:
        settings = Settings.load()
        answer: Any
        if given.verb == "list":
            answer = listed(Repository(settings))
        elif given.verb == "state":
            answer = state(LAST)
        elif given.verb == "start":
            answer = {"begun": begin()}
        elif given.verb == "follow":
            answer = follow(given.step)
        elif given.verb == "make":
            answer = {"made": make(settings)}
        elif given.verb == "check":
            archive, manifest, faults = restore.check(settings, given.archive, given.replace)
            answer = {"archive": archive, "at": manifest.at, "counts": manifest.counts, "faults": faults}
        else:
            with alone():
                answer = act(given, settings)
        if isinstance(answer, dict):
            answer.setdefault("seconds", round(time.monotonic() - start, 1))
        print(json.dumps(answer))
    except (Fault, OSError) as fault:
        report(f"{fault}.")
        return 1
    return 0


def make(settings: Settings) -> bool:
    """Begins the repository, and notes that it was there."""
    made = Repository(settings).make()
    (STATE / "repository").write_text(f"{settings.repository}\n", encoding="utf-8")
    return made


def act(given: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    if given.verb == "run":
        return followed(settings)
    if given.verb == "restore":
        manifest = restore.restore(settings, given.archive, given.replace, report)
        return {"at": manifest.at, "counts": manifest.counts}
    restore.resume(settings, report)
    return {}


def followed(settings: Settings) -> dict[str, Any]:
    progress = Progress()
    try:
        done = backup(settings, progress)
    except (Fault, OSError) as fault:
        progress.end(str(fault))
        raise
    progress.end()
    return done


if __name__ == "__main__":
    sys.exit(main())
