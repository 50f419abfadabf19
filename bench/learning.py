"""Learning: Dice after equal numbers of labels, when frames are chosen by a score or at random."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import mean
from typing import Any

import in_monailabel
from inputs import BUNDLE

from bench.report import Row
from bench.results import Result

# A training has a hundred steps and more, at a rate at which they show: with the bundle's own rate and few epochs, ten
# labels change nothing whoever chooses them.
SETTINGS = {
    "pools": 6, "frames": 80, "unfamiliar": 12, "test": 40, "turns": 2, "labels": 10,
    "epochs": 40, "batch": 2, "rate": 0.001, "passes": 5,
}  # fmt: skip

# Dice by which another choice may be ahead, before Endolab's is worse: pools differ by more.
NO_WORSE = -0.01

WAYS = ["endolab", "upstream", "random"]


def measure(tell: Callable[[str], None]) -> Result:
    """Measures in MONAI Label's image; raises ProgramError."""
    arguments = [f"--{name}={value}" for name, value in SETTINGS.items()]
    turns: list[dict[str, Any]] = []
    bundle = f"--bundle=/checkout/.cache/inputs/{BUNDLE.name}"
    for line in in_monailabel.run_of_checkout("bench/learning_in_image.py", [bundle, *arguments]):
        if line.startswith('{"turn"'):
            turns.append(json.loads(line)["turn"])
            told = turns[-1]
            tell(f"pool {told['pool'] + 1}, {told['way']}: Dice {told['dice']:.3f} after {told['labels']} labels")
    return {"settings": SETTINGS, "turns": turns, "curves": {way: curve(turns, way) for way in WAYS}}


def curve(turns: list[dict[str, Any]], way: str) -> list[dict[str, float]]:
    """A way's means over the pools after each number of labels."""
    labels = sorted({turn["labels"] for turn in turns})
    means = ["dice", "unfamiliar dice", "unfamiliar labels"]
    return [
        {"labels": count, **{key: round(mean(each[key] for each in those), 4) for key in means}}
        for count in labels
        if (those := [turn for turn in turns if turn["way"] == way and turn["labels"] == count])
    ]


def ahead(turns: list[dict[str, Any]], way: str, other: str) -> list[float]:
    """By how much Dice one way is ahead of another in each pool, as the mean over its turns."""
    dice: dict[tuple[int, str], list[float]] = {}
    for turn in turns:
        if turn["labels"]:
            dice.setdefault((turn["pool"], turn["way"]), []).append(turn["dice"])
    pools = sorted({pool for pool, _ in dice})
    return [mean(dice[pool, way]) - mean(dice[pool, other]) for pool in pools]


def rows(result: Result) -> list[Row]:
    found = [
        Row(f"{way}: {key} after {point['labels']:.0f} labels", point[key], more=True)
        for way, points in result["curves"].items()
        for key, point in [(key, points[-1]) for key in ("dice", "unfamiliar dice", "unfamiliar labels")]
    ]
    for other, goal in (("upstream", NO_WORSE), ("random", 0.0)):
        leads = ahead(result["turns"], "endolab", other)
        found.append(Row(f"endolab ahead of {other}, mean Dice", mean(leads), goal=goal, more=True, compared=False))
        pools = sum(lead > 0 for lead in leads)
        found.append(Row(f"endolab ahead of {other}, pools of {len(leads)}", pools, more=True, compared=False))
    return found
