"""Brings an archive back: beside what is there first, compared with what it should be, and only then into its place."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from . import database, journal, trees
from .directories import held, through
from .fits import Found, check
from .journal import Report
from .manifest import DUMP, MANIFEST, SUMS, Manifest, part
from .repository import Repository
from .settings import Fault, Settings, Tree, run, running

# A lab does without one file of so many. Where more are missing, it is not they that are damaged.
FEW = 10


def restore(settings: Settings, name: str, replace: bool, report: Report, damaged: bool = False) -> Found:
    """Brings an archive back, and stops whoever writes; site.yml starts them again, or this where nothing was changed.

    damaged: without the files that the repository does not give back as they were.
    """
    if journal.JOURNAL.exists():
        raise Fault("a restore was broken off here; run `endolab-backup resume`, or site.yml, first")
    found = check(settings, name, replace)
    if found.in_place:
        report("it is in place already")
        return found
    if found.faults:
        raise Fault("; ".join(found.faults))
    if settings.database and not running([settings.database]):
        raise Fault(f"{settings.database} does not run, and the archive's database goes there. Run site.yml")
    writers = running(settings.writers)
    try:
        # What they did from here on would be lost, and what they put in our way would be followed.
        journal.stop(writers, report)
        # What a killed restore has left would be taken for this one's.
        journal.clear(settings)
        _stage(settings, found, report, damaged)
    except BaseException:
        with suppress(Fault, OSError):  # the next one clears, too
            journal.clear(settings)
        if writers:
            with suppress(Fault):  # site.yml starts them, too
                run("docker", "start", *writers)
        raise
    journal.begin(settings, found.archive, report)
    return found


def _stage(settings: Settings, found: Found, report: Report, damaged: bool) -> None:
    """Brings an archive back beside what is there, and compares every part with the manifest."""
    repository, manifest = Repository(settings), found.manifest
    repository.restore(found.archive, str(MANIFEST.parent), journal.RESTORED)
    sums = trees.read_sums(journal.restored(SUMS))
    for tree in settings.found_trees(make=True):
        if tree.name in manifest.parts:
            lost = _stage_tree(repository, found.archive, tree, manifest, sums, damaged)
            for file in lost:
                report(f"{file} is damaged in the repository, and was left out")
            report(f"{tree.name}: {manifest.parts[tree.name]['files'] - len(lost)} files as they were")
    if settings.database and manifest.tables is not None:
        dump = journal.restored(DUMP)
        if trees.content_sum(dump) != manifest.dump:
            raise Fault("the archive's dump of the database is not the one that was made: the repository is damaged")
        tables = database.stage(settings.database, dump)
        if wrong := [table for table, content in manifest.tables.items() if tables.get(table) != content]:
            raise Fault(f"the database came back with other rows in {', '.join(wrong)}")
        report(f"database: {sum(each['rows'] for each in tables.values())} rows as they were")


def _stage_tree(
    repository: Repository, snapshot: str, tree: Tree, manifest: Manifest, sums: dict[str, trees.Sum], damaged: bool
) -> list[str]:
    """Brings a tree back beside what is there; returns the files that it is without, where it may be."""
    known = manifest.parts[tree.name]
    with trees.opened(tree) as root, held(journal.RESTORING, root, make=True) as restoring:
        # A name of its own, as newer ones of restic take the descriptor's for a file that is in the way.
        target = through(restoring) / "target"
        brought = target / Path(known["path"]).relative_to("/")
        try:
            repository.restore(snapshot, known["path"], target)
        except Fault:
            if not damaged:
                raise
        lost = _compare(brought, tree, manifest, sums, damaged)
        os.rename(brought, trees.STAGED, dst_dir_fd=root)
    shutil.rmtree(tree.path / journal.RESTORING)
    return lost


def _compare(brought: Path, tree: Tree, manifest: Manifest, sums: dict[str, trees.Sum], damaged: bool) -> list[str]:
    """Compares what came back with the manifest; removes what is not as it was, where it may, and returns that."""
    known = manifest.parts[tree.name]
    found = trees.sums(brought, tree.name, {})
    if part(Path(known["path"]), found) == known:
        return []
    wanted = {name: each.sha256 for name, each in sums.items() if name.startswith(f"{tree.name}/")}
    here = {name: each.sha256 for name, each in found.items()}
    wrong = [name for name in sorted(wanted.keys() | here.keys()) if here.get(name) != wanted.get(name)]
    if not damaged or not wrong:
        raise Fault(
            f"{', '.join(wrong[:3]) or tree.name} did not come back as it was: the repository is damaged. "
            "To do without what is damaged, say -e restore_damaged=true"
        )
    if len(wrong) * FEW > len(wanted):
        raise Fault(
            f"{len(wrong)} of {len(wanted)} files of {tree.name} did not come back as they were; see that the "
            "repository can be reached all the time, and whether another archive is whole"
        )
    for name in wrong:
        (brought / Path(name).relative_to(tree.name)).unlink(missing_ok=True)
    return wrong
