"""What speaks against bringing an archive back to this host."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import database, trees
from .journal import IN_PLACE, JOURNAL, leftovers
from .manifest import MANIFEST, Manifest
from .repository import Repository
from .settings import STATE, Settings, docker_disk, read_json, run, running, size

# A staged database has indexes beside the rows that its dump has.
OF_DUMP = 2


@dataclass(frozen=True)
class Found:
    """An archive, and what speaks against bringing it back. in_place: it is here, and nobody has worked with it yet."""

    archive: str
    manifest: Manifest
    in_place: bool
    faults: list[str]


def check(settings: Settings, name: str, replace: bool) -> Found:
    """Looks at an archive, and at this host."""
    repository = Repository(settings)
    found = repository.find(name)
    manifest = Manifest.read(repository.read(found.id, str(MANIFEST)))
    there = "" if replace else _there(settings)
    if there and (read_json(IN_PLACE) or {}).get("archive") == found.id:
        return Found(found.id, manifest, True, [])
    faults = []
    if JOURNAL.exists():
        faults.append("a restore was broken off here; `endolab-backup resume`, or site.yml, ends it")
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
    if there:
        faults.append(
            f"the host holds {there}, which would be replaced. Where that is meant, make an archive of it, "
            "and say -e restore_replace=true"
        )
    return Found(found.id, manifest, False, faults + _disks(settings) + _room(settings, manifest))


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


def _disks(settings: Settings) -> list[str]:
    """What is mounted in the trees: it can neither be set aside nor removed with what lies around it."""
    shown = json.loads(run("findmnt", "--json", "--list", "--output", "TARGET"))
    disks = [Path(each["target"]) for each in shown["filesystems"]]
    return [
        f"{disk} is a disk of its own in {tree.path}, and nothing can be put in its place. Move its files to that of "
        f"{tree.path}, or mount it there"
        for tree in settings.found_trees()
        for disk in disks
        if tree.path.resolve() in disk.parents
    ]


def _room(settings: Settings, manifest: Manifest) -> list[str]:
    """The disks that have no room for the parts that belong there, beside what is there."""
    places = [
        (settings.disk_of(each), manifest.parts.get(each["name"], {"bytes": 0})["bytes"]) for each in settings.trees
    ]
    if settings.database:
        places += [(STATE, manifest.dump_bytes), (docker_disk(), OF_DUMP * manifest.dump_bytes)]
    wanted: dict[int, int] = {}
    disks: dict[int, Path] = {}
    for path, number in places:
        device = path.stat().st_dev
        wanted[device] = wanted.get(device, 0) + number
        disks.setdefault(device, path)
    # A restore begins with removing what another has left.
    for path in leftovers(settings):
        if path.is_symlink():
            continue
        device = path.stat().st_dev
        wanted[device] = wanted.get(device, 0) - sum(file.lstat().st_size for file in trees.files(path))
    return [
        f"the archive needs {size(number)} on the disk of {disks[device]}, and {size(free)} are free. Make room there"
        for device, number in wanted.items()
        if device in disks and number > (free := shutil.disk_usage(disks[device]).free)
    ]
