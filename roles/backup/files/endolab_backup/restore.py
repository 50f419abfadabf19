"""Brings an archive back: beside what is there first, compared with what it should be, and only then into its place.

JOURNAL is there while things are put into their places, and says how far that has come, so that whatever breaks it off,
another run ends it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import database, trees
from .manifest import DUMP, MANIFEST, QUEUE, SUMS, Manifest, part
from .repository import Repository, size
from .settings import STATE, Fault, Settings, Tree, read_json, run, running, volume, write_json

JOURNAL = STATE / "restore.json"
RESTORED = STATE / "restored"
RESTORING = trees.OURS + "restoring"

Report = Callable[[str], None]


def check(settings: Settings, name: str, replace: bool) -> tuple[str, Manifest, list[str]]:
    """The id and the manifest of an archive, and what speaks against bringing it back here."""
    repository = Repository(settings)
    found = repository.find(name)
    manifest = Manifest.read(repository.read(found["id"], str(MANIFEST)))
    faults = []
    if manifest.lab != settings.lab:
        faults.append(f"the archive is of lab {manifest.lab}, and this is {settings.lab}; backup_lab names it")
    theirs, ours = manifest.versions["cvat"], settings.versions["cvat"]
    if theirs != ours:
        faults.append(
            f"the archive is of CVAT {theirs}, and the inventory asks for {ours}. "
            f"Bring it back with -e endolab_cvat_version={theirs}"
        )
    if strange := sorted(manifest.parts.keys() - {each["name"] for each in settings.trees}):
        faults.append(
            f"the archive has {', '.join(strange)}, for which this host has no place. Compare the inventory's groups"
        )
    if not replace and (there := _there(settings)):
        faults.append(
            f"the host holds {there}, which would be replaced. Where that is meant, make an archive of it, "
            "and say -e restore_replace=true"
        )
    return found["id"], manifest, faults + _room(settings, manifest)


def _there(settings: Settings) -> str:
    """What the host holds of a lab; nothing where it is a new one."""
    if settings.database and running([settings.database]) and (tasks := database.tasks(settings.database)):
        return f"{tasks} tasks in CVAT"
    for tree in settings.found_trees():
        if tree.foreign_files_stay:
            directories = [each for each in tree.path.iterdir() if each.is_dir()]
            known = [each for each in directories if not each.name.startswith(trees.OURS) and any(trees.files(each))]
            if known:
                return f"labels and scores in {tree.path}"
    return ""


def _room(settings: Settings, manifest: Manifest) -> list[str]:
    """The disks that have no room for the parts that belong there."""
    wanted: dict[int, int] = {}
    places: dict[int, Path] = {}
    for tree in settings.trees:
        path = settings.disk_of(tree)
        device = path.stat().st_dev
        wanted[device] = wanted.get(device, 0) + manifest.parts.get(tree["name"], {"bytes": 0})["bytes"]
        places.setdefault(device, path)
    return [
        f"the archive needs {size(number)} on the disk of {places[device]}, and {size(free)} are free. Make room there"
        for device, number in wanted.items()
        if number > (free := shutil.disk_usage(places[device]).free)
    ]


def restore(settings: Settings, name: str, replace: bool, report: Report) -> Manifest:
    """Brings an archive back, and stops whoever writes; site.yml starts them again."""
    if JOURNAL.exists():
        raise Fault("an archive is being brought back; run `endolab-backup resume` first")
    try:
        manifest = _stage(settings, name, replace, report)
    except BaseException:
        _clear(settings)
        raise
    _note("out")
    resume(settings, report)
    return manifest


def _stage(settings: Settings, name: str, replace: bool, report: Report) -> Manifest:
    """Brings an archive back beside what is there, and compares every part with the manifest."""
    archive, manifest, faults = check(settings, name, replace)
    if faults:
        raise Fault("; ".join(faults))
    repository = Repository(settings)
    shutil.rmtree(RESTORED, ignore_errors=True)
    repository.restore(archive, str(MANIFEST.parent), RESTORED)
    sums = trees.read_sums(_restored(SUMS))
    for tree in settings.found_trees(make=True):
        if tree.name in manifest.parts:
            _stage_tree(repository, archive, tree, manifest.parts[tree.name])
            _compare(tree, manifest, sums)
            report(f"{tree.name}: {manifest.parts[tree.name]['files']} files as they were")
    if settings.database and manifest.tables is not None:
        if trees.content_sum(_restored(DUMP)) != manifest.dump:
            raise Fault("the archive's dump of the database is not the one that was made: the repository is damaged")
        tables = database.stage(settings.database, _restored(DUMP))
        if wrong := [table for table, content in manifest.tables.items() if tables.get(table) != content]:
            raise Fault(f"the database came back with other rows in {', '.join(wrong)}")
        report(f"database: {sum(each['rows'] for each in tables.values())} rows as they were")
    return manifest


def _restored(path: Path) -> Path:
    return RESTORED / path.relative_to("/")


def _stage_tree(repository: Repository, snapshot: str, tree: Tree, known: dict[str, Any]) -> None:
    restoring, staged = tree.path / RESTORING, tree.path / trees.STAGED
    for directory in (restoring, staged):
        shutil.rmtree(directory, ignore_errors=True)
    repository.restore(snapshot, known["path"], restoring)
    (restoring / Path(known["path"]).relative_to("/")).rename(staged)
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


def _note(phase: str) -> None:
    write_json(JOURNAL, {"phase": phase})


def resume(settings: Settings, report: Report) -> None:
    """Puts what is staged into its place, from where JOURNAL says."""
    if not JOURNAL.exists():
        raise Fault("no archive is being brought back")
    if writers := running(settings.writers):
        run("docker", "stop", *writers)
    report("whoever writes is stopped")
    known = settings.found_trees(make=True)
    if read_json(JOURNAL)["phase"] == "out":
        for tree in known:
            if (tree.path / trees.STAGED).is_dir():
                trees.swap_out(tree)
        _note("in")
    for tree in known:
        trees.swap_in(tree)
    if settings.database:
        database.swap(settings.database)
    if settings.queue and _restored(QUEUE).exists():
        _fill_queue(settings.queue["volume"], _restored(QUEUE))
    JOURNAL.unlink()
    report("everything is in its place")
    _clear(settings)


def _clear(settings: Settings) -> None:
    """Removes what was only for the restore, and what it has replaced."""
    for tree in settings.found_trees():
        for name in (RESTORING, trees.STAGED, trees.REPLACED):
            shutil.rmtree(tree.path / name, ignore_errors=True)
    if settings.database:
        database.clear(settings.database)
    shutil.rmtree(RESTORED, ignore_errors=True)


def _fill_queue(name: str, dump: Path) -> None:
    """Makes a dump the base of Redis's append-only files, which it reads where it keeps such files."""
    directory = volume(name)
    if not directory:
        raise Fault(f"there is no volume {name}; run site.yml first")
    status = directory.stat()
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    base, files = "appendonly.aof.1.base.rdb", directory / "appendonlydir"
    files.mkdir()
    shutil.copyfile(dump, files / base)
    (files / "appendonly.aof.manifest").write_text(f"file {base} seq 1 type b\n", encoding="ascii")
    for path in (files, *files.iterdir()):
        shutil.chown(path, status.st_uid, status.st_gid)
