"""The table of faults, which the run ends with: what was lost of each, and how soon the loop turned again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from testinfra.host import Host

from tests.stack.archive import sums
from tests.stack.common import wait_until
from tests.stack.lab import Lab, is_open

Survives = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Outcome:
    """lost: what was there before a fault and is not after it. seconds: from its end until the next task was open."""

    fault: str
    lost: list[str]
    seconds: float


OUTCOMES: list[Outcome] = []


@dataclass(frozen=True)
class Held:
    """What nobody may lose.

    drawn: the shapes that people have drawn, of each task. labels: the sums of the label files. in_use: that of the
    weights that frames are scored by. weights: those of all that are kept.
    """

    drawn: dict[str, set[str]]
    labels: dict[str, str]
    in_use: str
    weights: set[str]

    @classmethod
    def by(cls, lab: Lab) -> Held:
        tasks = lab.annotator().client.tasks.list()
        drawn = {
            task.name.removeprefix("DONE_"): {
                str(shape.points) for shape in task.get_annotations().shapes if str(shape.source) != "auto"
            }
            for task in tasks
        }
        files = sums(lab.host)
        labels = {path: each for path, each in files.items() if "/labels/final/" in path}
        weights = {path: each for path, each in files.items() if path.endswith(".pt")}
        (in_use,) = [each for path, each in weights.items() if path.endswith("/models/model.pt")]
        return cls(drawn, labels, in_use, set(weights.values()))

    def missing_in(self, after: Held) -> list[str]:
        """What `after` does not have of this."""
        return [
            *(f"shapes of {task}" for task, shapes in self.drawn.items() if not shapes <= after.drawn.get(task, set())),
            *(path for path, each in self.labels.items() if after.labels.get(path) != each),
            *({"the weights"} if self.in_use not in after.weights else ()),
        ]


@pytest.fixture
def lab(host: Host, variables: dict[str, Any]) -> Lab:
    return Lab(host, variables)


@pytest.fixture
def survives(lab: Lab) -> Survives:
    """Says what fault comes within; afterwards the loop must ask for the next frame by itself, and nothing is lost."""

    @contextmanager
    def comes(fault: str) -> Iterator[None]:
        iteration = lab.wait(300, "a task is open", is_open)["iteration"]
        before = Held.by(lab)
        yield
        ended = time.monotonic()
        wait_until(lab.answers, 300, "CVAT answers")
        lab.annotator().work("MONAILabel")
        lab.wait(900, "the next task is open", lambda loop: is_open(loop) and loop["iteration"] > iteration)
        outcome = Outcome(fault, before.missing_in(Held.by(lab)), time.monotonic() - ended)
        OUTCOMES.append(outcome)
        assert not outcome.lost

    return comes


def pytest_terminal_summary() -> None:
    table = Table("fault", "lost", "seconds until the loop turned again")
    for each in OUTCOMES:
        table.add_row(each.fault, ", ".join(each.lost) or "0", f"{each.seconds:.0f}")
    if OUTCOMES:
        Console(width=140).print(table)
