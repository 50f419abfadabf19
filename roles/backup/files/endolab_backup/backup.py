"""Backs up: everything as it was at one moment, while the lab goes on."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import database, queue, trees
from .directories import remove, there
from .journal import IN_PLACE, JOURNAL
from .manifest import ARCHIVE, DUMP, FORMAT, MANIFEST, QUEUE, SUMS, Manifest, counts, missing, part
from .progress import Progress
from .repository import Archive, Repository, moment
from .restic import AT_NIGHT
from .settings import STATE, Fault, Settings, Tree, size, write_json

LAST = STATE / "last.json"
ATTEMPTS = 3

# Each night reads one of so many parts of the repository again.
PARTS = 31


def backup(settings: Settings, progress: Progress, emptied: bool = False) -> dict[str, Any]:
    """Makes an archive; returns, and leaves in LAST, what it holds.

    emptied: the host is meant to have nothing left of what the archive before has.
    """
    started = time.monotonic()
    if JOURNAL.exists():
        raise Fault("a restore was broken off here, and half of two labs is no archive; run site.yml, which ends it")
    repository = Repository(settings, AT_NIGHT)
    repository.unlock()  # says at once where there is no repository
    IN_PLACE.unlink(missing_ok=True)
    if settings.database:
        database.wait(settings.database)
    if settings.queue:
        queue.wait(settings.queue["container"])
    found = settings.found_trees()
    try:
        archive, manifest, summary = _archive(settings, repository, found, progress, emptied)
    finally:
        with suppress(OSError):  # the next one clears, too
            clear(found)
    total, added = size(summary["total_bytes_processed"]), size(summary["data_added"])
    progress.step("archive", f"archive {archive.short} has {total}, {added} of it new, in {settings.repository}")
    done = {
        "archive": archive.short,
        "at": manifest.at,
        "seconds": round(time.monotonic() - started, 1),
        "added_bytes": summary["data_added"],
        "total_bytes": summary["total_bytes_processed"],
        "counts": manifest.counts,
    }
    write_json(LAST, done)
    repository.check(datetime.now(timezone.utc).timetuple().tm_yday % PARTS + 1, PARTS)
    repository.forget()
    progress.step("repository", "the repository is whole, and older archives are thinned out")
    return done


def _archive(
    settings: Settings, repository: Repository, found: list[Tree], progress: Progress, emptied: bool
) -> tuple[Archive, Manifest, dict[str, Any]]:
    """Archives the lab as it is at one moment; once more where something was written in place meanwhile."""
    changed: list[str] = []
    last = next(reversed(repository.archives()), None)
    before = Manifest.read(repository.read(last.id, str(MANIFEST))) if last and not emptied else None
    for _ in range(ATTEMPTS):
        manifest, known = _capture(settings, found, progress)
        if last and before:
            _compare(before, last, manifest)
        paths = [ARCHIVE, *(tree.path / trees.LINKED for tree in found)]
        summary = repository.backup(paths, moment(manifest.at), last, progress.part)
        changed = [name for tree in found for name in trees.changed(tree.path / trees.LINKED, tree.name, known)]
        if not changed:
            return repository.accept(summary["snapshot_id"]), manifest, summary
    raise Fault(f"{changed[0]} is written again and again, in place; see who does that")


def _compare(before: Manifest, last: Archive, now: Manifest) -> None:
    """Raises a Fault where the host came back empty, or a disk is missing: archives of that push out the good ones."""
    if gone := missing(before, now):
        raise Fault(
            f"{now.host} has nothing left of {', '.join(gone)}, and archive {last.short} of {before.at} has. See that "
            "every disk is mounted; restore.yml brings that archive back. Where it is meant to be gone, run "
            "`endolab-backup run --emptied` once on the host"
        )


def clear(found: list[Tree]) -> None:
    """Removes what was only for the archive; manifest and sums tell the next one what it need not read again."""
    for path in leftovers(found):
        remove(path)
    for path in (DUMP, QUEUE):
        path.unlink(missing_ok=True)


def leftovers(found: list[Tree]) -> list[Path]:
    """The directories in which the trees are linked."""
    return [tree.path / trees.LINKED for tree in found if there(tree.path / trees.LINKED)]


def _capture(settings: Settings, found: list[Tree], progress: Progress) -> tuple[Manifest, dict[str, trees.Sum]]:
    """Puts what belongs together where restic finds it; returns the sums of its files, too."""
    ARCHIVE.mkdir(mode=0o700, exist_ok=True)
    for _ in range(ATTEMPTS):
        clear(found)
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
                    queue.dump(settings.queue["container"], QUEUE)
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
        dump_bytes=DUMP.stat().st_size if settings.database else 0,
    )
    write_json(MANIFEST, asdict(manifest))
    return manifest, of_all
