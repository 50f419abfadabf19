"""What speaks against bringing an archive back, and what becomes of one that is broken off."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from endolab_backup import database, fits, journal, manifest, queue, restore, settings, trees
from endolab_backup.repository import Archive, moment
from endolab_backup.settings import Fault, Settings

from tests.unit.backup.test_trees import read, write

FRAMES = {"a.png": "frame", "labels/final/a.png": "label"}


class Repository:
    """One archive of a host's studies, on this machine's disk."""

    archive: Path
    manifest: dict[str, Any]

    def __init__(self, _: Settings) -> None:
        pass

    def find(self, name: str) -> Archive:
        return Archive(name, moment("2026-11-27T02:30:00"), name)

    def read(self, snapshot: str, path: str) -> str:
        return json.dumps(self.manifest)

    def restore(self, snapshot: str, path: str, target: Path) -> None:
        shutil.copytree(self.archive / Path(path).relative_to("/"), target / Path(path).relative_to("/"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A bare host, and an archive for it."""
    state, studies, archive = (tmp_path / name for name in ("state", "studies", "archive"))
    state.mkdir()
    kept = archive / "old/studies"
    write(kept, FRAMES)
    sums = trees.sums(kept, "studies", {})
    (archive / manifest.ARCHIVE.relative_to("/")).mkdir(parents=True)
    trees.write_sums(archive / manifest.SUMS.relative_to("/"), sums)
    made = manifest.Manifest(
        format=manifest.FORMAT,
        lab="lab",
        host="gpu1",
        at="2026-11-27T02:30:00+00:00",
        versions={"cvat": "2.73.0"},
        counts=manifest.counts(None, sums),
        parts={"studies": manifest.part(Path("/old/studies"), sums)},
        tables=None,
        dump=None,
        queue=None,
        dump_bytes=0,
    )
    monkeypatch.setattr(Repository, "archive", archive, raising=False)
    monkeypatch.setattr(Repository, "manifest", vars(made), raising=False)
    for module in (restore, fits):
        monkeypatch.setattr(module, "Repository", Repository)
    for module in (journal, fits):
        monkeypatch.setattr(module, "JOURNAL", state / "restore.json")
        monkeypatch.setattr(module, "IN_PLACE", state / "in_place.json")
    for module in (journal, fits, restore):
        monkeypatch.setattr(module, "running", lambda names: [])
    monkeypatch.setattr(journal, "RESTORED", state / "restored")
    monkeypatch.setattr(fits, "STATE", state)
    return Settings(
        lab="lab",
        host="gpu1",
        repository="/backup",
        keep={},
        versions={"cvat": "2.73.0"},
        database=None,
        queue=None,
        cache=None,
        writers=["monailabel"],
        trees=[{"name": "studies", "directory": str(studies), "foreign_files_stay": True}],
    )


def studies(lab: Settings) -> Path:
    return Path(lab.trees[0]["directory"])


def bring_back(lab: Settings, replace: bool = False, archive: str = "latest") -> None:
    restore.restore(lab, archive, replace, lambda line: None)


def test_an_archive_comes_back_whole(lab: Settings) -> None:
    bring_back(lab)
    assert read(studies(lab)) == FRAMES
    assert not journal.JOURNAL.exists()
    assert not journal.RESTORED.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"versions": {"cvat": "2.74.0"}}, "of CVAT 2.73.0, and the inventory asks for 2.74.0"),
        ({"trees": []}, "the archive has studies, for which this host has no place"),
    ],
)
def test_an_archive_that_does_not_fit_is_refused(lab: Settings, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Fault, match=said):
        bring_back(replace(lab, **changes))


def test_a_host_that_holds_something_is_not_written_over_unless_told(lab: Settings) -> None:
    write(studies(lab), {"labels/final/a.png": "today's label", "b.png": "today's frame"})
    before = read(studies(lab))
    with pytest.raises(Fault, match="restore_replace=true"):
        bring_back(lab)
    assert read(studies(lab)) == before
    bring_back(lab, replace=True)
    assert read(studies(lab)) == {**FRAMES, "b.png": "today's frame"}


def test_frames_alone_are_no_lab(lab: Settings) -> None:
    write(studies(lab), {"a.png": "frame", "b.png": "another"})
    bring_back(lab)
    assert read(studies(lab)) == {**FRAMES, "b.png": "another"}


def test_a_full_disk_is_seen_before_it_is_full(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 3))  # type: ignore[attr-defined]
    with pytest.raises(Fault, match=r"needs 10 B on the disk of /.*, and 3 B are free"):
        bring_back(lab)


def test_a_disk_in_the_middle_of_a_tree_is_named(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    disks = [{"target": str(each)} for each in (studies(lab).parent, studies(lab), studies(lab) / "old videos")]
    monkeypatch.setattr(fits, "run", lambda *command: json.dumps({"filesystems": disks}))
    write(studies(lab), {"a.png": "frame"})
    with pytest.raises(Fault, match=rf"^{studies(lab)}/old videos is a disk of its own in {studies(lab)}, [^;]*$"):
        bring_back(lab)


def test_another_form_of_archive_is_refused(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Repository.manifest, "format", 2)
    with pytest.raises(Fault, match="the archive has form 2"):
        bring_back(lab)


@pytest.mark.parametrize("name", [trees.STAGED, trees.REPLACED])
def test_a_link_in_place_of_a_directory_of_ours_is_not_followed(
    lab: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """MONAI Label may write in the studies until it is stopped, and root puts things there."""
    write(tmp_path / "elsewhere", {"a.png": "somebody's"})
    write(studies(lab), {"labels/final/b.png": "label"})

    def replaced(_: object) -> list[str]:
        shutil.rmtree(studies(lab) / name, ignore_errors=True)
        (studies(lab) / name).symlink_to(tmp_path / "elsewhere")
        return []

    monkeypatch.setattr(journal, "running", replaced)
    with pytest.raises(NotADirectoryError, match=name):
        bring_back(lab, replace=True)
    assert read(tmp_path / "elsewhere") == {"a.png": "somebody's"}


def test_who_writes_is_stopped_before_anything_is_brought_back_and_runs_again_where_that_fails(
    lab: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    real = Repository.restore

    def noted(*given: Any) -> None:
        asked.append(("restic", "restore"))
        real(*given)

    monkeypatch.setattr(Repository, "restore", noted)
    monkeypatch.setattr(restore, "running", lambda names: names)
    for module in (journal, restore):
        monkeypatch.setattr(module, "run", lambda *command: asked.append(command))
    write(Repository.archive / "old/studies", {"labels/final/a.png": "damaged"})
    with pytest.raises(Fault, match="did not come back as it was"):
        bring_back(lab)
    stopped, *brought, started = asked
    assert (stopped, started) == (("docker", "stop", "monailabel"), ("docker", "start", "monailabel"))
    assert set(brought) == {("restic", "restore")}


def test_a_damaged_archive_changes_nothing(lab: Settings) -> None:
    write(Repository.archive / "old/studies", {"labels/final/a.png": "damaged"})
    write(studies(lab), {"b.png": "another"})
    with pytest.raises(Fault, match=r"studies/labels/final/a\.png did not come back as it was"):
        bring_back(lab)
    assert read(studies(lab)) == {"b.png": "another"}
    assert not journal.JOURNAL.exists()


@pytest.mark.parametrize("few", [2, 10])
def test_a_few_damaged_files_can_be_done_without(lab: Settings, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(restore, "FEW", few)
    write(Repository.archive / "old/studies", {"labels/final/a.png": "damaged"})
    real = Repository.restore

    def half(*given: Any) -> None:
        real(*given)
        if "studies" in given[2]:
            raise Fault("restic cannot work with /backup: There were 1 errors")

    monkeypatch.setattr(Repository, "restore", half)
    with pytest.raises(Fault, match="There were 1 errors"):
        bring_back(lab)
    said: list[str] = []
    if few == 10:
        with pytest.raises(Fault, match="1 of 2 files of studies did not come back as they were"):
            restore.restore(lab, "latest", False, said.append, damaged=True)
        return
    restore.restore(lab, "latest", False, said.append, damaged=True)
    assert read(studies(lab)) == {"a.png": "frame"}
    assert "studies/labels/final/a.png is damaged in the repository, and was left out" in said


@pytest.mark.parametrize("moment", ["running", "swap_out", "_note", "swap_in"])
def test_what_is_broken_off_is_ended_by_another_run(
    lab: Settings, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(studies(lab), {"labels/final/b.png": "today's label"})
    module = trees if moment.startswith("swap") else journal
    real = getattr(module, moment)

    def broken_off(*given: Any) -> Any:
        if moment != "_note" or given[1] == "in":
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(module, moment, broken_off)
        with pytest.raises(KeyboardInterrupt):
            bring_back(lab, replace=True)
    assert journal.JOURNAL.exists()
    with pytest.raises(Fault, match="resume"):
        bring_back(lab, replace=True)
    journal.resume(lab, lambda line: None)
    assert read(studies(lab)) == FRAMES
    with pytest.raises(Fault, match="no archive is being brought back"):
        journal.resume(lab, lambda line: None)


def test_what_a_killed_restore_has_left_is_not_taken_for_this_ones(lab: Settings) -> None:
    """Without a journal: killed while it brought things back, or while it cleared up at its end."""
    write(studies(lab) / trees.REPLACED, {"labels/final/a.png": "before", "labels/final/b.png": "before"})
    write(studies(lab) / trees.STAGED, {"labels/final/z.png": "of another archive"})
    write(journal.RESTORED, {"var/lib/endolab/backup/archive/queue.rdb": "of another archive"})
    write(studies(lab), {"labels/final/c.png": "today's label"})
    bring_back(lab, replace=True)
    assert read(studies(lab)) == FRAMES
    assert journal.leftovers(lab) == []


@pytest.mark.parametrize("name", [journal.RESTORING, trees.STAGED, trees.REPLACED])
def test_links_with_the_names_of_leftovers_go_and_what_they_lead_to_stays(
    lab: Settings, tmp_path: Path, name: str
) -> None:
    write(tmp_path / "elsewhere", {"a.png": "somebody's"})
    studies(lab).mkdir()
    (studies(lab) / name).symlink_to(tmp_path / "elsewhere")
    bring_back(lab)
    assert read(studies(lab)) == FRAMES
    assert read(tmp_path / "elsewhere") == {"a.png": "somebody's"}


def test_room_that_leftovers_take_is_counted_as_free(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 3))  # type: ignore[attr-defined]
    write(studies(lab) / trees.STAGED, {"z.png": "0123456"})
    assert fits.check(lab, "latest", False).faults == []


def test_the_database_needs_room_as_a_dump_and_as_a_database(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 30))  # type: ignore[attr-defined]
    monkeypatch.setattr(fits, "docker_disk", lambda: studies(lab).parent)
    monkeypatch.setitem(Repository.manifest, "dump_bytes", 8)
    with_database = replace(lab, database="cvat-db-1")
    assert "needs 34 B" in fits.check(with_database, "latest", False).faults[0]


def test_the_archive_that_is_in_place_is_not_brought_back_again(lab: Settings) -> None:
    bring_back(lab, archive="one")
    write(studies(lab), {"labels/final/new.png": "drawn since"})
    assert fits.check(lab, "one", False).in_place
    bring_back(lab, archive="one")
    assert "labels/final/new.png" in read(studies(lab)), "nothing was touched"
    with pytest.raises(Fault, match="restore_replace=true"):
        bring_back(lab, archive="another")
    bring_back(lab, replace=True, archive="one")
    assert read(studies(lab)) == FRAMES, "who says so has it brought back again"


def test_a_host_that_was_erased_since_has_nothing_in_place(lab: Settings) -> None:
    bring_back(lab, archive="one")
    shutil.rmtree(studies(lab))
    bring_back(lab, archive="one")
    assert read(studies(lab)) == FRAMES


def test_what_resume_has_ended_is_in_place(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trees, "swap_in", lambda tree: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bring_back(lab, archive="one")
    assert "broken off" in fits.check(lab, "one", False).faults[0]
    journal.resume(lab, lambda line: None)
    assert fits.check(lab, "one", False) == fits.Found("one", manifest.Manifest(**Repository.manifest), True, [])


def test_a_fault_in_clearing_up_does_not_hide_the_cause(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Repository.archive / "old/studies", {"labels/final/a.png": "damaged"})
    cleared: list[Settings] = []

    def clear(given: Settings) -> None:
        if cleared:
            raise Fault("PostgreSQL did not answer")
        cleared.append(given)

    monkeypatch.setattr(journal, "clear", clear)
    with pytest.raises(Fault, match="did not come back as it was"):
        bring_back(lab)


def test_a_fault_in_starting_who_writes_does_not_hide_the_cause(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: str, verb: str, *__: str) -> str:
        if verb == "start":
            raise Fault("`docker start` failed")
        return ""

    write(Repository.archive / "old/studies", {"labels/final/a.png": "damaged"})
    monkeypatch.setattr(restore, "running", lambda names: names)
    for module in (journal, restore):
        monkeypatch.setattr(module, "run", run)
    with pytest.raises(Fault, match="did not come back as it was"):
        bring_back(lab)


def test_resume_starts_the_database_and_empties_the_chunks(
    lab: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(journal, "run", lambda *command: asked.append(command))
    monkeypatch.setattr(queue, "volume", lambda name: tmp_path / name)
    for name in ("wait", "swap", "clear"):
        monkeypatch.setattr(database, name, lambda container, name=name: asked.append((name, container)))
    write(tmp_path / "cvat_kvrocks", {"db/000001.sst": "chunks of other frames"})
    journal._note("one", "out")
    journal.resume(replace(lab, database="cvat-db-1", cache="cvat_kvrocks"), lambda line: None)
    assert asked == [
        ("docker", "start", "cvat-db-1"),
        ("wait", "cvat-db-1"),
        ("swap", "cvat-db-1"),
        ("clear", "cvat-db-1"),
    ]
    assert list((tmp_path / "cvat_kvrocks").iterdir()) == []


def test_the_journal_is_on_the_disk_before_anything_is_moved(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*given: Any) -> None:
            seen.append(name)
            real(*given)

        monkeypatch.setattr(module, name, call)

    noted(os, "sync")
    noted(journal, "write_json")
    noted(trees, "swap_out")
    bring_back(lab)
    note, in_place = ["sync", "write_json", "sync"], ["write_json", "sync", "sync"]
    assert seen == [*note, "swap_out", *note, *in_place]


def test_settings_are_read_as_the_role_writes_them(lab: Settings, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(vars(lab)), encoding="utf-8")
    assert settings.Settings.load(tmp_path / "settings.json") == lab
