"""Looks at a lab's loop with the eyes of each of its weights, and lets others choose at random.

Runs in MONAI Label's image, on the lab's own app. What it does is told in lines of JSON, such as
{"done": 3, "of": 20, "what": "random choice 1 of 3"}. In --out it leaves measured.json and, for each frame of
iteration N, the pictures N/FRAME-{heat,before,after}.png.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from report.history import BUNDLE, Iteration, digest, iterations, weights_in

MODEL = "tooltracking"

# The disagreement where one half of the passes is sure that it is 0, and the other that it is 1; there is no more.
MOST = math.log(2)

Picture = NDArray[np.uint8]


class World:
    """The lab's app, with weights and labels of its own."""

    def __init__(self, folder: Path, start: Path, frames: list[Path], test: Path, conf: dict[str, str]) -> None:
        import main as app  # the lab's; it knows where its libraries lie
        from endolab_loop.lab import MonaiLab

        with zipfile.ZipFile(start) as archive:
            archive.extractall(folder / "app" / "model")
        self.weights = folder / "app" / "model" / BUNDLE / "models" / "model.pt"
        studies = folder / "studies"
        studies.mkdir()
        for frame in frames:
            shutil.copy(frame, studies)
        self.truth = {}
        for mask in sorted((test / "masks").iterdir()):
            shutil.copy(test / "images" / mask.name, studies / f"test_{mask.name}")
            self.truth[f"test_{mask.stem}"] = np.asarray(Image.open(mask)) > 0
        self.app = app.EndoscopyApp(str(folder / "app"), str(studies), conf)
        self.lab = MonaiLab(self.app, [MODEL], self.app.loop_conf.label_map, self.app.trainings)

    def use(self, weights: Path, age: int) -> None:
        """Takes other weights; the app tells them by the time of their file, `age`."""
        shutil.copyfile(weights, self.weights)
        os.utime(self.weights, (age, age))

    def predict(self, frame: str) -> Picture:
        """The model's own suggestion for a frame, as it would come into CVAT."""
        from endolab_loop.shapes import rasterise

        with Image.open(self.app.datastore().get_image_uri(frame)) as image:
            return rasterise(self.lab.predict(frame), *image.size, self.lab.label_map)

    def heat(self, frame: str) -> NDArray[np.float32]:
        """What the epistemic score of a frame is the mean of: how much passes with dropout disagree, pixel by pixel."""
        from endolab_loop.scoring import apart, ask

        method = self.app._scoring_methods[f"{MODEL}_epistemic"]
        file = self.app.datastore().get_image_uri(frame)
        torch.manual_seed(0)  # the same report each time
        found = ask(apart(method.infer_task), file, method.simulation_size)
        heat = np.asarray(found, np.float32).squeeze().T  # MONAI's readers turn the axes of a picture
        with Image.open(file) as image:
            return np.asarray(Image.fromarray(heat).resize(image.size, Image.Resampling.BILINEAR))

    def dice(self) -> float:
        """The mean Dice, 0 to 1, on the test frames; a frame that rightly shows nothing counts as 1."""
        return float(np.mean([overlap(self.predict(name) > 0, mask) for name, mask in self.truth.items()]))


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """The Dice coefficient of two masks."""
    size = one.sum() + other.sum()
    return float(2 * (one & other).sum() / size) if size else 1.0


def follow(world: World, turns: list[Iteration], weights: dict[str, Path], out: Path) -> Iterator[float]:
    """Yields the Dice at the start and after each iteration; writes the pictures of each iteration's frames.

    Ends the program where the lab has not kept the weights of an iteration.
    """
    yield world.dice()
    for turn in turns:
        pictures = out / str(turn.number)
        for frame in turn.chosen:
            save(pictures / f"{frame}-before.png", world.predict(frame) * 255)
            heat = (255 * world.heat(frame) / MOST).clip(0, 255)
            save(pictures / f"{frame}-heat.png", heat.astype(np.uint8))
        if turn.after not in weights:
            raise SystemExit(f"the lab has not kept the weights {turn.after}; --conf train_keep says how many it keeps")
        world.use(weights[turn.after], age=turn.number)
        for frame in turn.chosen:
            save(pictures / f"{frame}-after.png", world.predict(frame) * 255)
        yield world.dice()


def choose_at_random(world: World, turns: list[Iteration], drawn: Path, seed: int) -> Iterator[float]:
    """Yields the Dice after each iteration of a loop that takes as many frames, and any."""
    order = np.random.default_rng(seed).permutation(sorted(path.stem for path in drawn.iterdir()))
    for turn in turns:
        chosen, order = order[: len(turn.chosen)], order[len(turn.chosen) :]
        for frame in chosen:
            world.lab.save_label(str(frame), np.asarray(Image.open(drawn / f"{frame}.png")))
        world.app.datastore().refresh()
        world.app.train({"model": MODEL, "iteration": turn.number, "tracking": "None"})
        yield world.dice()


def save(path: Path, picture: Picture) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a lab's loop has learnt.")
    parser.add_argument("--lab", type=Path, required=True, help="the host's /srv/endolab")
    parser.add_argument("--start", type=Path, required=True, help="the bundle that the loop began with, a zip file")
    parser.add_argument("--drawn", type=Path, required=True, help="label images of all frames, for the random loops")
    parser.add_argument("--test", type=Path, required=True, help="images/ and masks/ that no loop sees")
    parser.add_argument("--conf", type=json.loads, required=True, help="the app's --conf keys, as JSON")
    parser.add_argument("--random-loops", type=int, required=True, help="how many loops choose at random")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    sys.path.insert(0, str(given.lab / "apps" / "endoscopy"))
    # The datastore of a lab, whose CVAT is not asked, and which no thread watches.
    os.environ.update(
        MONAI_LABEL_DATASTORE="cvat",
        MONAI_LABEL_DATASTORE_URL="http://nobody.invalid",
        MONAI_LABEL_DATASTORE_AUTO_RELOAD="false",
    )
    logging.disable(logging.WARNING)

    studies = given.lab / "datasets" / "images"
    frames = [studies / path.name for path in sorted(given.drawn.iterdir())]
    conf = {key: str(value) for key, value in {"models": MODEL, "epistemic_enabled": True, **given.conf}.items()}
    weights = weights_in(given.lab / "apps" / "endoscopy" / "model" / BUNDLE)

    def tell(done: int, what: str) -> None:
        print(json.dumps({"done": done, "of": (1 + given.random_loops) * (len(turns) + 1), "what": what}), flush=True)

    with TemporaryDirectory() as scratch:
        world = World(Path(scratch), given.start, frames, given.test, conf)
        turns = iterations(studies / "loop", digest(world.weights))
        loop = []
        for loop_dice in follow(world, turns, weights, given.out):
            loop.append(loop_dice)
            tell(len(loop), "this loop, measured again")
    random = []
    for seed in range(given.random_loops):
        with TemporaryDirectory() as scratch:
            world, dice = World(Path(scratch), given.start, frames, given.test, conf), loop[:1]
            for random_dice in choose_at_random(world, turns, given.drawn, seed):
                dice.append(random_dice)
                tell((1 + seed) * (len(turns) + 1) + len(dice), f"random choice {seed + 1} of {given.random_loops}")
        random.append(dice)
    (given.out / "measured.json").write_text(json.dumps({"loop": loop, "random": random}))


if __name__ == "__main__":
    main()
