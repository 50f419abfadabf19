"""Trains inside MONAI Label's image, and prints what came of it: one line of JSON for each scenario.

Usage, with the checkout at /checkout: python3 /checkout/tests/app/training_in_image.py [SCENARIO...]
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import sys
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = Path("/usr/local/monailabel/sample-apps/endoscopy")
sys.path[:0] = [str(ROOT / "apps" / "endoscopy"), str(ROOT / "molecule" / "stand_ins"), str(SHIPPED)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from endolab_loop import ram, training  # noqa: E402
from frames import generate  # noqa: E402
from monai.handlers import MeanDice  # noqa: E402
from monai.transforms import LoadImaged  # noqa: E402
from monailabel.tasks.train.bundle import BundleTrainTask  # noqa: E402
from PIL import Image  # noqa: E402

ZIP = ROOT / ".cache" / "inputs" / "endoscopic_tool_segmentation.zip"
ToolTracking = importlib.import_module("lib.trainers").ToolTracking  # the shipped app's
LABEL_MAP = {"Tool": 1, "InBody": 2, "OutBody": 3}
LOAD = LoadImaged.__call__
QUICK = 0.002  # a rate at which one or two epochs show


class Lab:
    """A bundle with its guarded trainer, and as many labelled frames as a test wants."""

    def __init__(self, folder: Path, conf: training.TrainingConf, learning_rate: float) -> None:
        self.labelled = 6
        self.folder = folder
        self.bundle = folder / "model" / ZIP.stem
        self.weights = self.bundle / "models" / "model.pt"
        self.records = folder / "records"
        with zipfile.ZipFile(ZIP) as archive:
            archive.extractall(self.bundle.parent)
        self.configure(learning_rate=learning_rate)
        self.conf = conf

    def configure(self, **values: Any) -> None:
        """Changes keys of the bundle's train.json."""
        path = self.bundle / "configs" / "train.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    def datalist(self) -> list[dict[str, str]]:
        """Stands for MONAI Label's datastore: the first labelled frames, where 1 is an instrument and 2 the body."""
        items = []
        for number, frame in enumerate(generate.draw_frames(self.labelled, 3, 160, 120)):
            image, label = self.folder / f"frame_{number}.png", self.folder / "labels" / f"frame_{number}.png"
            label.parent.mkdir(exist_ok=True)
            Image.fromarray(frame.image).save(image)
            Image.fromarray(np.where(frame.mask, 1, 2).astype(np.uint8)).save(label)
            items.append({"image": str(image), "label": str(label)})
        return items

    def trainer(self) -> BundleTrainTask:
        return training.guard(
            ToolTracking(str(self.bundle), {}), {"Tool": 1}, lambda: LABEL_MAP, self.conf, self.records
        )

    def train(self, **request: Any) -> dict[str, Any]:
        outcome: dict[str, Any] = self.trainer()(
            {"model": "tooltracking", "device": "cpu", "tracking": "None", **request}, self
        )
        return outcome

    def forget(self) -> None:
        """Replaces the network's last layer by noise, so that an epoch makes it better."""
        saved = torch.load(self.weights)
        generator = torch.Generator().manual_seed(0)
        for name, values in saved["model"].items():
            if name.startswith("segmentation_head"):
                values.copy_(torch.randn(values.shape, generator=generator) * 0.01)
        torch.save(saved, self.weights)

    def state(self) -> dict[str, Any]:
        """What is on disk of the model."""
        previous = sorted((self.bundle / "models" / "previous").glob("*"))
        return {
            "sum": digest(self.weights),
            "time": self.weights.stat().st_mtime_ns,
            "previous": {path.name: digest(path) for path in previous},
            "candidate": (self.bundle / "models" / "model.pt.candidate").exists(),
            "folders": sorted(path.name for path in self.bundle.parent.iterdir()),
        }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def better_then_worse(folder: Path) -> dict[str, Any]:
    """Weights that get better; the same iteration again; then a rate at which they get worse."""
    lab = Lab(folder, training.TrainingConf(max_epochs=2, batch_size=2, early_stop=1), QUICK)
    lab.forget()
    batches = []
    count = training.EarlyStop.__call__

    def counted(stop: training.EarlyStop, engine: Any) -> None:
        batches.append(engine.state.epoch_length)
        count(stop, engine)

    start = lab.state()
    with patch.object(training.EarlyStop, "__call__", counted):
        better = lab.train(iteration=1)
    promoted = lab.state()
    with patch.object(BundleTrainTask, "run_single_gpu", side_effect=AssertionError("trained again")):
        again = lab.train(iteration=1)
    lab.configure(learning_rate=10.0)
    worse = lab.train(iteration=2, max_epochs=8)
    return {
        "config": {key: lab.trainer().config()[key] for key in ("max_epochs", "val_split", "pretrained")},
        "batches": batches,
        "outcomes": [better, again, worse],
        "states": [start, promoted, lab.state()],
        "records": {path.name: json.loads(path.read_text()) for path in lab.records.iterdir()},
    }


def killed(folder: Path) -> dict[str, Any]:
    """An end between the record and the rename that promotes."""
    lab = Lab(folder, training.TrainingConf(max_epochs=1), QUICK)
    lab.forget()
    replace = Path.replace

    def die(path: Path, target: Path) -> Path:
        if target == lab.weights:
            raise SystemExit("killed")
        return replace(path, target)

    states = [lab.state()]
    try:
        with patch.object(Path, "replace", die):
            lab.train(iteration=1)
    except SystemExit:
        states.append(lab.state())
    record = json.loads((lab.records / "1-tooltracking.json").read_text())
    for _ in range(2):
        training.finish(lab.bundle, [record])
        states.append(lab.state())
    return {"record": record, "states": states}


def splits(folder: Path) -> dict[str, Any]:
    """More and more labelled frames, and a training that saves nothing."""
    lab = Lab(folder, training.TrainingConf(val_split=0.25), QUICK)
    parts, outcomes, start = [], [], lab.state()

    def note(task: BundleTrainTask, request: dict[str, Any], overrides: dict[str, Any]) -> None:
        lists = [overrides[f"{part}#dataset#data"] for part in ("train", "validate")]
        Path(task.bundle_path, "epochs").write_text("1")
        parts.append([sorted(Path(item["image"]).stem for item in items) for items in lists])

    with patch.object(BundleTrainTask, "run_single_gpu", note):
        for labelled in (0, 1, 4, 9, 12):
            lab.labelled = labelled
            outcomes.append(lab.train(iteration=labelled))
    return {"parts": parts, "outcomes": outcomes, "states": [start, lab.state()]}


def two_classes(folder: Path) -> dict[str, Any]:
    """A bundle that scales labels as the published one does, with labels that hold another class, too."""
    lab = Lab(folder, training.TrainingConf(max_epochs=1), 0.0001)
    loading = json.loads((lab.bundle / "configs" / "train.json").read_text())["loading"]
    loading[3] = {"_target_": "ScaleIntensityd", "keys": "label"}
    lab.configure(loading=loading)
    return {"outcome": lab.train(iteration=1)}


def no_weights(folder: Path) -> dict[str, Any]:
    """A bundle that begins without weights, trained by hand."""
    lab = Lab(folder, training.TrainingConf(max_epochs=1), QUICK)
    lab.weights.unlink()
    outcome = lab.train(pretrained=False, val_split=0.5)
    return {"outcome": outcome, "state": lab.state(), "records": [path.name for path in lab.records.iterdir()]}


def tracked(folder: Path) -> dict[str, Any]:
    """As the loop asks for it: with MLflow, which MONAI Label switches on."""
    lab = Lab(folder, training.TrainingConf(max_epochs=1), QUICK)
    outcome = lab.train(iteration=1, tracking="mlflow")
    return {"outcome": outcome, "eval": sorted(path.suffix for path in (lab.bundle / "eval").iterdir())}


def other_process(folder: Path) -> dict[str, Any]:
    """With several GPUs, MONAI Label writes the config to a file and trains in other processes; here, in one."""
    lab = Lab(folder, training.TrainingConf(early_stop=1), 10.0)
    (lab.bundle / "configs" / "multi_gpu_train.json").write_text("{}")
    run = BundleTrainTask._run_command

    def without_torchrun(task: BundleTrainTask, command: list[str], environment: dict[str, str]) -> None:
        arguments = dict(zip(command, command[1:], strict=False))
        files = f"meta_file={arguments['--meta_file']!r}, config_file={arguments['--config_file']}"
        run(task, [sys.executable, "-c", f"import monai.bundle; monai.bundle.run({files})"], environment)

    with patch.object(BundleTrainTask, "_run_command", without_torchrun):
        return {"outcome": lab.train(iteration=1, force_multi_gpu=True, gpus="0", max_epochs=8)}


def no_epoch(folder: Path) -> dict[str, Any]:
    """A training that MONAI Label takes for finished, though it has not begun."""
    lab = Lab(folder, training.TrainingConf(), QUICK)
    try:
        with patch.object(BundleTrainTask, "run_single_gpu"):
            lab.train(iteration=1)
    except RuntimeError as error:
        return {"error": str(error), "records": [path.name for path in lab.records.iterdir()]}
    return {"error": None}


def no_number(folder: Path) -> dict[str, Any]:
    """A metric that is no number."""
    lab = Lab(folder, training.TrainingConf(max_epochs=1), QUICK)
    start = lab.state()
    with patch.object(MeanDice, "compute", return_value=float("nan")):
        outcome = lab.train(iteration=1)
    return {"outcome": outcome, "states": [start, lab.state()]}


def decoded(folder: Path) -> dict[str, Any]:
    """How often frames are decoded, with memory for all of them and without, by a bundle that keeps two in five."""
    found = {}
    for name, left in (("room", ram.left()), ("tight", 1)):
        lab = Lab(folder / name, training.TrainingConf(max_epochs=3), QUICK)
        train = json.loads((lab.bundle / "configs" / "train.json").read_text())["train"]
        lab.configure(train={**train, "dataset": {**train["dataset"], "cache_rate": 0.4}})
        loads: list[int] = []

        def load(transform: LoadImaged, *arguments: Any, loads: list[int] = loads, **more: Any) -> Any:
            loads.append(1)
            return LOAD(transform, *arguments, **more)

        with patch.object(ram, "left", return_value=left), patch.object(LoadImaged, "__call__", load):
            outcome = lab.train(iteration=1)
        found[name] = {"cached": outcome["cached"], "loads": len(loads)}
    return found


SCENARIOS: list[Callable[[Path], dict[str, Any]]] = [
    better_then_worse, killed, splits, two_classes, no_weights, tracked, other_process, no_epoch, no_number,
    decoded,
]  # fmt: skip


def main(scenarios: list[Callable[[Path], dict[str, Any]]]) -> None:
    logging.disable(logging.INFO)
    for scenario in scenarios:
        if scenario.__name__ in (sys.argv[1:] or scenario.__name__):
            with TemporaryDirectory() as folder:
                try:
                    result = scenario(Path(folder))
                except Exception:
                    result = {"failed": traceback.format_exc()}
            print(json.dumps({"scenario": scenario.__name__, **result}), flush=True)


if __name__ == "__main__":
    main(SCENARIOS)
