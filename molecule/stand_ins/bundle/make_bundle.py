"""Trains the small tool-segmentation bundle on synthetic frames and packs it; runs inside the MONAI Label image.

The training is the bundle's own train.json, so what MONAI Label runs later has run before.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE / "endoscopic_tool_segmentation"
FRAMES = HERE.parent / "frames" / "generate.py"
TRAINING_FRAMES = 192
VALIDATION_FRAMES = 32
BATCH_SIZE = 16
LEARNING_RATE = 0.002  # from random weights; the bundle's own rate is for fine-tuning
EPOCH_1980 = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip knows


def draw(folder: Path, count: int, seed: int) -> list[dict[str, str]]:
    """Draws `count` frames into `folder`; returns the pairs of image and label paths."""
    images, labels = folder / "images", folder / "labels"
    command = [FRAMES, "--out", images, "--masks", labels, "--count", count, "--seed", seed]
    subprocess.run([sys.executable, *map(str, command)], check=True)
    return [{"image": str(image), "label": str(labels / image.name)} for image in sorted(images.iterdir())]


def train(bundle: Path, training: list[dict[str, str]], validation: list[dict[str, str]], epochs: int) -> float:
    """Trains the bundle's network and leaves its best weights in models/model.pt; returns their Dice (0 to 1)."""
    # Packing works without them, and they are only in the image.
    import torch
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "train.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        bundle_root=str(bundle),
        device="cpu",
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        **{
            "train#dataset#data": training,
            "train#trainer#max_epochs": epochs,
            "validate#dataset#data": validation,
        },
    )
    workflow.initialize()
    for layer in workflow.parser.get_parsed_content("network").modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.1  # at the encoder's 0.01, a minute leaves its statistics where they began
    workflow.run()
    weights = bundle / "models" / "model.pt"
    torch.save({"model": torch.load(weights)}, weights)  # the form in which bundles are published
    return float(workflow.parser.get_parsed_content("validate#evaluator").state.best_metric)


def pack(bundle: Path, out: Path) -> None:
    """Zips the folder `bundle` under its own name; the same files give the same zip."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(bundle.parent)), EPOCH_1980)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def main() -> None:
    """Command line: draws frames, trains, packs and reports the Dice on frames it has not seen."""
    parser = argparse.ArgumentParser(
        description="Make the small tool-segmentation bundle.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="zip to write")
    parser.add_argument("--seed", type=int, default=1, help="other seeds train on other frames")
    parser.add_argument("--epochs", type=int, default=6, help="rounds of training")
    options = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("ignite").setLevel(logging.WARNING)  # two lines of metrics an epoch are enough
    started = time.monotonic()
    with TemporaryDirectory() as work:
        bundle = Path(work) / TEMPLATE.name
        shutil.copytree(TEMPLATE, bundle)
        # Far from the seeds that people choose for the frames to be scored.
        training = draw(Path(work) / "training", TRAINING_FRAMES, 10_000 + 2 * options.seed)
        validation = draw(Path(work) / "validation", VALIDATION_FRAMES, 10_001 + 2 * options.seed)
        dice = train(bundle, training, validation, options.epochs)
        pack(bundle, options.out)
    print(f"{options.out}: validation Dice {dice:.3f} after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
