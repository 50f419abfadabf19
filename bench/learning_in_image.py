"""Lets one model learn from frames that are chosen in three ways, inside MONAI Label's image.

Each pool of frames holds some of a kind that the bundle has not been trained on; half of the test's frames are of that
kind. The ways to choose: by Endolab's score, by the shipped app's, at random. The trainings are the loop's own. Prints
a line of JSON for each turn: the Dice on all of the test's frames and on the unfamiliar ones, and which were chosen.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from endolab_loop import scoring, training
from endolab_loop.pictures import Pictures
from frames import generate
from numpy.typing import NDArray
from PIL import Image

from bench.shipped import Infer, Scores, Trainer, scoring_of, unpack

SIZE = (320, 240)
LABELS = {"Tool": 1}

# Far from the seeds that the stand-ins draw with.
POOL_SEED, TEST_SEED = 50_000, 60_000


@dataclass(frozen=True)
class Frame:
    """A frame's files, and whether its instruments are of the unfamiliar kind."""

    image: Path
    label: Path
    unfamiliar: bool


def draw(folder: Path, seed: int, familiar: int, unfamiliar: int) -> list[Frame]:
    """Draws frames of both kinds, in any order: of equal scores, names decide."""
    frames: list[Frame] = []
    (folder / "labels").mkdir(parents=True)
    drawn = {brass: generate.draw_frames(familiar + unfamiliar, seed + brass, *SIZE, float(brass)) for brass in (0, 1)}
    for brass in np.random.default_rng(seed).permutation([0] * familiar + [1] * unfamiliar):
        name, picture = f"frame_{len(frames):03}.png", next(drawn[int(brass)])
        frame = Frame(folder / name, folder / "labels" / name, bool(brass))
        Image.fromarray(picture.image).save(frame.image)
        Image.fromarray((picture.mask > 0).astype(np.uint8)).save(frame.label)
        frames.append(frame)
    return frames


class Pupil:
    """A bundle that learns by the loop's guarded training; it stands for MONAI Label's datastore, too."""

    def __init__(self, archive: Path, folder: Path, conf: training.TrainingConf, rate: float) -> None:
        self.bundle = unpack(archive, folder / "model")
        config = self.bundle / "configs" / "train.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "learning_rate": rate}))
        self.labelled: list[Frame] = []
        self.trainer = training.guard(
            Trainer(str(self.bundle), {}),
            LABELS,
            lambda: LABELS,
            conf,
            folder / "records",
        )

    def datalist(self) -> list[dict[str, str]]:
        return [{"image": str(each.image), "label": str(each.label)} for each in self.labelled]

    def train(self, turn: int) -> str:
        """Returns what became of the training, in the loop's words."""
        request = {"model": "tooltracking", "device": "cpu", "tracking": "None", "iteration": turn}
        return str(self.trainer(request, self)["why"])

    def dice(self, frames: list[Frame]) -> list[float]:
        """Of each frame, 0 to 1; one that rightly shows nothing counts as 1."""
        task = Infer(str(self.bundle), {}, skip_writer=True)
        found = []
        for frame in frames:
            _, data = task({"image": str(frame.image), "logging": "error"})
            # MONAI's readers turn the axes of a picture.
            mask = np.asarray(data[task.output_label_key]).squeeze().T > 0
            found.append(overlap(mask, np.asarray(Image.open(frame.label)) > 0))
        return found


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """The Dice coefficient of two masks."""
    size = one.sum() + other.sum()
    return float(2 * (one & other).sum() / size) if size else 1.0


Choose = Callable[[Pupil, list[Frame], int], list[Frame]]


def least_sure(score: Scores, frames: list[Frame], count: int) -> list[Frame]:
    """Those with the highest scores; of equal ones the first by name, as the loop does."""
    return sorted(frames, key=lambda frame: (-score(str(frame.image)), frame.image.name))[:count]


def choices(passes: int, seed: int) -> dict[str, Choose]:
    rng = np.random.default_rng(seed)

    def at_random(_: Pupil, left: list[Frame], count: int) -> list[Frame]:
        return [left[number] for number in rng.permutation(len(left))[:count]]

    def by_endolab(pupil: Pupil, left: list[Frame], count: int) -> list[Frame]:
        method = scoring.from_probabilities(scoring_of(pupil.bundle), Pictures(pupil.bundle))
        return least_sure(Scores(method, passes), left, count)

    def by_upstream(pupil: Pupil, left: list[Frame], count: int) -> list[Frame]:
        return least_sure(Scores(scoring_of(pupil.bundle), passes), left, count)

    return {"endolab": by_endolab, "upstream": by_upstream, "random": at_random}


def learn(pupil: Pupil, choose: Choose, pool: list[Frame], test: list[Frame], given: Any) -> Iterator[dict[str, Any]]:
    """Yields how good the model is at first and after each turn, and whom it has asked about."""
    for turn in range(given.turns + 1):
        marks, training_result = [time.monotonic()], None
        if turn:
            left = [frame for frame in pool if frame not in pupil.labelled]
            pupil.labelled += choose(pupil, left, given.labels)
            marks.append(time.monotonic())
            training_result = pupil.train(turn)
        marks.append(time.monotonic())
        dice = pupil.dice(test)
        yield {
            "labels": len(pupil.labelled),
            "dice": float(np.mean(dice)),
            "unfamiliar dice": float(np.mean([each for each, frame in zip(dice, test) if frame.unfamiliar])),
            "unfamiliar labels": sum(frame.unfamiliar for frame in pupil.labelled),
            "training": training_result,
            "seconds": [round(after - before, 1) for before, after in pairwise([*marks, time.monotonic()])],
        }


def compare(number: int, given: Any) -> None:
    """All ways to choose from one pool."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)  # for so small a network, threads wait for each other more than they work
    seed = POOL_SEED + 2 * number
    with TemporaryDirectory() as folder:
        test = draw(Path(folder, "test"), TEST_SEED, given.test - given.test // 2, given.test // 2)
        pool = draw(Path(folder, "pool"), seed, given.frames - given.unfamiliar, given.unfamiliar)
        for way, choose in choices(given.passes, seed).items():
            torch.manual_seed(seed)
            conf = training.TrainingConf(max_epochs=given.epochs, batch_size=given.batch)
            pupil = Pupil(given.bundle, Path(folder, way), conf, given.rate)
            for turn in learn(pupil, choose, pool, test, given):
                print(json.dumps({"turn": {"pool": number, "way": way, **turn}}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Let a model learn from frames that are chosen in three ways.")
    parser.add_argument("--bundle", type=Path, required=True, help="the zip file that a lab begins with")
    parser.add_argument("--pools", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True, help="in each pool")
    parser.add_argument("--unfamiliar", type=int, required=True, help="how many of them the bundle does not know")
    parser.add_argument("--test", type=int, required=True, help="frames to measure by, half of them unfamiliar")
    parser.add_argument("--turns", type=int, required=True)
    parser.add_argument("--labels", type=int, required=True, help="in each turn")
    parser.add_argument("--epochs", type=int, required=True, help="of each training")
    parser.add_argument("--batch", type=int, required=True, help="frames of a step")
    parser.add_argument("--rate", type=float, required=True, help="at which it learns")
    parser.add_argument("--passes", type=int, required=True)
    given = parser.parse_args()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as workers:
        list(workers.map(partial(compare, given=given), range(given.pools)))


if __name__ == "__main__":
    main()
