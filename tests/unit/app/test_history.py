"""What came of each iteration."""

from __future__ import annotations

from pathlib import Path

from endolab_loop import history
from endolab_loop.state import write_json


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
    for name in ("10-m", "9-m", "mine-m", "split"):
        write_json(tmp_path / "trainings" / f"{name}.json", {"iteration": name.partition("-")[0]})
    assert [each["iteration"] for each in history.trainings(tmp_path)] == ["9", "10"]


def test_refused_weights_leave_what_was_reached_before() -> None:
    assert history.reached({"before": 0.5, "after": 0.7, "promoted": True}) == 0.7
    assert history.reached({"before": 0.5, "after": 0.4, "promoted": False}) == 0.5
    assert history.reached({"before": None, "after": None, "promoted": False}) is None
