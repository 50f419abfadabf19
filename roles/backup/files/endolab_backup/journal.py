"""Puts what was brought back into its place.

JOURNAL is there meanwhile, and says how far that has come, so that whatever breaks it off, another run ends it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from . import database, queue, trees
from .directories import remove, there
from .manifest import QUEUE
from .settings import STATE, Fault, Settings, read_json, run, running, write_json

JOURNAL = STATE / "restore.json"
RESTORED = STATE / "restored"
RESTORING = trees.OURS + "restoring"

# Says which archive is in place, until site.yml has started everything with it.
IN_PLACE = STATE / "in_place.json"

Report = Callable[[str], None]


def restored(path: Path) -> Path:
    """Where a file of an archive is while it is being brought back."""
    return RESTORED / path.relative_to("/")


def begin(settings: Settings, archive: str, report: Report) -> None:
    """Everything is staged: from here on it is put into its place, by this run or by another."""
    _note(archive, "out")
    resume(settings, report)


def _note(archive: str, phase: str) -> None:
    # The disk may not keep the order in which all of this was written when the power goes.
    os.sync()
    write_json(JOURNAL, {"archive": archive, "phase": phase})
    os.sync()


def stop(writers: list[str], report: Report) -> None:
    """Stops these containers, which write what is about to be replaced."""
    if writers:
        run("docker", "stop", *writers)
        report("whoever writes is stopped")


def resume(settings: Settings, report: Report) -> None:
    """Puts what is staged into its place, from where JOURNAL says."""
    if not JOURNAL.exists():
        raise Fault("no archive is being brought back")
    journal = read_json(JOURNAL)
    if settings.database:
        if not running([settings.database]):
            run("docker", "start", settings.database)
        database.wait(settings.database)
    stop(running(settings.writers), report)
    known = settings.found_trees(make=True)
    if journal["phase"] == "out":
        for tree in known:
            if (tree.path / trees.STAGED).is_dir():
                trees.swap_out(tree)
        _note(journal["archive"], "in")
    for tree in known:
        trees.swap_in(tree)
    if settings.database:
        database.swap(settings.database)
    if settings.queue and restored(QUEUE).exists():
        queue.fill(settings.queue["volume"], restored(QUEUE))
    if settings.cache:
        queue.forget_chunks(settings.cache)
    write_json(IN_PLACE, {"archive": journal["archive"]})
    os.sync()
    JOURNAL.unlink()
    os.sync()
    report("everything is in its place")
    clear(settings)


def clear(settings: Settings) -> None:
    """Removes what was only for the restore, and what it has replaced."""
    for path in leftovers(settings):
        remove(path)
    if settings.database:
        database.clear(settings.database)


def leftovers(settings: Settings) -> list[Path]:
    """The directories that restores have left."""
    names = (RESTORING, trees.STAGED, trees.REPLACED)
    places = [RESTORED, *(tree.path / name for tree in settings.found_trees() for name in names)]
    return [each for each in places if there(each)]
