"""What came of each iteration, from the files that the loop and its trainings leave behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .state import read_json


@dataclass(frozen=True)
class Iteration:
    """What was asked for in an iteration.

    at: when, ISO 8601. chosen: the scores of the frames asked for, the highest first. candidates: how many frames could
    be chosen, these among them.
    """

    number: int
    at: str
    chosen: Mapping[str, float]
    candidates: int


def iterations(directory: Path) -> list[Iteration]:
    """Every iteration of the loop in `directory`, the first one first."""
    files = sorted((directory / "iterations").glob("*.json"), key=lambda file: int(file.stem))
    return [_iteration(file, file.stat().st_mtime_ns) for file in files]


def trainings(directory: Path) -> list[dict[str, Any]]:
    """Every training's record, the first one first."""
    records = (directory / "trainings").glob("*-*.json")
    # One that somebody asks for by hand may be called otherwise.
    files = [file for file in records if file.name.partition("-")[0].isdecimal()]
    return sorted((_training(file, file.stat().st_mtime_ns) for file in files), key=lambda each: int(each["iteration"]))


def reached(record: Mapping[str, Any]) -> float | None:
    """What the weights in use reach after a training, by the bundle's own metric; None where that is not known."""
    value = record["after"] if record["promoted"] else record["before"]
    return None if value is None else float(value)


# The files are written once, and those of a large lab are large.
@lru_cache(maxsize=1024)
def _iteration(file: Path, _changed: int) -> Iteration:
    content = read_json(file)
    return Iteration(int(file.stem), content["at"], content["chosen"], len(content["scores"]))


@lru_cache(maxsize=1024)
def _training(file: Path, _changed: int) -> dict[str, Any]:
    return dict(read_json(file))
