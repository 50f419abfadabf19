"""Scoring: seconds a frame of the shipped app's way and of Endolab's beside what the network alone takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from typing import Any

import in_monailabel
from inputs import BRASS, BUNDLE
from scipy.stats import spearmanr

from bench.report import Row
from bench.results import Result

PASSES, THREADS = 5, 2
SMOOTH_FRAMES, UNTRAINED_FRAMES, COMPARED_FRAMES = 5, 2, 40

GOAL = 1.2  # of the floor

WAYS = ["upstream", "endolab", "floor"]


def measure(tell: Callable[[str], None]) -> Result:
    """Measures in MONAI Label's image; raises ProgramError."""
    arguments = [f"--bundle=/checkout/.cache/inputs/{BUNDLE.name}", f"--passes={PASSES}", f"--threads={THREADS}"]
    arguments += [f"--smooth={SMOOTH_FRAMES}", f"--untrained={UNTRAINED_FRAMES}"]
    arguments += [f"--compared={COMPARED_FRAMES}", f"--brass={BRASS}"]
    timed: list[dict[str, Any]] = []
    scores: dict[str, list[float]] = {}
    for line in in_monailabel.run_of_checkout("bench/scoring_in_image.py", arguments):
        if line.startswith('{"timed"'):
            timed.append(json.loads(line)["timed"])
            walls = ", ".join(f"{way} {timed[-1]['seconds'][way]['wall']:.2f} s" for way in WAYS)
            tell(f"{timed[-1]['network']} network, {timed[-1]['weights']}: {walls}")
        elif line.startswith('{"compared"'):
            scores = json.loads(line)["compared"]
            tell(f"{COMPARED_FRAMES} frames scored both ways")
    return {"passes": PASSES, "threads": THREADS, "frames": timed, "scores": scores, "cases": cases(timed)}


def cases(timed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each network with each weights, medians over its frames; ratios are of the same frame."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in timed:
        found.setdefault((each["network"], each["weights"]), []).append(each["seconds"])
    return [
        {
            "network": network,
            "weights": weights,
            "frames": len(frames),
            "seconds": seconds(frames, "wall"),
            "processor seconds": seconds(frames, "cpu"),
            "endolab/floor": ratio(frames, "endolab", "floor"),
            "upstream/endolab": ratio(frames, "upstream", "endolab"),
        }
        for (network, weights), frames in found.items()
    ]


def seconds(frames: list[dict[str, Any]], clock: str) -> dict[str, float]:
    return {way: round(median(frame[way][clock] for frame in frames), 3) for way in WAYS}


def ratio(frames: list[dict[str, Any]], one: str, other: str) -> dict[str, float]:
    """By the clock, and by the seconds of processors, which neighbours hardly change."""
    return {
        clock: round(median(frame[one][clock] / frame[other][clock] for frame in frames), 3)
        for clock in ("wall", "cpu")
    }


def agreement(one: list[float], other: list[float]) -> float:
    """Spearman's rank correlation of two ways' scores of the same frames."""
    return float(spearmanr(one, other).statistic)


def rows(result: Result) -> list[Row]:
    found = []
    for case in result["cases"]:
        name = f"{case['network']} network, {case['weights']}: "
        found += [Row(f"{name}{way}, s", case["seconds"][way], compared=False) for way in WAYS]
        for clock, words in (("wall", ""), ("cpu", ", processor")):
            found.append(Row(f"{name}endolab/floor{words}", case["endolab/floor"][clock], goal=GOAL))
            found.append(Row(f"{name}upstream/endolab{words}", case["upstream/endolab"][clock], more=True))
    scores = result["scores"]
    for one, other in (("endolab", "upstream"), ("endolab", "endolab again"), ("upstream", "upstream again")):
        found.append(Row(f"rank agreement of {one} and {other}", agreement(scores[one], scores[other]), more=True))
    return found
