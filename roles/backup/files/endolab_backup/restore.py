"""Brings an archive back: beside what is there first, compared with what it should be, and only then into its place."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import database, journal, trees
from .fits import Found, check
from .journal import Report
from .manifest import DUMP, MANIFEST, SUMS, Manifest, part
from .repository import Repository
from .settings import Fault, Settings, Tree, running


def restore(settings: Settings, name: str, replace: bool, report: Report) -> Found:
    """Brings an archive back, and stops whoever writes; site.yml starts them again."""
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
    # What a killed restore has left would be taken for this one's.
    journal.clear(settings)
    try:
        _stage(settings, found, report)
    except BaseException:
        with suppress(Fault, OSError):  # the next one clears, too
            journal.clear(settings)
        raise
    journal.begin(settings, found.archive, report)
    return found


def _stage(settings: Settings, found: Found, report: Report) -> None:
    """Brings an archive back beside what is there, and compares every part with the manifest."""
    repository, manifest = Repository(settings), found.manifest
    repository.restore(found.archive, str(MANIFEST.parent), journal.RESTORED)
    sums = trees.read_sums(journal.restored(SUMS))
    for tree in settings.found_trees(make=True):
        if tree.name in manifest.parts:
            _stage_tree(repository, found.archive, tree, manifest.parts[tree.name])
            _compare(tree, manifest, sums)
            report(f"{tree.name}: {manifest.parts[tree.name]['files']} files as they were")
    if settings.database and manifest.tables is not None:
        dump = journal.restored(DUMP)
        if trees.content_sum(dump) != manifest.dump:
            raise Fault("the archive's dump of the database is not the one that was made: the repository is damaged")
        tables = database.stage(settings.database, dump)
        if wrong := [table for table, content in manifest.tables.items() if tables.get(table) != content]:
            raise Fault(f"the database came back with other rows in {', '.join(wrong)}")
        report(f"database: {sum(each['rows'] for each in tables.values())} rows as they were")


def _stage_tree(repository: Repository, snapshot: str, tree: Tree, known: dict[str, Any]) -> None:
    restoring = tree.path / journal.RESTORING
    repository.restore(snapshot, known["path"], restoring)
    (restoring / Path(known["path"]).relative_to("/")).rename(tree.path / trees.STAGED)
    shutil.rmtree(restoring)


def _compare(tree: Tree, manifest: Manifest, sums: dict[str, trees.Sum]) -> None:
    """Raises a Fault where a staged tree is not what the archive was made from."""
    found = trees.sums(tree.path / trees.STAGED, tree.name, {})
    known = manifest.parts[tree.name]
    if part(Path(known["path"]), found) == known:
        return
    wanted = {name: each.sha256 for name, each in sums.items() if name.startswith(f"{tree.name}/")}
    here = {name: each.sha256 for name, each in found.items()}
    wrong = [name for name in sorted(wanted.keys() | here.keys()) if here.get(name) != wanted.get(name)]
    raise Fault(f"{', '.join(wrong[:3]) or tree.name} did not come back as it was: the repository is damaged")
