"""A training publishes better weights only, exactly once, and never validates on what it has seen."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from endolab_loop import training
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.app.conftest import Scenario, found_in_image

EMPTY: dict[str, list[str]] = {"training": [], "validation": []}

# ---- inside MONAI Label's image


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return found_in_image("training_in_image.py")


def test_better_weights_replace_the_old_ones_which_are_kept(scenario: Scenario) -> None:
    result = scenario("better_then_worse")
    better = result["outcomes"][0]
    start, promoted, _ = result["states"]
    assert better["promoted"]
    assert 0 < better["before"] < 0.2 < 0.8 < better["after"] < 1
    assert better["metric"] == "val_mean_dice"
    assert (better["training_frames"], better["validation_frames"], better["epochs"]) == (5, 1, 2)
    assert promoted["sum"] == better["weights"] != start["sum"]
    assert list(promoted["previous"].values()) == [start["sum"]]
    assert promoted["time"] // 10**9 > start["time"] // 10**9
    assert promoted["folders"] == ["endoscopic_tool_segmentation"]
    assert not promoted["candidate"]


def test_an_iteration_is_trained_once(scenario: Scenario) -> None:
    result = scenario("better_then_worse")
    better, again, _ = result["outcomes"]
    assert again == better == result["records"]["1-tooltracking.json"]


def test_worse_weights_leave_the_model_as_it_is(scenario: Scenario) -> None:
    result = scenario("better_then_worse")
    better, _, worse = result["outcomes"]
    assert worse["before"] == better["after"]  # measured twice, from a file with weights only, on the same frames
    assert worse["after"] < worse["before"]
    assert not worse["promoted"]
    assert "not better than" in worse["why"]
    assert result["states"][2] == result["states"][1]


def test_settings_arrive(scenario: Scenario) -> None:
    result = scenario("better_then_worse")
    assert result["config"] == {"max_epochs": 2, "val_split": 0.2, "pretrained": True}
    assert result["batches"] == [3, 3]  # 5 frames in twos, twice
    assert 2 <= result["outcomes"][2]["epochs"] < 8  # of 8, stopped early


def test_frames_are_decoded_once_where_memory_holds_them(scenario: Scenario) -> None:
    result = scenario("decoded")
    room, tight = result["room"], result["tight"]
    assert (room["cached"], tight["cached"]) == (1.0, 0.4)
    # Three of the five that train are decoded in each of three epochs, instead of once.
    assert tight["loads"] - room["loads"] == 3 * 3 - 3


def test_a_training_killed_before_the_rename_is_promoted_once(scenario: Scenario) -> None:
    result = scenario("killed")
    start, dead, finished, finished_again = result["states"]
    assert result["record"]["promoted"]
    assert (dead["sum"], dead["time"], dead["candidate"]) == (start["sum"], start["time"], True)
    assert finished["sum"] == result["record"]["weights"]
    assert list(finished["previous"].values()) == [start["sum"]]
    assert not finished["candidate"]
    assert finished_again == finished


def test_a_frame_stays_where_it_is_while_frames_are_added(scenario: Scenario) -> None:
    result = scenario("splits")
    sizes = [(len(train), len(validate)) for train, validate in result["parts"]]
    assert sizes == [(3, 1), (7, 2), (9, 3)]
    for (train, validate), (next_train, next_validate) in zip(result["parts"], result["parts"][1:], strict=False):
        assert set(train) <= set(next_train)
        assert set(validate) <= set(next_validate)
        assert not set(next_train) & set(next_validate)


def test_too_few_frames_are_said_and_no_error(scenario: Scenario) -> None:
    none, one, *_ = scenario("splits")["outcomes"]
    assert none["why"] == "no labelled frame"
    assert one["why"] == "one labelled frame: nothing to validate on"
    assert not one["promoted"]


def test_a_training_that_saves_nothing_changes_nothing(scenario: Scenario) -> None:
    result = scenario("splits")
    assert result["outcomes"][-1]["why"] == "not better: the training saved no weights"
    assert result["outcomes"][-1]["after"] is None
    assert result["states"][0] == result["states"][1]


def test_a_second_class_does_not_erase_the_first(scenario: Scenario) -> None:
    assert scenario("two_classes")["outcome"]["before"] > 0.8  # good weights find the instruments of the labels


def test_a_model_may_begin_without_weights(scenario: Scenario) -> None:
    result = scenario("no_weights")
    assert result["outcome"]["before"] is None
    assert result["outcome"]["promoted"]
    assert result["state"]["sum"] == result["outcome"]["weights"]
    assert result["state"]["previous"] == {}


def test_what_a_request_says_wins(scenario: Scenario) -> None:
    result = scenario("no_weights")
    assert (result["outcome"]["training_frames"], result["outcome"]["validation_frames"]) == (3, 3)
    assert result["records"] == ["split.json"]  # without an iteration there is no record of it


def test_tracking_outlives_the_scratch_copy(scenario: Scenario) -> None:
    assert scenario("tracked")["eval"] == [".db", ".json"]


def test_a_training_in_another_process_is_judged_and_stopped_too(scenario: Scenario) -> None:
    outcome = scenario("other_process")["outcome"]
    assert 2 <= outcome["epochs"] < 8
    assert outcome["after"] < outcome["before"]
    assert not outcome["promoted"]


def test_a_training_that_has_not_begun_is_an_error(scenario: Scenario) -> None:
    result = scenario("no_epoch")
    assert result["error"] == "the training ended before its first epoch; the log says why"
    assert result["records"] == ["split.json"]


def test_what_is_no_number_is_not_better(scenario: Scenario) -> None:
    result = scenario("no_number")
    assert not result["outcome"]["promoted"]
    assert (result["outcome"]["before"], result["outcome"]["after"]) == (None, None)
    assert result["states"][0] == result["states"][1]


# ---- without torch


class Trainer:
    """What a guard needs of MONAI Label's trainer; each training writes other weights."""

    const = SimpleNamespace(key_train_handlers=lambda: "train#handlers")

    def __init__(self, bundle: Path) -> None:
        self.bundle_path = str(bundle)
        self.bundle_config_path = str(bundle / "configs" / "train.json")
        self.bundle_metadata_path = str(bundle / "configs" / "metadata.json")

    def _load_bundle_config(self, path: str, config: str) -> None:
        pass

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        self.train()  # type: ignore[attr-defined]
        return {}


class Lab:
    """A bundle whose trainings are as good as they are told to be."""

    def __init__(self, folder: Path, **conf: Any) -> None:
        self.bundle = folder / "model" / "bundle"
        self.weights = self.bundle / "models" / "model.pt"
        self.candidate = self.weights.with_name("model.pt.candidate")
        self.records = folder / "records"
        self.trainings = folder / "trainings"
        self.promoted = True
        (self.bundle / "configs").mkdir(parents=True)
        self.weights.parent.mkdir()
        self.weights.write_text("old")
        os.utime(self.weights, (1_700_000_000.5, 1_700_000_000.5))
        self.guarded = training.guard(Trainer(self.bundle), {}, dict, training.TrainingConf(**conf), self.records)
        self.guarded.train = self._train

    def _train(self) -> None:
        number = len(self.trained()) + 1
        Path(self.bundle.parent, ".training-bundle", "models", "model.pt").write_text(f"new {number}")
        with self.trainings.open("a") as file:
            file.write(f"{number}\n")

    def trained(self) -> list[str]:
        return self.trainings.read_text().split() if self.trainings.exists() else []

    def train(self, iteration: int, **request: Any) -> dict[str, Any]:
        outcome: dict[str, Any] = self.guarded({"model": "tool", "iteration": iteration, **request}, None)
        return outcome

    def previous(self) -> list[str]:
        return [path.read_text() for path in sorted(self.weights.parent.glob("previous/*"))]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab(tmp_path, keep=2)
    monkeypatch.setattr(training.Guard, "_judge", lambda self: {"promoted": made.promoted, "why": "told so"})
    return made


def killed_before(step: int, action: Callable[[], object]) -> bool:
    """Runs `action` in a process that ends, as by SIGKILL, before its change number `step` of the file system."""
    child = os.fork()
    if not child:
        steps = count(1)

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa+")
            changes = event in {"os.rename", "os.link", "os.utime", "os.remove", "os.mkdir", "os.rmdir"}
            if (writes or changes) and next(steps) == step:
                os._exit(9)

        sys.addaudithook(watch)
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("restart", ["trains", "finishes"])
def test_a_kill_before_any_change_of_the_disk_promotes_once(restart: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.Guard, "_judge", lambda self: {"promoted": True, "why": "told so"})
    for step in count(1):
        with tempfile.TemporaryDirectory() as folder:
            lab = Lab(Path(folder))
            died = killed_before(step, lambda lab=lab: lab.train(1))  # type: ignore[misc]
            record = lab.records / "1-tool.json"
            recorded, trained = record.exists(), len(lab.trained())
            assert lab.weights.read_text() in {"old", "new 1"}, step
            assert recorded or lab.weights.read_text() == "old", step
            if restart == "trains" or not recorded:
                lab.train(1)
            else:
                training.finish(lab.bundle, [json.loads(record.read_text())])
            assert len(lab.trained()) == trained + (not recorded), step
            assert lab.weights.read_text() == f"new {len(lab.trained())}", step
            assert lab.previous() == ["old"], step
            assert int(lab.weights.stat().st_mtime) > 1_700_000_000, step
            assert not lab.candidate.exists(), step
            assert [path.name for path in lab.bundle.parent.iterdir()] == ["bundle"] or recorded, step
        if not died:
            break
    assert step > 20


def test_a_killed_promotion_comes_before_the_next_training(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_promote", lambda *_: sys.exit())
    with pytest.raises(SystemExit):
        lab.train(1)
    monkeypatch.undo()
    monkeypatch.setattr(training.Guard, "_judge", lambda self: {"promoted": False, "why": "told so"})
    assert lab.weights.read_text() == "old"
    lab.train(2)
    assert lab.weights.read_text() == "new 1"
    assert lab.previous() == ["old"]


def test_a_candidate_that_the_record_does_not_announce_is_removed(lab: Lab) -> None:
    """It may be cut, or come from a training that left no record."""
    lab.candidate.write_text("new")
    record = {"promoted": True, "weights": "of others", "at": "2026-01-01T00:00:00+00:00", "keep": 1}
    training.finish(lab.bundle, [record])
    assert lab.weights.read_text() == "old"
    assert not lab.candidate.exists()


def test_a_training_that_is_not_better_does_not_touch_the_model(lab: Lab) -> None:
    lab.promoted = False
    before = lab.weights.stat()
    lab.train(1)
    after = lab.weights.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
    assert sorted(path.name for path in lab.weights.parent.iterdir()) == ["model.pt"]


@pytest.mark.parametrize(("keep", "left"), [(0, []), (1, ["new 3"]), (2, ["new 2", "new 3"]), (9, ["old", "new 1"])])
def test_only_so_many_weights_are_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch, keep: int, left: list[str]) -> None:
    hours = count()
    monkeypatch.setattr(training, "now", lambda: f"2026-01-01T{next(hours):02}:00:00+00:00")
    lab.guarded.training = training.TrainingConf(keep=keep)
    times = {int(lab.weights.stat().st_mtime)}
    for iteration in range(1, 5):
        lab.train(iteration)
        times.add(int(lab.weights.stat().st_mtime))
    assert lab.previous()[: len(left) or None] == left
    assert len(lab.previous()) == min(keep, 4)
    assert len(times) == 5  # also within one second


def test_a_clock_that_is_set_back_costs_no_weights(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for iteration, month in enumerate(("03", "02", "01"), 1):
        monkeypatch.setattr(training, "now", lambda month=month: f"2026-{month}-01T00:00:00+00:00")
        lab.train(iteration)
    assert set(lab.previous()) == {"new 1", "new 2"}


def test_a_promotion_that_was_killed_is_completed_after_a_clock_was_set_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.train(1)
    monkeypatch.setattr(training, "_promote", lambda *_: sys.exit())
    with pytest.raises(SystemExit):
        lab.train(2)
    monkeypatch.undo()
    monkeypatch.setattr(training.Guard, "_judge", lambda self: {"promoted": False, "why": "told so"})
    later = lab.records.stat().st_mtime + 40 * 86400
    os.utime(lab.records / "1-tool.json", (later, later))
    lab.train(3)
    assert lab.weights.read_text() == "new 2"


@pytest.mark.parametrize("share", [0, 1, -1, 1.5])
def test_a_share_that_leaves_nothing_is_refused(lab: Lab, share: float) -> None:
    with pytest.raises(ValueError, match=f"val_split is {share}; it must lie between 0 and 1"):
        lab.train(1, val_split=share)


def test_an_iteration_is_no_path(lab: Lab) -> None:
    with pytest.raises(ValueError, match="must not hold a slash"):
        lab.guarded({"model": "tool", "iteration": "../../1"}, None)


@given(st.lists(st.sets(st.text(min_size=1), max_size=20), max_size=5), st.floats(0.01, 0.99))
def test_every_frame_has_its_place_for_ever(batches: list[set[str]], share: float) -> None:
    split, labelled = EMPTY, set[str]()
    for batch in batches:
        labelled |= batch
        if len(labelled) < 2:
            continue
        grown = training.divide(labelled, split, share)
        assert sorted(grown["training"] + grown["validation"]) == sorted(labelled)
        assert all(set(split[part]) <= set(grown[part]) and grown[part] for part in EMPTY)
        assert training.divide(sorted(labelled), grown, share) == grown
        known = len(split["validation"])
        possible = len(labelled) - max(1, len(split["training"]))  # one must be trained on
        assert len(grown["validation"]) == max(known, min(max(1, round(share * len(labelled))), possible))
        split = grown


def test_frames_that_are_gone_do_not_count() -> None:
    known = {"training": ["a", "b"], "validation": ["c"]}
    grown = training.divide(["d", "e"], known, 0.5)
    assert (len(grown["training"]), len(grown["validation"])) == (3, 2)


def relabelled(folder: Path, pixels: list[Any], labels: dict[str, int], values: dict[str, int]) -> list[list[int]]:
    source, target = folder / "label.png", folder / "labels" / "frame.png"
    Image.fromarray(np.array(pixels, np.uint8)).save(source)
    training.relabel(source, target, labels, values)
    with Image.open(target) as image:
        assert image.mode == "L"
        written: list[list[int]] = np.asarray(image).tolist()
    return written


def test_labels_get_the_numbers_of_the_model(tmp_path: Path) -> None:
    values = {"Tool": 1, "InBody": 2, "OutBody": 3}
    pixels = [[0, 1, 2], [3, 3, 255]]
    assert relabelled(tmp_path, pixels, {"Tool": 1}, values) == [[0, 1, 0], [0, 0, 0]]
    assert relabelled(tmp_path, pixels, {"OutBody": 1, "Tool": 2}, values) == [[0, 2, 0], [1, 1, 0]]


def test_a_class_that_the_lab_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the model learns Vessel, and the labels are Tool"):
        relabelled(tmp_path, [[0, 1]], {"Vessel": 1}, {"Tool": 1})


def test_labels_in_colours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has colours"):
        relabelled(tmp_path, [[[102, 255, 102]]], {"Tool": 1}, {"Tool": 1})
