"""Small pictures of frames, and of where the model disagrees with itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from endolab_loop import pictures
from endolab_loop.pictures import Pictures
from PIL import Image

UNSURE = np.full((48, 64), math.log(2), np.float32)


@pytest.fixture
def kept(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*")}


def test_heat_is_yellow_and_opaque_where_the_passes_disagree_and_nothing_where_they_agree(kept: Pictures) -> None:
    disagreement = UNSURE.copy()
    disagreement[:, :32] = 0
    kept.heat("frame", 0.3, disagreement)
    with Image.open(kept.heat_map("frame")) as image:
        assert image.size == (64, 48)
        rgba = image.convert("RGBA")
    assert rgba.getpixel((60, 20)) == (255, 255, 0, 255)
    assert rgba.getpixel((4, 20))[3] == 0  # type: ignore[index]


def test_pictures_are_small(kept: Pictures, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    kept.heat("frame", 0.3, noise.uniform(0, 0.1, (480, 736)).astype(np.float32))
    Image.fromarray(noise.integers(0, 255, (1080, 1920, 3), np.uint8)).save(tmp_path / "frame.png")
    kept.show({"frame": tmp_path / "frame.png"})
    for path in kept.heat_map("frame"), kept.thumbnail("frame"):
        with Image.open(path) as image:
            assert max(image.size) == 320
        assert path.stat().st_size < 60_000


def test_only_the_highest_scores_of_a_scoring_keep_a_heat_map(kept: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "QUOTA", 2)
    for frame, score in {"low": 0.1, "high": 0.4, "middle": 0.3, "lowest": 0.0}.items():
        kept.heat(frame, score, UNSURE)
    assert names(kept.heat_maps) == {"high.png", "middle.png"}


def test_a_heat_map_of_other_weights_does_not_stay_behind(kept: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "QUOTA", 1)
    kept.heat("once_high", 0.9, UNSURE)
    anew = Pictures(kept.heat_maps.parents[1])
    anew.heat("high", 0.4, UNSURE)
    anew.heat("once_high", 0.1, UNSURE)
    assert names(kept.heat_maps) == {"high.png"}


def test_heat_maps_of_frames_that_are_no_candidates_any_more_go(
    kept: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    for frame in ("a", "b", "labelled"):
        kept.heat(frame, 0.1, UNSURE)
    kept.keep({"a": 0.1, "b": 0.2})
    assert names(kept.heat_maps) == {"a.png", "b.png"}
    monkeypatch.setattr(pictures, "QUOTA", 1)
    kept.keep({"a": 0.1, "b": 0.2})
    assert names(kept.heat_maps) == {"b.png"}


def test_thumbnails_go_with_their_batch(kept: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SHOWN", 2)
    files = {name: tmp_path / f"{name}.png" for name in "abcd"}
    for file in files.values():
        Image.new("RGB", (64, 48)).save(file)
    kept.show({name: files[name] for name in "abc"})
    assert names(kept.thumbnails) == {"a.jpg", "b.jpg"}
    kept.show({name: files[name] for name in "bd"})
    assert names(kept.thumbnails) == {"b.jpg", "d.jpg"}


def test_what_cannot_be_read_is_left_out(kept: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80_000)
    files = {name: tmp_path / f"{name}.png" for name in ("gone", "torn", "damaged", "huge", "whole")}
    files["torn"].write_bytes(b"torn")
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(files["damaged"])
    start, _, end = files["damaged"].read_bytes().rpartition(b"IDAT")
    files["damaged"].write_bytes(start + b"\0\0\0\0" + end)
    Image.new("RGB", (400, 401)).save(files["huge"])
    Image.new("RGB", (8, 8)).save(files["whole"])
    kept.show(files)
    assert names(kept.thumbnails) == {"whole.jpg"}


def test_what_cannot_be_written_is_left_out(kept: Pictures, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "whole.png")
    for directory in (kept.heat_maps, kept.thumbnails):
        directory.parent.mkdir(exist_ok=True)
        directory.write_text("no directory")
    kept.heat("whole", 0.1, UNSURE)
    kept.show({"whole": tmp_path / "whole.png"})


def test_what_cannot_be_removed_stays(
    kept: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pictures, "QUOTA", 1)
    Image.new("RGB", (8, 8)).save(tmp_path / "whole.png")
    for path in (kept.heat_map("low"), kept.thumbnail("before")):
        path.mkdir(parents=True)
    kept.heat("high", 0.2, UNSURE)
    kept.heat("low", 0.1, UNSURE)
    kept.keep({"high": 0.2})
    kept.show({"whole": tmp_path / "whole.png"})
    assert names(kept.thumbnails) == {"before.jpg", "whole.jpg"}
    assert caplog.text.count(" failed: IsADirectoryError") == 3
