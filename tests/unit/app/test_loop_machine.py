"""No order of faults, restarts and people's doings loses a label, doubles a task or a training, or ends the loop."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from endolab_loop.shapes import Shape
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.app.worlds import World, killed, refused

FAULTS = st.dictionaries(st.integers(0, 40), st.sampled_from([killed, refused]), max_size=3)
RECTANGLES = st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(7, 15), st.integers(5, 11))


class LoopMachine(RuleBasedStateMachine):
    """`drawn` holds what annotators have drawn on the frames of tasks that they have completed."""

    @initialize(frames=st.integers(1, 8), top=st.integers(1, 3))
    def begin(self, frames: int, top: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.world = World(Path(self.directory.name), frames=frames, epistemic_top_k=top)
        self.drawn: dict[str, list[Shape]] = {}
        self.by_hand = 0

    @rule(faults=FAULTS)
    def turn(self, faults: dict[int, object]) -> None:
        self.world.faults.set(faults)  # type: ignore[arg-type]
        self.world.turn()

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        self.world.cvat.down = down

    @precondition(lambda self: any(task.frames for task in self.world.cvat.open()))
    @rule(box=RECTANGLES, data=st.data())
    def annotate_a_job(self, box: tuple[int, ...], data: st.DataObject) -> None:
        task = next(task for task in self.world.cvat.open() if task.frames)
        # Completed frames are the annotator's last word.
        left = [name for name in task.frames if name not in task.completed]
        if left:
            name = data.draw(st.sampled_from(left))
            task.shapes[name] = [Shape("Tool", "rectangle", list(map(float, box)))]
            task.completed.add(name)
        if len(task.completed) == len(task.frames):
            self.drawn |= {name.removesuffix(".png"): task.shapes[name] for name in task.frames}

    @precondition(lambda self: any(len(task.completed) < len(task.frames) for task in self.world.cvat.open()))
    @rule()
    def delete_the_open_task(self) -> None:
        task = next(task for task in self.world.cvat.open() if len(task.completed) < len(task.frames))
        del self.world.cvat.all[task.id]

    @rule()
    def add_a_frame(self) -> None:
        self.by_hand += 1
        self.world.lab.known[f"added_{self.by_hand}"] = 0.0

    @rule()
    def a_training_fails(self) -> None:
        self.world.lab.failing = 1

    @invariant()
    def at_most_one_task_is_open(self) -> None:
        if hasattr(self, "world"):
            assert len(self.world.cvat.open()) <= 1

    @invariant()
    def no_labels_are_trained_on_twice(self) -> None:
        if hasattr(self, "world"):
            assert len(self.world.lab.trained) == len(set(self.world.lab.trained))

    def teardown(self) -> None:
        """Once everything is well again, the loop gets to its end, with every label that was drawn."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.faults.set({})
        world.cvat.down, world.lab.failing = False, 0
        for _ in range(len(world.lab.known) + 3):
            world.turns()
            for task in world.cvat.open():
                for name in task.frames:
                    task.completed.add(name)
                self.drawn |= {name.removesuffix(".png"): task.shapes.get(name, []) for name in task.frames}
        assert world.loop.status["phase"] == "waiting for frames"
        assert set(world.lab.labels) == set(world.lab.known)
        for frame, shapes in self.drawn.items():
            assert np.array_equal(world.lab.labels[frame], world.expected(shapes)), frame
        assert world.loop.memory.untrained is None
        numbers = [int(task.name.rpartition("_")[2]) for task in world.cvat.all.values()]
        assert len(numbers) == len(set(numbers))
        self.directory.cleanup()


TestLoop = LoopMachine.TestCase
TestLoop.settings = settings(max_examples=settings().max_examples * 2 // 5, stateful_step_count=40, deadline=None)
