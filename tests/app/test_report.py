"""The demo's report is measured by the lab's own app, in MONAI Label's image."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import inputs
import numpy as np
import pytest
from annotator import Annotator, truth_in
from PIL import Image
from report import page, study
from report.study import Study
from rich.console import Console

from plugins.lookup import pure_python

ROOT = Path(__file__).resolve().parents[2]
CHOSEN = [["frame_0001", "frame_0002", "frame_0003"], ["frame_0004", "frame_0005"]]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A lab whose two trainings have changed nothing, and a loop beside it that chooses at random."""
    monkeypatch.setattr(study, "RANDOM_LOOPS", 1)
    monkeypatch.setattr(study, "TEST_FRAMES", 2)
    made = Study(tmp_path / "study", inputs.BUNDLE)
    app = made.directory / "endolab" / "apps" / "endoscopy"
    shutil.copytree(ROOT / "apps" / "endoscopy", app)
    (app / "libraries").mkdir()
    pure_python.pack("cvat-sdk", tmp_path).rename(app / "libraries/cvat-sdk.zip")
    with zipfile.ZipFile(inputs.BUNDLE) as archive:
        archive.extractall(app / "model")

    made.studies.mkdir(parents=True)
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(1, 9):
        name = f"frame_{number:04}.png"
        shutil.copy(inputs.frames(24) / "masks" / name, masks)
        Image.new("RGB", (320, 240), (90 + number, 40, 40)).save(made.studies / name)
    for number, chosen in enumerate(CHOSEN, start=1):
        scores = {frame: 0.5 / place for place, frame in enumerate(chosen, start=1)}
        for kind, content in (
            ("iterations", {"chosen": scores, "scores": scores}),
            ("trainings", {"promoted": False, "training_frames": 2, "validation_frames": 1, "why": "not better"}),
        ):
            name = f"{number}.json" if kind == "iterations" else f"{number}-tooltracking.json"
            (made.studies / "loop" / kind).mkdir(parents=True, exist_ok=True)
            (made.studies / "loop" / kind / name).write_text(json.dumps(content))

    annotator = Annotator(None, truth_in(masks))
    made.draw(annotator, masks)
    shutil.copytree(made.directory / "drawn", made.studies / "labels" / "final")
    made.make_test_frames()
    conf = {"train_max_epochs": 1, "epistemic_simulation_size": 2}
    made.measure(conf, Console())
    return made


def test_the_loop_is_followed_and_another_one_chooses_at_random(measured: Study) -> None:
    curves = json.loads((measured.out / "measured.json").read_text())
    assert len(set(curves["loop"])) == 1, "the same weights, the same Dice"
    ((begun, *then),) = curves["random"]
    assert begun == curves["loop"][0]
    assert len(then) == len(CHOSEN)
    assert all(0 <= dice <= 1 for dice in then)
    for number, chosen in enumerate(CHOSEN, start=1):
        for frame in chosen:
            before, after, heat = (
                np.asarray(Image.open(measured.out / str(number) / f"{frame}-{kind}.png"))
                for kind in ("before", "after", "heat")
            )
            assert before.shape == after.shape == heat.shape == (240, 320)
            assert np.array_equal(before, after)
    assert page.render(measured, frames=8).count("<img") == 4 * 5
