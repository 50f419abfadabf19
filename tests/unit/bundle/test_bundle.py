"""The test bundle has what MONAI Label's tooltracking reads, and packs the same every time."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "molecule" / "stand_ins" / "bundle" / "make_bundle.py"

spec = importlib.util.spec_from_file_location("endolab_make_bundle", SCRIPT)
assert spec is not None
assert spec.loader is not None
make_bundle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_bundle)


def config(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((make_bundle.TEMPLATE / "configs" / f"{name}.json").read_text())
    return content


def transforms(name: str, key: str) -> dict[str, dict[str, Any]]:
    """The transforms below `key` by their class; a list, or a Compose of one."""
    found = config(name)[key]
    return {step["_target_"]: step for step in (found if isinstance(found, list) else found["transforms"])}


@pytest.mark.parametrize("key", ["device", "network_def", "preprocessing", "inferer", "postprocessing"])
def test_inference_has_the_keys_that_monai_label_reads(key: str) -> None:
    assert key in config("inference")


@pytest.mark.parametrize(
    "path",
    [
        "device",
        "network",
        "network_def",
        "train/trainer/max_epochs",
        "train/dataset/data",
        "train/handlers",
        "validate/dataset/data",
        "validate/evaluator",
        "run",
    ],
)
def test_training_has_the_keys_that_monai_label_overrides(path: str) -> None:
    found: Any = config("train")
    for key in path.split("/"):
        found = found[key]


def test_both_configs_describe_the_same_network() -> None:
    inference, train = config("inference")["network_def"], config("train")["network_def"]
    assert inference == {key: value for key, value in train.items() if key != "dropout"}
    assert train["dropout"] > 0


def test_frames_are_96_by_64_everywhere() -> None:
    formats = config("metadata")["network_data_format"]
    assert formats["inputs"]["image"]["spatial_shape"] == [96, 64]
    assert formats["outputs"]["pred"]["spatial_shape"] == [96, 64]
    assert transforms("inference", "preprocessing")["Resized"]["spatial_size"] == [96, 64]
    assert transforms("train", "loading")["Resized"]["spatial_size"] == [96, 64]


def test_training_sees_pictures_as_inference_does() -> None:
    scale = "ScaleIntensityRanged"
    assert transforms("train", "loading")[scale] == transforms("inference", "preprocessing")[scale]


def test_training_keeps_its_best_weights_where_inference_finds_them() -> None:
    handlers = {handler["_target_"]: handler for handler in config("train")["validate"]["handlers"]}
    saver = handlers["CheckpointSaver"]
    assert saver["save_dir"].endswith("'/models'")
    assert saver["key_metric_filename"] == "model.pt"
    assert saver["save_key_metric"]


def test_drawn_pairs_belong_together(tmp_path: Path) -> None:
    pairs = make_bundle.draw(tmp_path, 3, 5)
    assert len(pairs) == 3
    for pair in pairs:
        image, label = Path(pair["image"]), Path(pair["label"])
        assert image.name == label.name
        assert image.is_file()
        assert label.is_file()
        assert image.parent != label.parent


def test_a_pack_has_the_bundle_below_its_name_and_always_the_same_bytes(tmp_path: Path) -> None:
    bundle = tmp_path / "endoscopic_tool_segmentation"
    (bundle / "models").mkdir(parents=True)
    (bundle / "models" / "model.pt").write_bytes(b"weights")
    (bundle / "LICENSE").write_text("licence")
    make_bundle.pack(bundle, tmp_path / "first.zip")
    (bundle / "LICENSE").touch()
    make_bundle.pack(bundle, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        names = ["endoscopic_tool_segmentation/LICENSE", "endoscopic_tool_segmentation/models/model.pt"]
        assert archive.namelist() == names
        assert archive.read(names[1]) == b"weights"
        assert all(entry.external_attr >> 16 == 0o644 for entry in archive.infolist())
