"""What the loop remembers and shows: one JSON file each, replaced whole."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def now(ahead: float = 0) -> str:
    """The time in UTC, `ahead` seconds from now, ISO 8601."""
    return (datetime.now(timezone.utc) + timedelta(seconds=ahead)).isoformat(timespec="seconds")


def write_json(path: Path, content: Any, durable: bool = True) -> None:
    """Writes `content` so that a reader finds the old file or the new one; if `durable`, also after a power cut."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path) -> Any:
    """The content of a JSON file; None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


@dataclass
class Batch:
    """The frames chosen for one task, most uncertain first.

    iteration: the number behind the task's prefix.
    frames: their epistemic scores by name.
    """

    iteration: int
    frames: dict[str, float]


@dataclass
class Memory:
    """What a restart must not forget.

    project: id and creation time of the project in CVAT; a project of the same id made at another time is another.
    iteration: the last number that was given to a task.
    batch: chosen, and not yet open for annotation.
    task: the open task, with the `name` and `frames` it had when last seen.
    collected: id of the task whose labels are all on disk.
    untrained: the iteration whose labels wait for a training.
    failures: trainings of it that failed.
    learnt: what the weights in use reach on validation frames, by the bundle's own metric, 0 to 1.
    discarded: frames that an annotator has deleted from a task; they are not offered again.
    labels: which number each label has in the label images; None where there were none yet.
    """

    project: dict[str, Any] | None = None
    iteration: int = 0
    batch: Batch | None = None
    task: dict[str, Any] | None = None
    collected: int | None = None
    untrained: int | None = None
    failures: int = 0
    learnt: float | None = None
    discarded: list[str] = field(default_factory=list)
    labels: dict[str, int] | None = None

    @classmethod
    def load(cls, path: Path) -> Memory:
        """What `path` holds; an empty memory where there is no such file, or a damaged one.

        The loop finds its project, its tasks and their numbers again without it.
        """
        known = {each.name for each in fields(cls)}
        try:
            content = {key: value for key, value in (read_json(path) or {}).items() if key in known}
        except ValueError:
            logger.exception("%s is damaged and set aside", path)
            path.rename(path.with_suffix(".damaged"))
            content = {}
        if content.get("batch"):
            content["batch"] = Batch(**content["batch"])
        return cls(**content)

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))
