"""The bot answers as many tasks as it is asked to, and says when the loop does not move."""

from __future__ import annotations

import io
from typing import Any

import pytest
import rounds
from rich.console import Console


class Demo:
    """A loop that takes two looks for each training, over so many tasks' frames."""

    def __init__(self, tasks: int) -> None:
        self.tasks, self.iteration, self.answered, self.looks = tasks, 1, 0, 0
        self.training: list[dict[str, Any]] = []
        self.polled = 0

    def loop(self) -> dict[str, Any]:
        self.looks += 1
        if self.answered == self.iteration and self.looks % 2:
            self.training = [{"iteration": self.iteration, "before": 0.5, "after": 0.6, "promoted": True, "why": ""}]
            self.iteration += 1
        trained = self.iteration > self.answered
        phase = "training" if not trained else "annotating" if self.iteration <= self.tasks else "waiting for frames"
        return {
            "phase": phase,
            "iteration": self.iteration,
            "task": {"frames": 8} if phase == "annotating" else None,
            "frames": {"labelled": 8 * self.answered, "total": 8 * self.tasks},
            "training": self.training,
            "error": None,
        }

    def poll(self) -> None:
        self.polled += 1

    def work(self, project: str) -> int:
        assert project == "MONAILabel"
        self.answered += 1
        return 8


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "BEAT", 0)


def go_round(turns: int, demo: Any) -> tuple[int, str]:
    said = io.StringIO()
    console = Console(file=said, width=120)
    return rounds.go_round(turns, demo.loop, demo.poll, demo, console), said.getvalue()


def test_so_many_tasks_are_answered_and_the_last_is_trained_on() -> None:
    demo = Demo(tasks=9)
    answered, said = go_round(3, demo)
    assert answered == demo.answered == demo.polled == 3
    assert demo.training[0]["iteration"] == 3
    assert said.count("0.500 → 0.600") == 3


def test_it_ends_where_there_are_no_more_frames() -> None:
    demo = Demo(tasks=2)
    assert go_round(5, demo)[0] == demo.answered == 2


def test_a_loop_that_does_not_move_is_told_with_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Demo):
        def loop(self) -> dict[str, Any]:
            error = {"what": "CVAT does not answer", "remedy": "start it"}
            return {**super().loop(), "phase": "retrying", "error": error}

    monkeypatch.setattr(rounds, "PATIENCE", 0)
    with pytest.raises(rounds.StuckError, match="CVAT does not answer: start it"):
        go_round(5, Stuck(tasks=2))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (None, ("", "")),
        ({"before": 0.5, "after": 0.61, "promoted": True, "why": ""}, ("0.500 → 0.610", "new")),
        ({"before": 0.5, "after": 0.4, "promoted": False, "why": ""}, ("0.500 → 0.400", "kept: not better")),
        ({"before": 0.5, "after": None, "promoted": False, "why": "no labelled frame"}, ("", "no labelled frame")),
    ],
)
def test_what_came_of_a_training_is_told(record: Any, told: tuple[str, str]) -> None:
    assert rounds.outcome(record) == told
