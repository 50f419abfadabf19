"""A CVAT and a MONAI Label in memory, which outlive the loop that is killed, and the faults that befall it."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from endolab_loop.annotators import Annotators
from endolab_loop.conf import Conf
from endolab_loop.cvat import AnnotatedFrame, CvatError, Gone, Task, Untouched
from endolab_loop.loop import Frame, LabError, Loop
from endolab_loop.shapes import Shape, rasterise
from numpy.typing import NDArray

SIZE = (16, 12)
TOOL = [Shape("Tool", "rectangle", [2, 2, 9, 8])]


class Killed(BaseException):
    """The process has ended here."""


@dataclass
class Faults:
    """Whatever is to happen at the coming effects: `plan` gives it by the effect's number, counted from now."""

    plan: dict[int, Callable[[], None]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def __call__(self, where: str) -> None:
        number = len(self.seen)
        self.seen.append(where)
        if fault := self.plan.pop(number, None):
            fault()

    def set(self, plan: Mapping[int, Callable[[], None]]) -> None:
        self.plan, self.seen = dict(plan), []


def killed() -> None:
    raise Killed


def refused() -> None:
    raise CvatError("CVAT does not answer", "wait")


def full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@dataclass
class CvatTask:
    id: int
    name: str
    frames: list[str] = field(default_factory=list)
    shapes: dict[str, list[Shape]] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    deleted_frames: set[str] = field(default_factory=set)
    assigned: dict[str, int] = field(default_factory=dict)


class FakeCvat:
    """What Cvat does, on tasks in memory. Each effect passes by the faults before it happens and after."""

    url = "http://cvat.example"

    def __init__(self, conf: Conf, faults: Faults) -> None:
        self.conf, self.faults = conf, faults
        self.made: dict[str, Any] | None = None
        self.numbers = 0
        self.all: dict[int, CvatTask] = {}
        self.down = False

    def _ask(self, what: str) -> None:
        if self.down:
            refused()
        self.faults(what)

    def _task(self, number: int) -> CvatTask:
        if number not in self.all:
            raise Gone("there is no such task", "nothing has to be done")
        return self.all[number]

    def project(self, known: Mapping[str, Any] | None) -> dict[str, Any] | None:
        self._ask("project")
        return self.made

    def make_project(self) -> dict[str, Any]:
        self._ask("before make_project")
        assert self.made is None, "a second project of the same name"
        self.numbers += 1
        self.made = {"id": self.numbers, "created": str(self.numbers)}
        self._ask("after make_project")
        return self.made

    def tasks(self, project: int) -> list[Task]:
        self._ask("tasks")
        found = []
        for task in self.all.values():
            stage, _, rest = task.name.rpartition(self.conf.cvat_task_prefix + "_")
            kind: Any = {"": "open", "DONE_": "done", "UPLOADING_": "uploading"}[stage]
            found.append(Task(task.id, task.name, int(rest), kind, len(task.frames)))
        return sorted(found, key=lambda task: (task.iteration, task.id))

    def make_task(self, project: int, iteration: int) -> int:
        self._ask("before make_task")
        self.numbers += 1
        self.all[self.numbers] = CvatTask(self.numbers, f"UPLOADING_{self.conf.cvat_task_prefix}_{iteration}")
        self._ask("after make_task")
        return self.numbers

    def upload(self, task: int, files: Sequence[Path]) -> None:
        self._ask("before upload")
        self._task(task).frames = [file.name for file in files]
        self._ask("after upload")

    def preannotate(self, task: int, shapes: Mapping[str, Sequence[Shape]]) -> dict[str, int]:
        self._ask("before preannotate")
        found = self._task(task)
        added = {name: list(each) for name, each in shapes.items() if each and not found.shapes.get(name)}
        found.shapes.update(added)
        self._ask("after preannotate")
        return {name: len(each) for name, each in added.items()}

    def deal(self, task: int, annotators: Annotators, first: int) -> list[str]:
        self._ask("before deal")
        found = self._task(task)
        for number, name in enumerate(found.frames):
            if found.assigned.get(name, 0) in {0, *annotators.left} and name not in found.completed:
                ids = list(annotators.present.values())
                found.assigned[name] = ids[(first + number) % len(ids)]
        self._ask("after deal")
        return [name for name, number in annotators.present.items() if number < 0]

    def rename(self, task: int, iteration: int, stage: str) -> None:
        self._ask(f"before rename {stage}")
        self._task(task).name = ("DONE_" if stage == "done" else "") + f"{self.conf.cvat_task_prefix}_{iteration}"
        self._ask(f"after rename {stage}")

    def delete(self, task: int) -> None:
        self._ask("before delete")
        assert self._task(task).name.startswith("UPLOADING_"), "people's work"
        del self.all[task]
        self._ask("after delete")

    def jobs(self, task: int) -> tuple[int, int]:
        self._ask("jobs")
        found = self._task(task)
        return len(found.completed), len(found.frames)

    def annotations(self, task: int) -> list[AnnotatedFrame]:
        self._ask("annotations")
        found = self._task(task)
        return [
            AnnotatedFrame(name, *SIZE, name in found.deleted_frames, found.shapes.get(name, []))
            for name in found.frames
        ]

    def listing(self) -> dict[str, list[dict[str, Any]]]:
        self._ask("listing")
        return {"projects": [], "tasks": [{"id": task.id, "name": task.name} for task in self.all.values()]}

    def untouched(self, task: int) -> Untouched:
        self._ask("untouched")
        found = self._task(task)
        free = [name for name in found.frames if not found.shapes.get(name) and name not in found.completed]
        return Untouched(frozenset(self.conf.label_map), free, len(found.frames) - len(free))

    def log_out(self) -> None:
        self.faults("log_out")

    # What people do in CVAT.

    def open(self) -> list[CvatTask]:
        return [task for task in self.all.values() if task.name.startswith(self.conf.cvat_task_prefix)]

    def annotate(self, task: CvatTask, shapes: Callable[[str], list[Shape]] = lambda _: TOOL) -> None:
        """Draws on every frame and completes every job."""
        for name in task.frames:
            task.shapes[name] = shapes(name)
            task.completed.add(name)


class FakeLab:
    """What MonaiLab does, on frames in memory, with a trainer that only counts."""

    def __init__(self, frames: Iterable[str], faults: Faults) -> None:
        self.faults = faults
        self.known = {name: self.score_of(name, 0) for name in frames}
        self.scored: dict[str, int] = {}
        self.weights = 0
        self.labels: dict[str, NDArray[np.uint8]] = {}
        self.trained: list[int] = []
        self.records: dict[int, list[dict[str, Any]]] = {}
        self.failing = 0
        self.scores_frames = True
        self.directory = Path()

    @staticmethod
    def score_of(name: str, weights: int) -> float:
        """A score that another training changes; every third frame equals another."""
        return float(zlib.crc32(f"{name}{weights}".encode()) % 7)

    def frames(self) -> dict[str, Frame]:
        self.faults("frames")
        return {
            name: Frame(
                self.directory / f"{name}.png",
                name in self.labels,
                self.score_of(name, self.weights) if self.scored.get(name) == self.weights else None,
            )
            for name in self.known
        }

    def scores(self) -> bool:
        return self.scores_frames

    def score(self) -> None:
        self.faults("before score")
        self.scored |= {name: self.weights for name in self.known if name not in self.labels}
        self.faults("after score")

    def save_label(self, frame: str, label: NDArray[np.uint8]) -> None:
        self.faults("before save_label")
        self.labels[frame] = label
        self.faults("after save_label")

    def train(self, iteration: int) -> list[dict[str, Any]]:
        """As a guarded trainer: its record makes a second training of an iteration impossible."""
        self.faults("before train")
        if self.failing:
            self.failing -= 1
            raise LabError("the training failed", "see the log")
        if iteration not in self.records:
            self.faults("in training")
            self.trained.append(iteration)
            self.weights += 1
            record = {"model": "tooltracking", "before": 0.5, "after": 0.7, "promoted": True}
            self.records[iteration] = [record]
        self.faults("after train")
        return self.records[iteration]

    def predict(self, frame: str) -> list[Shape]:
        self.faults("predict")
        return TOOL


class World:
    """A loop with its surroundings; `restart` is what happens after it was killed."""

    def __init__(self, directory: Path, frames: int = 9, **conf: Any) -> None:
        self.directory = directory
        self.annotators = Annotators({"ann": 11, "ben": 12})
        self.conf = Conf.model_validate({"epistemic_enabled": True, "epistemic_top_k": 3, **conf})
        self.faults = Faults()
        self.cvat = FakeCvat(self.conf, self.faults)
        self.lab = FakeLab((f"frame_{number:02}" for number in range(frames)), self.faults)
        self.restart()

    def restart(self) -> None:
        self.loop = KillableLoop(self.lab, self.cvat, self.conf, self.directory, lambda: self.annotators)  # type: ignore[arg-type]
        self.loop.faults = self.faults

    def turn(self) -> float:
        """A turn of the loop; when it is killed in it, it is started again."""
        try:
            return self.loop.turn()
        except Killed:
            self.restart()
            return 0

    def turns(self, most: int = 12) -> None:
        """Turns until there is nothing to do at once."""
        for _ in range(most):
            if self.turn():
                return
        raise AssertionError(f"still busy after {most} turns: {self.loop.status}")

    def expected(self, shapes: list[Shape]) -> NDArray[np.uint8]:
        return rasterise(shapes, *SIZE, self.conf.label_map)


class KillableLoop(Loop):
    """Passes by the faults before and after it remembers."""

    faults: Faults = Faults()

    def _remember(self, **changes: Any) -> None:
        self.faults("before remembering")
        super()._remember(**changes)
        self.faults("after remembering")
