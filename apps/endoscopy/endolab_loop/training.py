"""Trainings that never worsen a model.

A training runs in a scratch copy of the bundle. Its weights replace the published ones only where the bundle's own
metric is better, on frames that no training has seen.
"""

from __future__ import annotations

import copy
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from . import ram
from .state import now, read_json, write_json

if TYPE_CHECKING:
    from monailabel.tasks.train.bundle import BundleTrainTask
else:
    BundleTrainTask = object  # guard() adds the real one, so that this module can be read without torch

Item = dict[str, Any]  # of a datalist: a frame's image and label


@dataclass(frozen=True)
class TrainingConf:
    """How to train, where a request does not say otherwise."""

    max_epochs: int = 50
    batch_size: int = 0  # 0: the bundle's own
    val_split: float = 0.2  # the share of the labelled frames that validates, between 0 and 1
    early_stop: int = 0  # epochs without a better metric after which training ends; 0: never
    keep: int = 3  # how many replaced weights stay in models/previous


class NothingToTrain(Exception):
    """There are too few labelled frames; says so in a sentence."""


def guard(
    task: BundleTrainTask,
    labels: Mapping[str, int],
    label_map: Callable[[], Mapping[str, int]],
    conf: TrainingConf,
    records: Path,
) -> BundleTrainTask:
    """Returns a trainer that asks and answers like `task`, and publishes only better weights.

    labels: the model's classes and their numbers. label_map: the same names' pixel values in the label files.
    """
    guarded = copy.copy(task)
    guarded.__class__ = type("Guarded", (Guard, type(task)), {})
    guarded.labels, guarded.label_map, guarded.training, guarded.records = labels, label_map, conf, records
    return guarded


def finish(bundle: Path, records: Iterable[dict[str, Any]]) -> None:
    """Completes the promotion that one of the model's `records` announces; removes any other candidate.

    Which of them is the newest does not matter: a clock that was set back would tell it wrongly.
    """
    candidate = bundle / "models" / "model.pt.candidate"
    if candidate.exists():
        weights = _sum(candidate)
        for record in records:
            if record["promoted"] and record["weights"] == weights:
                _promote(candidate, candidate.with_name("model.pt"), record)
                break
    candidate.unlink(missing_ok=True)


def divide(frames: Collection[str], split: dict[str, list[str]], share: float) -> dict[str, list[str]]:
    """Adds to `split` the frames that it does not know yet; those it knows stay where they are.

    About `share` of `frames` validates, at least one, and at least one is trained on.
    """
    training, validation = set(split["training"]), set(split["validation"])
    new = sorted(set(frames) - training - validation, key=lambda frame: sha256(frame.encode()).digest())
    wanted = max(1, round(share * len(frames))) - len(validation.intersection(frames))
    possible = len(new) if training.intersection(frames) else len(new) - 1
    cut = max(0, min(wanted, possible))
    return {"training": sorted(training.union(new[cut:])), "validation": sorted(validation.union(new[:cut]))}


def relabel(source: Path, target: Path, labels: Mapping[str, int], values: Mapping[str, int]) -> None:
    """Writes the label image `source` with the model's own numbers, and 0 for what the model does not know.

    Bundles scale a label to its largest value, so that a second class would turn the first into background.
    """
    pixels = np.asarray(Image.open(source))
    if pixels.ndim != 2:
        raise ValueError(f"{source} has colours; training needs one number a pixel (--conf cvat_normalize_label true)")
    if missing := sorted(labels.keys() - values.keys()):
        raise ValueError(f"the model learns {', '.join(missing)}, and the labels are {', '.join(values)}")
    numbers = np.zeros(pixels.shape, np.uint8)
    for name, number in labels.items():
        numbers[pixels == values[name]] = number
    target.parent.mkdir(exist_ok=True)
    Image.fromarray(numbers).save(target)


class EarlyStop:
    """Ends a training after `patience` epochs without a better metric (0: never); counts its epochs in a file."""

    def __init__(self, evaluator: Any, patience: int, progress: str) -> None:
        self.evaluator, self.patience, self.progress = evaluator, patience, Path(progress)

    def attach(self, engine: Any) -> None:
        from monai.utils import optional_import

        engine.add_event_handler(optional_import("ignite.engine", name="Events")[0].EPOCH_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        self.progress.write_text(str(engine.state.epoch), encoding="ascii")
        last, best = self.evaluator.state.epoch, self.evaluator.state.best_metric_epoch  # best is -1 until the first
        if self.patience and best > 0 and last - best >= self.patience:
            engine.terminate()


class Guard(BundleTrainTask):
    """What guard() puts in front of a trainer's own class."""

    labels: Mapping[str, int]
    label_map: Callable[[], Mapping[str, int]]
    training: TrainingConf
    records: Path
    published: Path  # the bundle whose copy this trainer works in
    overrides: dict[str, Any]  # what the training has set in the bundle's config

    def config(self) -> dict[str, Any]:
        return {**super().config(), "max_epochs": self.training.max_epochs, "val_split": self.training.val_split}

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Trains once for an iteration; returns, and keeps as a record, what came of it."""
        started, bundle, model = time.monotonic(), Path(self.bundle_path), request["model"]
        iteration = request.get("iteration")
        request = {"max_epochs": self.training.max_epochs, "val_split": self.training.val_split, **request}
        if not 0 < request["val_split"] < 1:
            raise ValueError(f"val_split is {request['val_split']}; it must lie between 0 and 1, for example 0.2")
        record = self.records / f"{iteration}-{model}.json"
        if record.parent != self.records:
            raise ValueError(f"iteration is {iteration}; it must not hold a slash")
        finish(bundle, map(read_json, self.records.glob(f"*-{model}.json")))
        if iteration is not None and (known := read_json(record)):
            return dict(known)

        outcome = {"model": model, "iteration": iteration, "metric": None, "before": None, "after": None}
        outcome.update(promoted=False, training_frames=0, validation_frames=0, epochs=0)
        trial = self._in_scratch(bundle.with_name(f".training-{bundle.name}"))
        try:
            super(Guard, trial).__call__(request, datastore)
            outcome.update(trial._judge())
            if outcome["promoted"]:
                candidate = bundle / "models" / "model.pt.candidate"
                shutil.copyfile(Path(trial.bundle_path, "models", "model.pt"), candidate)
                _sync(candidate)
                outcome.update(weights=_sum(candidate), keep=self.training.keep)
        except NothingToTrain as reason:
            outcome["why"] = str(reason)
        finally:
            shutil.rmtree(trial.bundle_path)
        outcome.update(seconds=round(time.monotonic() - started, 1), at=now())
        if iteration is not None:  # before the promotion, so that one that is killed is completed, not trained again
            self.records.mkdir(parents=True, exist_ok=True)
            write_json(record, outcome)
        finish(bundle, [outcome])
        return outcome

    def _in_scratch(self, scratch: Path) -> Guard:
        """Returns a copy of this trainer on a copy of its bundle."""
        published = Path(self.bundle_path)
        if scratch.exists():  # left by a killed training
            shutil.rmtree(scratch)
        unread = {published / "eval", published / "models" / "previous"}
        shutil.copytree(published, scratch, ignore=lambda at, names: [n for n in names if Path(at, n) in unread])
        if (weights := scratch / "models" / "model.pt").exists():
            os.utime(weights, (0, 0))  # any that the training saves are younger
        trial = copy.copy(self)
        trial.published, trial.bundle_path = published, str(scratch)
        trial.bundle_config_path = str(scratch / "configs" / Path(self.bundle_config_path).name)
        trial.bundle_metadata_path = str(scratch / "configs" / Path(self.bundle_metadata_path).name)
        trial.bundle_config = self._load_bundle_config(trial.bundle_path, trial.bundle_config_path)
        return trial

    def _fetch_datalist(self, request: dict[str, Any], datastore: Any) -> list[Item]:
        datalist: list[Item] = super()._fetch_datalist(request, datastore)
        for item in datalist:
            if isinstance(item["label"], str) and Path(item["label"]).is_file():
                target = Path(self.bundle_path, "labels", f"{Path(item['image']).stem}.png")
                relabel(Path(item["label"]), target, self.labels, self.label_map())
                item["label"] = str(target)
        return datalist

    def _partition_datalist(
        self, datalist: list[Item], request: dict[str, Any], shuffle: bool = False
    ) -> tuple[list[Item], list[Item]]:
        frames = {Path(item["image"]).stem: item for item in datalist}
        if len(frames) < 2:
            raise NothingToTrain("one labelled frame: nothing to validate on" if frames else "no labelled frame")
        path = self.records / "split.json"
        split = divide(frames, read_json(path) or {"training": [], "validation": []}, request["val_split"])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, split)
        train, validate = ([frames[name] for name in split[k] if name in frames] for k in ("training", "validation"))
        if not train or not validate:
            raise NothingToTrain(f"{len(train)} frames to train on and {len(validate)} to validate on: both are needed")
        return train, validate

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[Item]) -> None:
        if pretrained:  # the shipped code fails where it is false
            super()._load_checkpoint(model_pytorch, pretrained, train_handlers)

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        super()._update_overrides(overrides)
        if self.training.batch_size:
            overrides["train#dataloader#batch_size"] = self.training.batch_size
        if "bundle_root" in str(self.bundle_config.get("output_dir", "bundle_root")):
            overrides["output_dir"] = str(self.published / "eval")  # tracking outlives the scratch copy
        early_stop = {
            "_target_": "endolab_loop.training.EarlyStop",
            "evaluator": "@validate#evaluator",
            "patience": self.training.early_stop,
            "progress": str(Path(self.bundle_path, "epochs")),
        }
        # First, because with several GPUs a bundle cuts the last handlers off on all but one, which would not stop.
        overrides[self.const.key_train_handlers()].insert(0, early_stop)
        if str(self.bundle_config.get("train#dataset#_target_")).endswith("CacheDataset"):
            overrides["train#dataset#cache_rate"] = self._cache_rate(overrides)
        self.overrides = overrides
        return overrides

    def _cache_rate(self, overrides: dict[str, Any]) -> float:
        """The share of the frames that are decoded once: all where half of the memory that is left holds them."""
        import torch
        from monai.transforms import Compose, RandomizableTrait

        items = overrides[self.const.key_train_dataset_data()]
        with self._parser() as parser:
            parser.update(overrides)
            transform = Compose(parser.get_parsed_content("train#dataset#transform")).flatten()
            known = "cache_rate" in parser.get("train#dataset")
            bundles_own = parser.get_parsed_content("train#dataset#cache_rate") if known else 1.0
        # What is kept of a frame ends where chance begins.
        chance = transform.get_index_of_first(lambda each: isinstance(each, RandomizableTrait))
        frame = transform(items[0], end=chance)
        size = sum(values.nbytes for values in frame.values() if hasattr(values, "nbytes"))
        processes = max(1, torch.cuda.device_count())  # each with a cache of its own
        return 1.0 if size * len(items) * processes <= ram.left() / 2 else float(bundles_own)

    @contextmanager
    def _parser(self) -> Iterator[Any]:
        """The bundle's config, to be asked for parts of it, which may be of code that it brings."""
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        parser.read_config(self.bundle_config_path)
        parser.read_meta(self.bundle_metadata_path)
        sys.path.insert(0, self.bundle_path)
        try:
            yield parser
        finally:
            sys.path.remove(self.bundle_path)

    def _judge(self) -> dict[str, Any]:
        """Measures the published and the new weights on the same frames; returns what the outcome says of them."""
        import torch

        progress = Path(self.bundle_path, "epochs")
        if not progress.exists():  # MONAI Label only logs it when a process of several GPUs fails
            raise RuntimeError("the training ended before its first epoch; the log says why")
        old, new = (Path(bundle, "models", "model.pt") for bundle in (self.published, self.bundle_path))
        with self._parser() as parser:
            parser.update({**self.overrides, "validate#evaluator#val_handlers": []})  # they would save and log
            evaluator = parser.get_parsed_content("validate#evaluator")
            metric = evaluator.state.key_metric_name

            def measure(weights: Path) -> float:
                state = torch.load(weights, map_location=evaluator.state.device, weights_only=True)
                evaluator.network.load_state_dict(state.get(self.model_dict_key, state), strict=self.load_strict)
                evaluator.run()
                return float(evaluator.state.metrics[metric])

            before = measure(old) if old.exists() else None
            after = measure(new) if new.exists() and new.stat().st_mtime else None
        promoted = after is not None and (before is None or bool(evaluator.metric_cmp_fn(after, before)))
        if after is None:
            why = "not better: the training saved no weights"
        elif before is None:
            why = "there were no weights before"
        else:
            why = f"{metric} {after:.4f} is {'' if promoted else 'not '}better than {before:.4f}"
        return {
            "metric": metric,
            "before": before if before is not None and math.isfinite(before) else None,  # JSON knows no NaN
            "after": after if after is not None and math.isfinite(after) else None,
            "promoted": promoted,
            "training_frames": len(self.overrides[self.const.key_train_dataset_data()]),
            "cached": self.overrides.get("train#dataset#cache_rate", 0.0),
            "validation_frames": len(self.overrides[self.const.key_validate_dataset_data()]),
            "epochs": int(progress.read_text(encoding="ascii")),
            "why": why,
        }


def _promote(candidate: Path, weights: Path, record: dict[str, Any]) -> None:
    """Puts `candidate` in the place of `weights`, and those into previous/; can be repeated when killed in between."""
    stamp = int(time.time())
    if weights.exists():
        stamp = max(stamp, int(weights.stat().st_mtime) + 1)  # scores know the weights by this second
        previous = weights.with_name("previous")
        previous.mkdir(exist_ok=True)
        old = previous / f"model-{datetime.fromisoformat(record['at']):%Y%m%dT%H%M%SZ}.pt"
        old.unlink(missing_ok=True)
        try:
            os.link(weights, old)
        except OSError:  # a file system without hard links
            shutil.copy2(weights, old)
        # Their own times only grow; those in their names follow the clock, which may be set back.
        kept = sorted(previous.glob("model-*.pt"), key=lambda path: path.stat().st_mtime_ns)
        for outdated in kept[: -record["keep"] or None]:
            outdated.unlink()
    os.utime(candidate, (stamp, stamp))
    candidate.replace(weights)
    _sync(weights.parent)


def _sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _sum(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
