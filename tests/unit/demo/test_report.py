"""The report holds what the loop has done, in one file, and follows the weights from training to training."""

from __future__ import annotations

import json
import re
import zipfile
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report import page, pictures
from report.history import iterations, weights_in
from report.study import Study

START, BETTER = b"start", b"better"


def digest(weights: bytes) -> str:
    return sha256(weights).hexdigest()


def leave(loop: Path, number: int, chosen: dict[str, float], training: dict[str, Any] | None) -> None:
    """Writes what the loop leaves of an iteration; `other` could have been chosen, too."""
    for kind in ("iterations", "trainings"):
        (loop / kind).mkdir(parents=True, exist_ok=True)
    content = {"at": "now", "chosen": chosen, "scores": {**chosen, "other": 0.001}}
    (loop / "iterations" / f"{number}.json").write_text(json.dumps(content))
    if training:
        whole = {
            "training_frames": 2,
            "validation_frames": 1,
            "why": "val_mean_dice 0.6 is better than 0.5",
            **training,
        }
        (loop / "trainings" / f"{number}-tooltracking.json").write_text(json.dumps(whole))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Ten iterations, of which the last is open, and the second has changed the weights."""
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        archive.writestr("endoscopic_tool_segmentation/models/model.pt", START)
    study = Study(tmp_path / "study", tmp_path / "bundle.zip")
    for number in range(1, 11):
        frame = f"frame_{number}"
        promoted = {"promoted": True, "weights": digest(BETTER)} if number == 2 else {"promoted": False}
        leave(study.studies / "loop", number, {frame: 0.5 / number}, promoted if number < 10 else None)
        (study.studies / "labels" / "final").mkdir(parents=True, exist_ok=True)
        (study.out / str(number)).mkdir(parents=True)
        square = np.zeros((24, 32), np.uint8)
        square[8:16, 8:16] = 1
        Image.new("RGB", (32, 24), "firebrick").save(study.studies / f"{frame}.png")
        Image.fromarray(square).save(study.studies / "labels" / "final" / f"{frame}.png")
        for kind in ("heat", "before", "after"):
            Image.fromarray(square * 255).save(study.out / str(number) / f"{frame}-{kind}.png")
    loop = [0.7 + number / 100 for number in range(10)]
    measured = {"loop": loop, "random": [[0.7] * 10, [0.7] + [0.72] * 9]}
    (study.out / "measured.json").write_text(json.dumps(measured))
    return study


def test_iterations_come_in_order_with_the_weights_of_each(study: Study) -> None:
    turns = study.turns()
    assert [turn.number for turn in turns] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [turn.before for turn in turns] == [digest(START)] * 2 + [digest(BETTER)] * 7
    assert [turn.after for turn in turns] == [digest(START)] + [digest(BETTER)] * 8
    assert turns[0].chosen == {"frame_1": 0.5}
    assert turns[0].scores == {"frame_1": 0.5, "other": 0.001}


def test_a_loop_that_has_not_begun_has_no_iterations(tmp_path: Path) -> None:
    assert iterations(tmp_path, digest(START)) == []


def test_weights_are_found_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "models" / "previous").mkdir(parents=True)
    (tmp_path / "models" / "model.pt").write_bytes(BETTER)
    (tmp_path / "models" / "previous" / "model-1.pt").write_bytes(START)
    found = weights_in(tmp_path)
    assert {key: path.name for key, path in found.items()} == {
        digest(BETTER): "model.pt",
        digest(START): "model-1.pt",
    }


class Checker(HTMLParser):
    """Tags that are opened and closed, and what they refer to."""

    VOID = frozenset({"meta", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures += 1
            assert str(dict(attrs)["src"]).startswith("data:image/webp;base64,")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_whole_file_with_every_frame(study: Study) -> None:
    text = page.render(study, frames=60)
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.pictures == 4 * 9
    assert not re.search(r"https?://|<script|<link", text)
    for number in range(1, 10):
        assert f"<b>frame_{number}</b>: number 1 of 2, score {0.5 / number:.5f}" in text
    assert "0.790" in text  # this loop, at its end
    assert "0.710" in text  # the mean of the random ones


def test_a_frame_that_was_not_labelled_is_left_out(study: Study) -> None:
    (study.studies / "labels" / "final" / "frame_3.png").unlink()
    text = page.render(study, frames=60)
    assert "<b>frame_3</b>" not in text
    assert "<b>frame_4</b>" in text


def test_heat_glows_where_it_is_and_nowhere_else() -> None:
    frame = np.full((4, 4, 3), 100, np.uint8)
    heat = np.zeros((4, 4), np.uint8)
    heat[1, 1] = 255
    drawn = pictures.heated(frame, heat)
    assert tuple(drawn[1, 1]) == (255, 255, 0)
    assert tuple(drawn[3, 3]) == (70, 70, 70)


def test_an_outline_leaves_the_inside_and_the_frame_as_they_are() -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    drawn = pictures.outlined(frame, mask, pictures.RED)
    assert tuple(drawn[5, 5]) == tuple(drawn[6, 6]) == pictures.RED
    assert not drawn[8:12, 8:12].any()
    assert not frame.any()
