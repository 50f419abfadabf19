"""Backs up: everything as it was at one moment, while the lab goes on."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from . import database, trees
from .manifest import ARCHIVE, DUMP, FORMAT, MANIFEST, QUEUE, SUMS, Manifest, counts, part
from .progress import Progress
from .repository import Repository, size
from .settings import STATE, Fault, Settings, Tree, write_json

LAST = STATE / "last.json"
ATTEMPTS = 3

# Each night reads one of so many parts of the repository again.
PARTS = 31


def backup(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Makes an archive; returns, and leaves in LAST, what it holds."""
    started = time.monotonic()
    repository = Repository(settings)
    repository.unlock()  # says at once where there is no repository
    found = settings.found_trees()
    try:
        manifest, summary = _archive(settings, repository, found, progress)
    finally:
        _clear(found)
    total, added = size(summary["total_bytes_processed"]), size(summary["data_added"])
    progress.step("archive", f"archive {summary['snapshot_id'][:8]} has {total}, {added} of it new")
    repository.forget()
    repository.check(datetime.now(timezone.utc).timetuple().tm_yday % PARTS + 1, PARTS)
    progress.step("repository", "older archives are thinned out, and the repository is whole")
    done = {
        "archive": summary["snapshot_id"][:8],
        "at": manifest.at,
        "seconds": round(time.monotonic() - started, 1),
        "added_bytes": summary["data_added"],
        "total_bytes": summary["total_bytes_processed"],
        "counts": manifest.counts,
    }
    write_json(LAST, done)
    return done


def _archive(
    settings: Settings, repository: Repository, found: list[Tree], progress: Progress
) -> tuple[Manifest, dict[str, Any]]:
    """Archives the lab as it is at one moment; once more where something was written in place meanwhile."""
    changed: list[str] = []
    for _ in range(ATTEMPTS):
        manifest, known = _capture(settings, found, progress)
        summary = repository.backup([ARCHIVE, *(tree.path / trees.LINKED for tree in found)], progress.part)
        changed = [name for tree in found for name in trees.changed(tree.path / trees.LINKED, tree.name, known)]
        if not changed:
            return manifest, summary
        repository.drop(summary["snapshot_id"])
    raise Fault(f"{changed[0]} is written again and again, in place; see who does that")


def _clear(found: list[Tree]) -> None:
    """Removes what was only for the archive; manifest and sums tell the next one what it need not read again."""
    for tree in found:
        if (tree.path / trees.LINKED).exists():
            shutil.rmtree(tree.path / trees.LINKED)
    for path in (DUMP, QUEUE):
        path.unlink(missing_ok=True)


def _capture(settings: Settings, found: list[Tree], progress: Progress) -> tuple[Manifest, dict[str, trees.Sum]]:
    """Puts what belongs together where restic finds it; returns the sums of its files, too."""
    ARCHIVE.mkdir(mode=0o700, exist_ok=True)
    for _ in range(ATTEMPTS):
        _clear(found)
        for tree in found:
            trees.link(tree)
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        tables = None
        if settings.database:
            with database.moment(settings.database) as (session, seen_as):
                # What the database knows of was there when it was looked at, so it is linked now, or before.
                for tree in found:
                    trees.link(tree)
                if _gone(settings.database, session, found):
                    continue
                if settings.queue:
                    database.dump_queue(settings.queue["container"], QUEUE)
                database.dump(settings.database, seen_as, DUMP)
                tables = database.content(session)
        manifest, known = _manifest(settings, found, at, tables)
        number, total = (sum(each[word] for each in manifest.parts.values()) for word in ("files", "bytes"))
        progress.step("files", f"{number} files, {size(total)}, are held as they were at {at}")
        if tables is not None:
            rows = sum(each["rows"] for each in tables.values())
            progress.step("database", f"the database is dumped, {rows} rows in {size(DUMP.stat().st_size)}")
        return manifest, known
    raise Fault("tasks are made and deleted all the time; try again when that is over")


def _gone(container: str, session: database.Session, found: list[Tree]) -> bool:
    """Whether the database knew at its moment of data whose files are neither linked nor wanted any more."""
    directories = [tree.path / trees.LINKED / "data" for tree in found if tree.name == "cvat-data"]
    query = "SELECT id FROM engine_data"
    missing = [row for row in session.ask(query) if not any((each / row[0]).is_dir() for each in directories)]
    if not missing:
        return False
    with database.session(container) as opened:
        present = opened.ask(query)
    return any(row not in present for row in missing)


def _manifest(
    settings: Settings, found: list[Tree], at: str, tables: dict[str, dict[str, Any]] | None
) -> tuple[Manifest, dict[str, trees.Sum]]:
    known, parts, of_all = trees.read_sums(SUMS), {}, {}
    for tree in found:
        linked = tree.path / trees.LINKED
        of_tree = trees.sums(linked, tree.name, known)
        parts[tree.name] = part(linked, of_tree)
        of_all.update(of_tree)
    trees.write_sums(SUMS, of_all)
    manifest = Manifest(
        format=FORMAT,
        lab=settings.lab,
        host=settings.host,
        at=at,
        versions=settings.versions,
        counts=counts(tables, of_all),
        parts=parts,
        tables=tables,
        dump=trees.content_sum(DUMP) if settings.database else None,
        queue=trees.content_sum(QUEUE) if settings.queue else None,
    )
    write_json(MANIFEST, asdict(manifest))
    return manifest, of_all
