"""What a lab's loop has left behind: its iterations, and the weights that each began and ended with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

# The name of the bundle, as the app looks for it.
BUNDLE = "endoscopic_tool_segmentation"


@dataclass(frozen=True)
class Iteration:
    """One turn of the loop.

    chosen: the frames of its task with their epistemic scores, least sure first.
    scores: the same of every frame that could have been chosen.
    training: the record of its training.
    before, after: SHA-256 of the weights that chose the frames, and of those in use after the training.
    """

    number: int
    chosen: dict[str, float]
    scores: dict[str, float]
    training: dict[str, Any]
    before: str
    after: str


def iterations(loop: Path, start: str) -> list[Iteration]:
    """The iterations whose training is over, oldest first.

    loop: the directory `loop` of the studies. start: SHA-256 of the weights before the first training.
    """
    found, weights = [], start
    for path in sorted((loop / "iterations").glob("*.json"), key=lambda path: int(path.stem)):
        training = next((loop / "trainings").glob(f"{path.stem}-*.json"), None)
        if training is None:  # still open, or deleted by hand
            continue
        choice, record = json.loads(path.read_text()), json.loads(training.read_text())
        after = record["weights"] if record["promoted"] else weights
        found.append(Iteration(int(path.stem), choice["chosen"], choice["scores"], record, weights, after))
        weights = after
    return found


def weights_in(bundle: Path) -> dict[str, Path]:
    """The weights that a bundle has kept, by their SHA-256."""
    models = bundle / "models"
    return {digest(path): path for path in [*models.glob("previous/*.pt"), models / "model.pt"]}


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
