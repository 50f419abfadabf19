"""Scoring that one bad frame does not end."""

from __future__ import annotations

import logging
from typing import Any

from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring

UNREADABLE = "unreadable"

logger = logging.getLogger(__name__)


def tolerant(method: EpistemicScoring) -> EpistemicScoring:
    """Lets a scoring go on after a frame that it cannot read (the shipped one ends there), and says so of the frame."""
    score = method.run_scoring

    def run_scoring(frame: str, simulation_size: int, weights: int, datastore: Any) -> None:
        try:
            score(frame, simulation_size, weights, datastore)
            known: dict[str, Any] = {UNREADABLE: ""}
        except Exception as error:
            logger.exception("frame %s could not be scored", frame)
            known = {UNREADABLE: f"{type(error).__name__}: {error}"[:300], method.key_output_ts: weights}
        datastore.update_image_info(frame, known)

    method.run_scoring = run_scoring
    return method
