"""The frame generator draws what it says, the same for the same seed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[3] / "molecule" / "stand_ins" / "frames" / "generate.py"

spec = importlib.util.spec_from_file_location("endolab_frames", SCRIPT)
assert spec is not None
assert spec.loader is not None
generate = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = generate  # dataclasses look their module up
spec.loader.exec_module(generate)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def border(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for run in ("first", "second"):
        generate.main(["--out", f"{tmp_path}/{run}", "--masks", f"{tmp_path}/{run}-masks", "--count", "4"])
    assert files(tmp_path / "first") == files(tmp_path / "second")
    assert files(tmp_path / "first-masks") == files(tmp_path / "second-masks")


def test_another_seed_gives_other_frames(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        generate.main(["--out", f"{tmp_path}/{seed}", "--count", "4", "--seed", seed])
    assert not set(files(tmp_path / "1").values()) & set(files(tmp_path / "2").values())


def test_a_frame_does_not_depend_on_how_many_are_drawn(tmp_path: Path) -> None:
    for count in ("2", "5"):
        generate.main(["--out", f"{tmp_path}/{count}", "--count", count])
    assert files(tmp_path / "2").items() < files(tmp_path / "5").items()


def test_files_have_the_size_and_the_names_that_were_asked_for(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    generate.main(["--out", str(images), "--masks", str(masks), "--count", "2", "--size", "96x64"])
    names = ["frame_0001.png", "frame_0002.png"]
    assert sorted(files(images)) == sorted(files(masks)) == names
    for folder, mode in ((images, "RGB"), (masks, "L")):
        for name in names:
            with Image.open(folder / name) as picture:
                assert (picture.format, picture.mode, picture.size) == ("PNG", mode, (96, 64))


def test_masks_are_written_only_when_asked_for(tmp_path: Path) -> None:
    generate.main(["--out", str(tmp_path / "images"), "--count", "1"])
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_masks_show_grey_metal_and_the_rest_is_red() -> None:
    for frame in generate.draw_frames(12, seed=3, width=160, height=120):
        redness = frame.image[..., 0].astype(float) - frame.image[..., 2]
        assert set(np.unique(frame.mask)) <= {0, 255}
        assert redness[frame.mask == 0].mean() > 30
        if frame.mask.any():
            assert abs(redness[frame.mask == 255].mean()) < 25


def test_a_share_of_the_frames_shows_brass() -> None:
    steel: list[NDArray[np.float64]] = []
    brass: list[NDArray[np.float64]] = []
    for frame in generate.draw_frames(40, seed=3, width=160, height=120, brass=0.3):
        if frame.mask.any():
            blueness = frame.image[frame.mask == 255].astype(float) @ [-1, 0, 1]
            (brass if blueness.mean() < -40 else steel).append(blueness)
    assert 5 <= len(brass) <= 15 < len(steel)


def test_instruments_enter_from_a_border_and_some_frames_have_none() -> None:
    masks = [frame.mask for frame in generate.draw_frames(48, seed=7, width=160, height=120)]
    with_instruments = [mask for mask in masks if mask.any()]
    assert 24 < len(with_instruments) < 48
    for mask in with_instruments:
        assert border(mask).any()
        assert mask[1:-1, 1:-1].any()
        assert 0.005 < (mask == 255).mean() < 0.4


def test_tissue_has_specular_highlights() -> None:
    frames = list(generate.draw_frames(24, seed=7, width=160, height=120))
    bright = [frame for frame in frames if (frame.image[frame.mask == 0].min(axis=1) > 150).any()]
    assert len(bright) > len(frames) / 2


@pytest.mark.parametrize("size", ["320", "0x64", "96x-1", "axb", "1x2x3"])
def test_a_size_that_is_none_is_refused(size: str, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "images"), "--size", size]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"invalid size value: '{size}'" in run.stderr
    assert not (tmp_path / "images").exists()
