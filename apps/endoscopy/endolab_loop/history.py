"""What came of each iteration, from the files that the loop and its trainings leave behind.

A file that cannot be read is left out, so that the others are shown.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .state import read_json

logger = logging.getLogger(__name__)


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
    return list(_newest_first(directory))[::-1]


def last(directory: Path) -> Iteration | None:
    """The last of them, whose file alone is read; None before the first."""
    return next(_newest_first(directory), None)


def trainings(directory: Path) -> list[dict[str, Any]]:
    """Every training's record, the first one first."""
    files = (directory / "trainings").glob("*-*.json")
    records = [record for file in files if (record := _training(file, file.stat().st_mtime_ns))]
    return sorted(records, key=lambda record: int(record["iteration"]))


def reached(record: Mapping[str, Any]) -> float | None:
    """What the weights in use reach after a training, by the bundle's own metric; None where that is not known."""
    value = record["after"] if record["promoted"] else record["before"]
    return None if value is None else float(value)


def _newest_first(directory: Path) -> Iterator[Iteration]:
    files = [file for file in (directory / "iterations").glob("*.json") if file.stem.isdecimal()]
    for file in sorted(files, key=lambda file: int(file.stem), reverse=True):
        if found := _iteration(file, file.stat().st_mtime_ns):
            yield found


# The files are written once, and those of a large lab are large.
@cache
def _iteration(file: Path, _changed: int) -> Iteration | None:
    with _left_out(file):
        content = read_json(file)
        return Iteration(int(file.stem), content["at"], content["chosen"], len(content["scores"]))
    return None


@cache
def _training(file: Path, _changed: int) -> dict[str, Any] | None:
    with _left_out(file):
        record = dict(read_json(file))
        # One that somebody asks for by hand may be called otherwise, and a copy is none.
        number, model = str(record["iteration"]), record["model"]
        return record if number.isdecimal() and file.name == f"{number}-{model}.json" else None
    return None


@contextmanager
def _left_out(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read, and is left out: %s: %s", file, type(error).__name__, error)
