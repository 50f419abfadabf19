"""The loop: score, choose, ask in CVAT, collect the answers, train, and again.

Each step looks at CVAT, at the files and at its memory, and does the one thing that is due. So a step that was broken
off anywhere, by an error or by the end of the process, is done again, and each of its effects is recognised: a task
by its name, labels by their files, a training by its record.

Cures, of the shipped app: a thread that the first error ends, a task that is made only right after a scoring, the
frames that are chosen at random, labels that a restart forgets to train on, a full disk that ends the loop.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import health, room
from .annotators import Annotators
from .conf import Conf
from .cvat import Cvat, CvatError, Task
from .pictures import Pictures
from .shapes import DRAWABLE, Shape, rasterise
from .state import Batch, Memory, now, write_json

# A training that failed this often is given up; its labels count in the next one.
TRAINING_TRIES = 3

# A model's own shapes save work from here on: most of what it draws is right.
LEARNT = 0.6

# Who has to mend an error.
WHOSE = ("CVAT", "MONAI Label", "Endolab")

logger = logging.getLogger(__name__)


class LabError(Exception):
    """What MONAI Label did not do, and what mends it; `final` where another try is not wanted."""

    def __init__(self, what: str, remedy: str, final: bool = False) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what
        self.remedy = remedy
        self.final = final


@dataclass(frozen=True)
class Frame:
    """A frame of the studies.

    score: its epistemic score by the weights in use; None where they have not scored it.
    unreadable: why these weights could not score it; empty where they could, or have not tried.
    """

    file: Path
    labelled: bool
    score: float | None
    unreadable: str = ""


class Lab(Protocol):
    """What the loop needs of MONAI Label; frames are named as its datastore names them."""

    def frames(self) -> dict[str, Frame]:
        """Every frame there is."""

    def scores(self) -> bool:
        """Whether there is a model that scores frames."""

    def score(self) -> None:
        """Scores the frames that lack a score of the weights in use; raises LabError."""

    def save_label(self, frame: str, label: NDArray[np.uint8]) -> None:
        """Makes this a frame's final label, for good."""

    def train(self, iteration: int) -> list[dict[str, Any]]:
        """Trains on all labels, once for an iteration; returns a record for each model. Raises LabError."""

    def predict(self, frame: str) -> list[Shape]:
        """What the model sees on a frame."""


class Loop:
    """The loop of one project, over the frames in `studies`.

    annotators: says who gets its jobs at present.
    errors: how many steps have failed, by whose errors they were.
    weights: the directory of the models, which may be on another disk than the studies.
    """

    def __init__(
        self,
        lab: Lab,
        cvat: Cvat,
        conf: Conf,
        studies: Path,
        annotators: Callable[[], Annotators] = Annotators,
        weights: Path | None = None,
    ) -> None:
        self.lab, self.cvat, self.conf, self.annotators = lab, cvat, conf, annotators
        self.written = [studies, *([weights] if weights else [])]
        self.directory = studies / health.STATUS.parent
        (self.directory / "iterations").mkdir(parents=True, exist_ok=True)
        self.memory = Memory.load(self.directory / "memory.json")
        self.pictures = Pictures(self.directory)
        self.status: dict[str, Any] = {
            "phase": "starting",
            "since": now(),
            "interval": conf.auto_finetune_check_interval,
            "alive_at": now(),
            "polled_at": None,
            "next_try": None,
            "iteration": self.memory.iteration,
            "task": None,
            "frames": {},
            "training": [],
            "notes": [],
            "warning": None,
            "error": None,
        }
        self.errors = dict.fromkeys(WHOSE, 0)
        # Whether CVAT has said in this turn which tasks there are, and whether it had not when it was asked last.
        self._polled = self._away = False
        self._shown = 0.0
        self._hidden = False
        self._unknown: list[str] = []
        self._due = threading.Event()

    def run(self) -> None:
        """Turns until the process ends; no error ends it."""
        while True:
            end = time.monotonic() + self.turn()
            while (left := end - time.monotonic()) > 0 and not self._due.wait(min(left, 10)):
                self.alive()
            self._due.clear()

    def poll_now(self) -> None:
        """Does the next step at once."""
        self._due.set()

    def turn(self) -> float:
        """One step, its error kept for people to see; returns the seconds after which the next one is due."""
        self._polled = False
        try:
            self._look_for_room()
            self.count()
            seconds = self.step()
            self.count()
        except (CvatError, LabError) as error:
            self._failed(error.what, error.remedy, "CVAT" if isinstance(error, CvatError) else "MONAI Label")
        except Exception as error:
            if room.is_full(error):
                self._failed(f"the disk is full ({error})", room.REMEDY, "MONAI Label")
            elif self._failed(
                f"{type(error).__name__}: {error}", "see `docker logs monailabel`, and report it", "Endolab"
            ):
                logger.exception("what happened")
        else:
            # Who is asked for nothing may still be in trouble.
            self._mended("MONAI Label", "Endolab", *(["CVAT"] if self._polled else []))
            self._show(next_try=now(seconds))
            return seconds
        seconds = self.conf.auto_finetune_check_interval
        self._show(phase="retrying", next_try=now(seconds))
        return seconds

    def step(self) -> float:
        """Does the one thing that is due; returns the seconds after which to look again. Raises CvatError, LabError."""
        self._compare_labels()
        if self.memory.untrained is not None:
            return self._train(self.memory.untrained)
        try:
            tasks = self._poll()
        except CvatError:
            self._away = True
            # Scoring needs no CVAT, and the first one takes longest.
            if self._asks and not self.memory.task and not self.memory.batch:
                self._score()
            raise
        for task in tasks:
            if task.stage == "open" and task.id == self.memory.collected:
                self.cvat.rename(task.id, task.iteration, "done")
            elif task.stage == "open" and task.size:
                return self._watch(task)
        if self.memory.task:
            logger.warning("CVAT has no task %s any more; its frames are offered again", self.memory.task["name"])
            self._remember(task=None)
        if self._asks:
            return self._ask(tasks)
        self._show(phase="not asking", task=None)
        return self.conf.auto_finetune_check_interval

    def _compare_labels(self) -> None:
        """Raises LabError where the labels that are there have other numbers than those that are to come."""
        drawn = self.memory.labels
        if drawn is None:
            if self.status["frames"].get("labelled"):  # of an Endolab that did not note them
                self._remember(labels=self.conf.label_map)
            return
        names = {value: name for name, value in drawn.items()}
        moved = [
            name
            for name, value in self.conf.label_map.items()
            if drawn.get(name, value) != value or names.get(value, name) != name
        ]
        if moved:
            raise LabError(
                f"cvat_labels gives {' and '.join(moved)} another number than the label images that are there",
                f"write the labels in their old order ({', '.join(drawn)}), and new ones behind them",
            )

    @property
    def _asks(self) -> bool:
        return self.conf.epistemic_enabled and self.conf.epistemic_top_k != 0 and self.lab.scores()

    def _poll(self) -> list[Task]:
        """The loop's tasks in CVAT."""
        project = self.cvat.project(self.memory.project)
        if project != self.memory.project:
            self._remember(project=project)
        tasks = self.cvat.tasks(project["id"]) if project else []
        self._show(polled_at=now())
        self._polled = True
        if self._away:
            self._away = False
            self._mended("CVAT")
        return tasks

    def _watch(self, task: Task) -> float:
        """Waits for the annotators; collects when every job is completed."""
        done, total = self.cvat.jobs(task.id)
        shown = {"id": task.id, "name": task.name, "url": f"{self.cvat.url}/tasks/{task.id}", "frames": task.size}
        if self.memory.task is None or self.memory.task["id"] != task.id:
            self._remember(task=shown, iteration=max(self.memory.iteration, task.iteration))
        self._show(phase="annotating", iteration=task.iteration, task={**shown, "jobs_done": done, "jobs": total})
        if 0 < total == done:
            return self._collect(task)
        self._deal(task.id, task.iteration)
        return self.conf.auto_finetune_check_interval

    def _deal(self, task: int, iteration: int) -> None:
        """Gives the jobs that nobody has to the annotators; another one begins at each iteration."""
        annotators = self.annotators()
        if not annotators.present:
            return
        unknown = self.cvat.deal(task, annotators, iteration)
        if unknown and unknown != self._unknown:
            self._note(f"CVAT knows no user {', '.join(unknown)}, to whom jobs were to be assigned; run site.yml again")
        self._unknown = unknown

    def _collect(self, task: Task) -> float:
        """Makes labels of a task's shapes; a frame without any is a frame that shows nothing."""
        self._show(phase="collecting")
        frames = {frame.file.name: name for name, frame in self.lab.frames().items()}
        values, labelled, left_out = self.conf.label_map, 0, Counter[str]()
        discarded = set(self.memory.discarded)
        for each in self.cvat.annotations(task.id):
            if each.name not in frames:
                left_out[f"frame {each.name}, which is not among the studies"] += 1
                continue
            if each.deleted:
                discarded.add(frames[each.name])
                continue
            for shape in each.shapes:
                if shape.type not in DRAWABLE or (shape.label not in values and shape.label.lower() != "background"):
                    left_out[f"{shape.type} {shape.label}, which no label image can hold"] += 1
            try:
                label = rasterise(each.shapes, each.width, each.height, values)
            except ValueError as error:
                raise LabError(f"task {task.name}, frame {each.name}: {error}", "mend the shape in CVAT") from None
            if not labelled:
                self._remember(labels={**(self.memory.labels or {}), **self.conf.label_map})
            self.lab.save_label(frames[each.name], label)
            labelled += 1
            self.alive()
        for what, times in left_out.items():
            self._note(f"{task.name}: left out {what} (found {times})")
        untrained = task.iteration if labelled else None
        self._remember(collected=task.id, untrained=untrained, task=None, batch=None, discarded=sorted(discarded))
        self.cvat.rename(task.id, task.iteration, "done")
        return 0

    def _train(self, iteration: int) -> float:
        """Trains on the labels of an iteration and all before it, once."""
        self._show(phase="training", task=None, iteration=iteration)
        try:
            records = self.lab.train(iteration)
        except LabError as error:
            self._look_for_room()
            tries = self.memory.failures + 1
            if error.final or tries >= TRAINING_TRIES:
                self._note(f"the training of iteration {iteration} was given up ({error.what})")
                self._remember(untrained=None, failures=0)
            else:
                self._remember(failures=tries)
            raise
        reached = [record["after"] if record["promoted"] else record["before"] for record in records]
        learnt = min((value for value in reached if value is not None), default=self.memory.learnt)
        self._show(training=records)
        self._remember(untrained=None, failures=0, learnt=learnt)
        return 0

    def _ask(self, tasks: Sequence[Task]) -> float:
        """Puts the frames that the model is least sure of into a task, which annotators see when it is whole."""
        if self.memory.batch is None:
            self._score()
            offered = self._candidates()
            candidates = {frame: each.score for frame, each in offered.items() if each.score is not None}
            if not (chosen := self.choose(candidates)):
                if offered and self.status["phase"] != "waiting for frames":
                    self._note(f"none of {len(offered)} frames can be read; mended ones are tried again")
                self._show(phase="waiting for frames", task=None)
                return self.conf.auto_finetune_check_interval
            iteration = max([self.memory.iteration, *(task.iteration for task in tasks)]) + 1
            record = {"at": now(), "chosen": chosen, "scores": candidates}
            write_json(self.directory / "iterations" / f"{iteration}.json", record)
            self.pictures.keep(candidates)
            self._remember(batch=Batch(iteration, chosen), iteration=iteration)
        batch = self.memory.batch
        assert batch is not None, "it has just been chosen"
        self._show(phase="uploading", iteration=batch.iteration, task=None)
        if self.memory.project is None:
            self._remember(project=self.cvat.make_project())
        assert self.memory.project is not None, "it has just been made"

        known = self.lab.frames()
        files = {frame: known[frame].file for frame in batch.frames if frame in known}
        if not files:
            self._note(f"every frame chosen for iteration {batch.iteration} is gone from the studies")
            self._remember(batch=None)
            return 0
        self.pictures.show(files)
        unfinished = [task for task in tasks if task.stage == "uploading"]
        whole = [task.id for task in unfinished if (task.iteration, task.size) == (batch.iteration, len(files))]
        for task in unfinished:
            if task.id not in whole[:1]:
                self.cvat.delete(task.id)
        if whole:
            number = whole[0]
        else:
            number = self.cvat.make_task(self.memory.project["id"], batch.iteration)
            self.cvat.upload(number, list(files.values()))
        if self._suggests:
            self.cvat.preannotate(number, {file.name: self._predict(frame) for frame, file in files.items()})
        self._deal(number, batch.iteration)
        if number == self.memory.collected:  # of a CVAT that counts from an earlier number on
            self._remember(collected=None)
        self.cvat.rename(number, batch.iteration, "open")
        self._remember(batch=None)
        return 0

    @property
    def _suggests(self) -> bool:
        mode = self.conf.cvat_preannotate
        return mode == "always" or (mode == "auto" and (self.memory.learnt or 0) >= LEARNT)

    def _predict(self, frame: str) -> list[Shape]:
        try:
            return self.lab.predict(frame)
        except Exception as error:
            # A frame without suggestions is annotated as well as any.
            logger.exception("what happened")
            self._note(f"no suggestion for {frame} ({type(error).__name__}: {error})")
            return []

    def _candidates(self) -> dict[str, Frame]:
        """The frames that may be asked for."""
        discarded = set(self.memory.discarded)
        return {
            name: frame for name, frame in self.lab.frames().items() if not frame.labelled and name not in discarded
        }

    def _score(self) -> None:
        if any(frame.score is None and not frame.unreadable for frame in self._candidates().values()):
            self._show(phase="scoring", task=None)
            self.lab.score()

    def choose(self, scores: dict[str, float]) -> dict[str, float]:
        """The K least sure of these frames, least sure first.

        Among equals the names' digests decide: the same at each run, and not neighbours of one video.
        """
        order = sorted(scores, key=lambda frame: (-scores[frame], hashlib.sha256(frame.encode()).digest()))
        top = self.conf.epistemic_top_k
        return {frame: scores[frame] for frame in (order if top < 0 else order[:top])}

    def _look_for_room(self) -> None:
        """Warns of a disk that is nearly full; raises LabError before anything is cut short by one that is."""
        found = room.least(self.written)
        self.status["warning"] = found.warning
        if found.free < room.FULL:
            raise LabError(f"the disk of {found.directory} is full", room.REMEDY)

    # What it keeps, and what it shows.

    def _remember(self, **changes: Any) -> None:
        for key, value in changes.items():
            setattr(self.memory, key, value)
        self.memory.save(self.directory / "memory.json")

    def _show(self, **changes: Any) -> None:
        if changes.get("phase", self.status["phase"]) != self.status["phase"]:
            self.status["since"] = now()
            logger.info("%s", changes["phase"])
        self.status.update(changes, alive_at=now())
        self._shown = time.monotonic()
        try:
            write_json(self.directory / health.STATUS.name, self.status, durable=False)
            self._hidden = False
        except OSError as error:  # the server shows it all the same
            if not self._hidden:
                logger.warning("the status cannot be written: %s", error)
            self._hidden = True

    def alive(self) -> None:
        """Shows that the loop's thread runs; at most once a second."""
        if time.monotonic() - self._shown >= 1:
            self._show()

    def count(self) -> None:
        """Shows how many frames there are of each kind."""
        frames = self.lab.frames().values()
        counts = {
            "total": len(frames),
            "labelled": sum(frame.labelled for frame in frames),
            "scored": sum(frame.score is not None for frame in frames),
            "unreadable": sum(bool(frame.unreadable) for frame in frames),
            "discarded": len(self.memory.discarded),
        }
        if counts != self.status["frames"]:
            self._show(frames=counts)

    def _note(self, what: str) -> None:
        """What people should know although nothing has to be mended; the last ten are shown."""
        logger.warning("%s", what)
        self._show(notes=[*self.status["notes"], {"at": now(), "what": what}][-10:])

    def _failed(self, what: str, remedy: str, whose: str) -> bool:
        """Shows an error, and logs it when it is another than before; says whether it is."""
        self.errors[whose] += 1
        before = self.status["error"]
        if before and before["what"] == what:
            self._show(error={**before, "times": before["times"] + 1})
            return False
        logger.error("%s: %s", what, remedy)
        self._show(error={"what": what, "remedy": remedy, "whose": whose, "since": now(), "times": 1})
        return True

    def _mended(self, *whose: str) -> None:
        error = self.status["error"]
        if error and error["whose"] in whose:
            logger.info("mended after %s tries: %s", error["times"], error["what"])
            self._show(error=None)
