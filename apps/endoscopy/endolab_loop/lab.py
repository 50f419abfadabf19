"""MONAI Label as the loop needs it: its frames and scores, its background jobs, its models."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring
from monailabel.utils.async_tasks.utils import background_executors
from numpy.typing import NDArray

from .loop import Frame, LabError
from .scoring import TRIED, UNREADABLE, apart, attempt, deciding
from .shapes import Shape, mask_shapes
from .state import read_json

RUNNING = ("SUBMITTED", "RUNNING")


class MonaiLab:
    """What `app` knows and does. `trainings` is where guarded trainers leave their records."""

    def __init__(self, app: MONAILabelApp, models: list[str], label_map: Mapping[str, int], trainings: Path) -> None:
        self.app = app
        self.models = models
        self.label_map = label_map
        self.trainings = trainings
        self.alive: Callable[[], None] = lambda: None

    def scores(self) -> bool:
        return bool(self.app._scoring_methods)

    def frames(self) -> dict[str, Frame]:
        method = deciding(self.app._scoring_methods)
        weights = _weights(method) if method else 0
        frames = {}
        for name, (file, labelled, info) in self.app.datastore().frames().items():
            # A model that only chooses at random finds all frames equal.
            score: float | None = 0.0 if self.scores() else None
            unreadable = ""
            if method:
                score, why = info.get(method.key_output_entropy), info.get(UNREADABLE)
                if info.get(method.key_output_ts) != weights:
                    score = None
                    unreadable = why if why and info.get(TRIED) == attempt(weights, file) else ""
                elif why or score is None or not math.isfinite(score):
                    score, unreadable = None, why or "its score is no number"
            frames[name] = Frame(file, labelled, score, unreadable)
        return frames

    def score(self) -> None:
        for record in self.app.async_scoring(None).values():
            self._wait("scoring", "scoring", record)

    def save_label(self, frame: str, label: NDArray[np.uint8]) -> None:
        self.app.datastore().save_final_label(frame, label)

    def train(self, iteration: int) -> list[dict[str, Any]]:
        records = []
        for model in self.models:
            self._wait("train", "training", self.app.async_training(model, {"iteration": iteration}, enqueue=True))
            unguarded = {"model": model, "before": None, "after": None, "promoted": True, "why": "as shipped"}
            records.append(read_json(self.trainings / f"{iteration}-{model}.json") or unguarded)
        return records

    def predict(self, frame: str) -> list[Shape]:
        shapes = []
        for model, task in self.app._infers.items():
            names = {value: name for name, value in (task.labels or {}).items() if name in self.label_map}
            if task.type != InferType.SEGMENTATION or not names:
                continue
            silent = apart(task)
            silent.skip_writer = True
            _, data = silent({"model": model, "image": self.app.datastore().get_image_uri(frame), "logging": "error"})
            # MONAI's readers turn the axes of a picture.
            mask = np.asarray(data[task.output_label_key]).squeeze().T.astype(np.uint8)
            shapes += mask_shapes(mask, names)
            self.alive()
        return shapes

    def _wait(self, method: str, what: str, record: dict[str, Any]) -> None:
        """Waits for a background job; raises LabError where it does not succeed."""
        # Behind the job, in its thread, which may end without saying so: where no process can be started, for one.
        behind = background_executors[method].submit(lambda: None)
        while record["status"] in RUNNING and not behind.done():
            self.alive()
            time.sleep(0.2)
        if record["status"] == "STOPPED":
            raise LabError(f"the {what} was stopped by hand", "nothing has to be done", final=True)
        if record["status"] != "DONE":
            last = next(reversed(record.get("details", ())), "it said nothing")
            raise LabError(f"the {what} failed ({last})", "see `docker logs monailabel`")


def _weights(method: EpistemicScoring) -> int:
    """What a scoring takes for the version of the weights: the time of their file."""
    path = method.infer_task.get_path()
    return int(Path(path).stat().st_mtime) if path else 1
