"""Scoring that one bad frame does not end, and whose threads do not disturb each other."""

from __future__ import annotations

import copy
import logging
import threading
from typing import Any

from monailabel.tasks.infer.basic_infer import BasicInferTask
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring

UNREADABLE = "unreadable"

logger = logging.getLogger(__name__)


def apart(task: BasicInferTask) -> BasicInferTask:
    """Returns a copy of `task` for one thread: it shares the loaded network, and its transforms are its own.

    Cures: threads that both make the transforms of one config, at the start of a scoring. The config keeps those of
    the last, so that another one cannot undo what it has done to its frame, and this frame gets no score.
    """
    alone = copy.copy(task)
    if hasattr(task, "bundle_config"):
        alone.bundle_config = type(task.bundle_config)(copy.deepcopy(task.bundle_config.config))
    return alone


def tolerant(method: EpistemicScoring) -> EpistemicScoring:
    """Lets a scoring go on after a frame that it cannot read (the shipped one ends there), and says so of the frame."""
    own = threading.local()  # making transforms anew for each frame would cost as much as a pass of the network

    def run_scoring(frame: str, simulation_size: int, weights: int, datastore: Any) -> None:
        if not hasattr(own, "task"):
            own.task = apart(method.infer_task)
        scorer = copy.copy(method)
        scorer.infer_task = own.task
        try:
            type(method).run_scoring(scorer, frame, simulation_size, weights, datastore)
            known: dict[str, Any] = {UNREADABLE: ""}
        except Exception as error:
            logger.exception("frame %s could not be scored", frame)
            known = {UNREADABLE: f"{type(error).__name__}: {error}"[:300], method.key_output_ts: weights}
        datastore.update_image_info(frame, known)

    method.run_scoring = run_scoring
    return method
