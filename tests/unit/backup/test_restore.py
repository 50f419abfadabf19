"""What speaks against bringing an archive back, and what becomes of one that is broken off."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from endolab_backup import manifest, restore, settings, trees
from endolab_backup.settings import Fault, Settings

from tests.unit.backup.test_trees import read, write

FRAMES = {"a.png": "frame", "labels/final/a.png": "label"}


class Repository:
    """One archive of a host's studies, on this machine's disk."""

    archive: Path
    manifest: dict[str, Any]

    def __init__(self, _: Settings) -> None:
        pass

    def find(self, name: str) -> dict[str, str]:
        return {"id": name}

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
    )
    monkeypatch.setattr(Repository, "archive", archive, raising=False)
    monkeypatch.setattr(Repository, "manifest", vars(made), raising=False)
    monkeypatch.setattr(restore, "Repository", Repository)
    monkeypatch.setattr(restore, "JOURNAL", state / "restore.json")
    monkeypatch.setattr(restore, "RESTORED", state / "restored")
    monkeypatch.setattr(restore, "running", lambda names: [])
    return Settings(
        lab="lab",
        host="gpu1",
        repository="/backup",
        keep={},
        versions={"cvat": "2.73.0"},
        database=None,
        queue=None,
        writers=["monailabel"],
        trees=[{"name": "studies", "directory": str(studies), "foreign_files_stay": True}],
    )


def studies(lab: Settings) -> Path:
    return Path(lab.trees[0]["directory"])


def bring_back(lab: Settings, replace: bool = False) -> None:
    restore.restore(lab, "latest", replace, lambda line: None)


def test_an_archive_comes_back_whole(lab: Settings) -> None:
    bring_back(lab)
    assert read(studies(lab)) == FRAMES
    assert not restore.JOURNAL.exists()
    assert not restore.RESTORED.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lab": "other"}, "the archive is of lab lab, and this is other"),
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
    monkeypatch.setattr(restore.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 3))  # type: ignore[attr-defined]
    with pytest.raises(Fault, match=r"needs 10 B on the disk of /.*, and 3 B are free"):
        bring_back(lab)


def test_another_form_of_archive_is_refused(lab: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Repository.manifest, "format", 2)
    with pytest.raises(Fault, match="the archive has form 2"):
        bring_back(lab)


def test_a_damaged_archive_changes_nothing(lab: Settings) -> None:
    write(Repository.archive / "old/studies", {"labels/final/a.png": "damaged"})
    write(studies(lab), {"b.png": "another"})
    with pytest.raises(Fault, match=r"studies/labels/final/a\.png did not come back as it was"):
        bring_back(lab)
    assert read(studies(lab)) == {"b.png": "another"}
    assert not restore.JOURNAL.exists()


@pytest.mark.parametrize("moment", ["running", "swap_out", "_note", "swap_in"])
def test_what_is_broken_off_is_ended_by_another_run(
    lab: Settings, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(studies(lab), {"labels/final/b.png": "today's label"})
    module = trees if moment.startswith("swap") else restore
    real = getattr(module, moment)

    def broken_off(*given: Any) -> Any:
        if moment != "_note" or given == ("in",):
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(module, moment, broken_off)
        with pytest.raises(KeyboardInterrupt):
            bring_back(lab, replace=True)
    assert restore.JOURNAL.exists()
    with pytest.raises(Fault, match="resume"):
        bring_back(lab, replace=True)
    restore.resume(lab, lambda line: None)
    assert read(studies(lab)) == FRAMES
    with pytest.raises(Fault, match="no archive is being brought back"):
        restore.resume(lab, lambda line: None)


def test_redis_finds_its_dump_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"dump.rdb": "REDIS old", "volume/dump.rdb": "new", "volume/appendonlydir/x.aof": "new"})
    monkeypatch.setattr(restore, "volume", lambda name: tmp_path / "volume")
    restore._fill_queue("cvat_redis", tmp_path / "dump.rdb")
    assert read(tmp_path / "volume") == {
        "appendonlydir/appendonly.aof.1.base.rdb": "REDIS old",
        "appendonlydir/appendonly.aof.manifest": "file appendonly.aof.1.base.rdb seq 1 type b\n",
    }


def test_settings_are_read_as_the_role_writes_them(lab: Settings, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(vars(lab)), encoding="utf-8")
    assert settings.Settings.load(tmp_path / "settings.json") == lab
