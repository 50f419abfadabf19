"""Back up what this host holds of its lab, and bring it back.

What is said on the way goes to standard error; the last line of standard output is the result, as JSON.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import backup, journal, restic, restore
from .fits import Found, check
from .progress import STEPS, Progress, begin, follow, state
from .repository import Repository
from .settings import STATE, Fault, Settings, say


@contextmanager
def alone(verb: str) -> Iterator[None]:
    """Only one of us at a time."""
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (STATE / "lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = "a backup" if file.read() == "run" else "a restore"
            fault = f"{other} is under way here already; see `journalctl -u endolab-backup`"
            if verb == "run" and other == "a restore":
                Progress().end(fault)
            raise Fault(fault) from None
        file.truncate(0)
        file.write(verb)
        file.flush()
        yield


def stopped(*_: object) -> None:
    raise Fault("it was stopped")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="endolab-backup", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    known = verbs.add_parser("make", help="begin the repository, unless it is there")
    known.add_argument("--known", action="store_true", help="it must be there")
    known = verbs.add_parser("run", help="make an archive")
    known.add_argument("--emptied", action="store_true", help="although nothing is left of what the last one has")
    verbs.add_parser("start", help="let systemd make an archive")
    known = verbs.add_parser("follow", help="wait until a step of that is done")
    known.add_argument("step", choices=STEPS)
    verbs.add_parser("state", help="show the last archive, and why the run after it failed")
    verbs.add_parser("list", help="list this host's archives")
    for verb, text in (("check", "say what speaks against bringing one back"), ("restore", "bring one back")):
        known = verbs.add_parser(verb, help=text)
        known.add_argument("archive", help="its id, latest, or a time: the last one up to then")
        known.add_argument("--replace", action="store_true", help="although the host holds something")
        known.add_argument("--damaged", action="store_true", help="without the files that are damaged")
    verbs.add_parser("resume", help="end a restore that was broken off while things were put into their places")
    verbs.add_parser("clear", help="remove what a run that was killed has left in the lab's directories")
    known = verbs.add_parser("restic", help="ask restic itself")
    known.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args()


def main() -> int:
    given = parsed()
    signal.signal(signal.SIGTERM, stopped)
    start = time.monotonic()
    try:
        answer = answered(given, Settings.load())
        if isinstance(answer, dict):
            answer.setdefault("seconds", round(time.monotonic() - start, 1))
        print(json.dumps(answer))
    except (Fault, OSError) as fault:
        say(f"{fault}.")
        return 1
    return 0


def answered(given: argparse.Namespace, settings: Settings) -> Any:
    """What a verb answers."""
    if given.verb == "list":
        known = Repository(settings).archives()
        return [{"archive": each.short, "at": each.at.isoformat(timespec="seconds")} for each in known]
    if given.verb == "state":
        return {**state(backup.LAST), "repository": settings.repository}
    if given.verb == "start":
        return begin()
    if given.verb == "follow":
        return follow(given.step)
    if given.verb == "make":
        return {"made": Repository(settings).make(given.known)}
    if given.verb == "check":
        found = check(settings, given.archive, given.replace)
        return {**shown(found), "faults": found.faults}
    if given.verb == "restic":
        os.execvpe("restic", [*restic.command(settings), *given.arguments], restic.environment(settings))
    with alone(given.verb):
        return act(given, settings)


def act(given: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """What those verbs answer that change something."""
    if given.verb == "run":
        return followed(settings, given.emptied)
    if given.verb == "restore":
        return shown(restore.restore(settings, given.archive, given.replace, say, given.damaged))
    if given.verb == "clear":
        return {"cleared": cleared(settings)}
    journal.resume(settings, say)
    return {}


def cleared(settings: Settings) -> bool:
    """Removes what killed runs have left, unless a restore is to be ended; returns whether there was something."""
    found = settings.found_trees()
    if journal.JOURNAL.exists() or not (backup.leftovers(found) or journal.leftovers(settings)):
        return False
    backup.clear(found)
    journal.clear(settings)
    return True


def shown(found: Found) -> dict[str, Any]:
    manifest = found.manifest
    return {"archive": found.archive[:8], "at": manifest.at, "counts": manifest.counts, "in_place": found.in_place}


def followed(settings: Settings, emptied: bool) -> dict[str, Any]:
    progress = Progress()
    try:
        done = backup.backup(settings, progress, emptied)
    except (Fault, OSError) as fault:
        progress.end(str(fault))
        raise
    progress.end()
    return done


if __name__ == "__main__":
    sys.exit(main())
