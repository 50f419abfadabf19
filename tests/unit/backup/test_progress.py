"""Whoever follows a backup hears of each step, of its end, and of its fault."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from endolab_backup import progress
from endolab_backup.repository import progress as line_of
from endolab_backup.settings import Fault, size


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(progress, "active", lambda: False)
    return tmp_path / "progress.json"


def test_a_step_that_is_done_is_said(path: Path) -> None:
    progress.Progress(path).step("files", "5 files")
    assert progress.follow("files", path)["what"] == "5 files"


def test_parts_of_a_small_archive_are_skipped(path: Path) -> None:
    made = progress.Progress(path)
    made.part(0.1, "a tenth")
    made.part(0.8, "most")
    made.step("archive", "all")
    assert [each["step"] for each in made.steps] == ["25 %", "50 %", "75 %", "archive"]
    assert progress.follow("25 %", path)["what"] == "most"
    assert progress.follow("database", path)["what"] == "most"


def test_a_fault_is_said(path: Path) -> None:
    made = progress.Progress(path)
    made.step("files", "5 files")
    made.end("the disk is full")
    assert progress.follow("files", path)["what"] == "5 files"
    with pytest.raises(Fault, match="the disk is full"):
        progress.follow("archive", path)


def test_one_that_was_killed_is_seen(path: Path) -> None:
    progress.Progress(path).step("files", "5 files")
    with pytest.raises(Fault, match="broken off"):
        progress.follow("archive", path)
    with pytest.raises(Fault, match="broken off"):
        progress.follow("files", path.with_name("none"))


def test_the_last_archive_and_what_went_wrong_since(path: Path) -> None:
    last, timer = path.with_name("last.json"), path.with_name("timer")
    assert progress.state(last, path, timer) == {"last": None, "waited": 0, "fault": None}
    timer.touch()
    os.utime(timer, times=(0, time.time() - 9.5 * 86400))
    assert progress.state(last, path, timer) == {"last": None, "waited": 9, "fault": None}
    at = (datetime.now(timezone.utc) - timedelta(days=3, hours=1)).isoformat(timespec="seconds")
    last.write_text(json.dumps({"at": at}), encoding="utf-8")
    made = progress.Progress(path)
    assert "broken off" in progress.state(last, path, timer)["fault"]
    made.end("the disk is full")
    assert progress.state(last, path, timer) == {
        "last": {"at": at, "days": 3},
        "waited": 0,
        "fault": "the disk is full",
    }
    progress.Progress(path).end()
    assert progress.state(last, path, timer) == {"last": {"at": at, "days": 3}, "waited": 0, "fault": None}


def test_a_status_of_restics_is_a_line() -> None:
    message = {"percent_done": 0.5, "bytes_done": 2**30, "total_bytes": 2**31, "seconds_remaining": 130}
    assert line_of(message) == "archived: 1.0 GiB of 2.0 GiB, 3 min left"
    assert (size(5), size(2**45)) == ("5 B", "32.0 TiB")


def test_a_run_that_ends_while_it_is_looked_at_is_not_broken_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = progress.Progress(path)

    def active() -> bool:
        made.end()
        return False

    monkeypatch.setattr(progress, "active", active)
    assert progress.state(path.with_name("last.json"), path)["fault"] is None


def test_who_starts_a_run_hears_its_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "run", lambda *command: "")
    assert progress.begin(path) == {"begun": True, "steps": progress.STEPS}
