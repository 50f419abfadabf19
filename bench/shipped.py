"""What the app that MONAI Label ships brings, inside its image: its inference, its scoring, and its trainer."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, "/usr/local/monailabel/sample-apps/endoscopy")

from endolab_loop import scoring
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring

Infer = importlib.import_module("lib.infers").ToolTracking
Trainer = importlib.import_module("lib.trainers").ToolTracking

DROPOUT = 0.2


def unpack(archive: Path, folder: Path) -> Path:
    """Unpacks a bundle; returns where."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder / archive.stem


def scoring_of(bundle: Path) -> EpistemicScoring:
    """A scoring as the shipped app makes it."""
    return EpistemicScoring(
        Infer(str(bundle), {}, dropout=DROPOUT, train_mode=True, skip_writer=True), use_variance=True
    )


class Scores:
    """Scores files one by one; stands for MONAI Label's datastore, which keeps what comes of it."""

    def __init__(self, method: EpistemicScoring, passes: int) -> None:
        self.method, self.passes = method, passes
        self.known: dict[str, float] = {}

    def __call__(self, frame: str) -> float:
        datastore = SimpleNamespace(get_image_uri=lambda name: name, update_image_info=self._keep)
        self.method.run_scoring(frame, self.passes, 1, datastore)
        return self.known[frame]

    def _keep(self, frame: str, found: dict[str, Any]) -> None:
        if found.get(scoring.UNREADABLE):
            raise RuntimeError(found[scoring.UNREADABLE])
        self.known[frame] = found[self.method.key_output_entropy]
