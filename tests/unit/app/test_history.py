"""What came of each iteration."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest
from endolab_loop import history
from endolab_loop.state import read_json, write_json


def test_iterations_come_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "iterations").mkdir()
    for number in (10, 2):
        content = {"at": f"2026-11-{number}", "chosen": {"a": 0.5}, "scores": {"a": 0.5, "b": 0.1}}
        write_json(tmp_path / "iterations" / f"{number}.json", content)
    found = history.iterations(tmp_path)
    assert [(each.number, each.candidates, dict(each.chosen)) for each in found] == [
        (2, 2, {"a": 0.5}),
        (10, 2, {"a": 0.5}),
    ]
    write_json(tmp_path / "iterations" / "2.json", {"at": "", "chosen": {}, "scores": {}})
    assert history.iterations(tmp_path)[0].candidates == 0, "a file that is written anew is read anew"


def test_trainings_that_the_loop_has_not_asked_for_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "trainings").mkdir()
    for iteration in ("10", "9", "mine", "1-2"):
        write_json(tmp_path / "trainings" / f"{iteration}-m.json", {"iteration": iteration, "model": "m"})
    write_json(tmp_path / "trainings" / "split.json", {"training": [], "validation": []})
    write_json(tmp_path / "trainings" / "9-m (copy).json", {"iteration": "9", "model": "m"})
    assert [each["iteration"] for each in history.trainings(tmp_path)] == ["9", "10"]


def test_what_cannot_be_read_is_left_out_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for kind, good, cut in (("iterations", "1", "2"), ("trainings", "1-m", "2-m")):
        (tmp_path / kind).mkdir()
        content = {"at": "", "chosen": {}, "scores": {}, "iteration": 1, "model": "m"}
        write_json(tmp_path / kind / f"{good}.json", content)
        write_json(tmp_path / kind / f"{good} (copy).json", content)
        (tmp_path / kind / f"{cut}.json").write_text('{"at": "2026')
    for _ in range(2):
        assert [each.number for each in history.iterations(tmp_path)] == [1]
        assert [each["iteration"] for each in history.trainings(tmp_path)] == [1]
    last = history.last(tmp_path)
    assert last
    assert last.number == 1
    assert [record.args[0].name for record in caplog.records] == ["2.json", "2-m.json"]  # type: ignore[index, union-attr]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Is called for each file that is read."""
    read = Mock(wraps=read_json)
    monkeypatch.setattr(history, "read_json", read)
    return read


def test_the_last_iteration_is_found_without_reading_those_before(tmp_path: Path, read: Mock) -> None:
    assert history.last(tmp_path) is None
    (tmp_path / "iterations").mkdir()
    for number in (9, 10):
        write_json(tmp_path / "iterations" / f"{number}.json", {"at": "", "chosen": {}, "scores": {}})
    last = history.last(tmp_path)
    assert last
    assert (last.number, [call.args[0].name for call in read.call_args_list]) == (10, ["10.json"])


def test_however_many_iterations_there_are_each_file_is_read_once(tmp_path: Path, read: Mock) -> None:
    (tmp_path / "iterations").mkdir()
    for number in range(1100):
        (tmp_path / "iterations" / f"{number}.json").write_text('{"at": "", "chosen": {}, "scores": {}}')
    assert len(history.iterations(tmp_path)) == len(history.iterations(tmp_path)) == read.call_count == 1100


def test_refused_weights_leave_what_was_reached_before() -> None:
    assert history.reached({"before": 0.5, "after": 0.7, "promoted": True}) == 0.7
    assert history.reached({"before": 0.5, "after": 0.4, "promoted": False}) == 0.5
    assert history.reached({"before": None, "after": None, "promoted": False}) is None
