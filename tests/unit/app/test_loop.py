"""The loop turns, through every error and every end of the process, without a lost label or a second task."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from endolab_loop.annotators import Annotators
from endolab_loop.cvat import CvatError
from endolab_loop.shapes import Shape
from PIL import Image

from tests.unit.app.worlds import TOOL, CvatTask, Killed, World, full, killed, refused


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def only(tasks: list[CvatTask]) -> CvatTask:
    (task,) = tasks
    return task


def once_round(world: World) -> CvatTask:
    """Up to the open task, which people answer, up to the next open task."""
    world.turns()
    task = only(world.cvat.open())
    world.cvat.annotate(task)
    world.turns()
    return task


def test_thirteen_iterations_in_a_row(tmp_path: Path) -> None:
    world = World(tmp_path, frames=39)
    for _ in range(13):
        once_round(world)
    done = [task.name for task in world.cvat.all.values()]
    assert done == [f"DONE_ActiveLearning_Iteration_{number}" for number in range(1, 14)]
    assert world.lab.trained == list(range(1, 14))
    assert len(world.lab.labels) == 39
    assert world.loop.status["phase"] == "waiting for frames"


def test_the_most_uncertain_frames_are_asked_for_and_recorded(world: World) -> None:
    world.turns()
    scores = {name: world.lab.score_of(name, 0) for name in world.lab.known}
    order = sorted(scores, key=lambda name: (-scores[name], hashlib.sha256(name.encode()).digest()))
    assert only(world.cvat.open()).frames == [f"{name}.png" for name in order[:3]]
    record = json.loads((world.directory / "loop" / "iterations" / "1.json").read_text())
    assert record["chosen"] == {name: scores[name] for name in order[:3]}
    assert record["scores"] == scores


def test_equals_are_chosen_the_same_way_each_time_and_not_as_neighbours(world: World) -> None:
    equals = {f"frame_{number:02}": 0.5 for number in range(9)}
    chosen = list(world.loop.choose(equals))
    assert chosen == list(world.loop.choose(dict(reversed(equals.items()))))
    assert chosen != list(equals)[:3]


def test_a_finished_upload_is_not_made_again(world: World) -> None:
    world.faults.set({})
    world.turns()
    upload = world.faults.seen.index("after upload")
    again = World(world.directory / "again")
    again.faults.set({upload: killed})
    again.turns()
    assert again.faults.seen.count("before make_task") == 1
    assert again.faults.seen.count("before upload") == 1
    assert len(again.cvat.all) == 1


def test_all_frames_are_asked_for_with_a_negative_number(tmp_path: Path) -> None:
    world = World(tmp_path, epistemic_top_k=-1)
    world.turns()
    assert len(only(world.cvat.open()).frames) == 9


@pytest.mark.parametrize("conf", [{"epistemic_top_k": 0}, {"epistemic_enabled": False}])
def test_who_asks_for_nothing_gets_no_task(tmp_path: Path, conf: dict[str, Any]) -> None:
    world = World(tmp_path, **conf)
    world.turns()
    assert world.cvat.all == {}
    assert world.loop.status["phase"] == "not asking"


def test_a_task_is_done_when_all_of_its_jobs_are(world: World) -> None:
    world.turns()
    task = only(world.cvat.open())
    task.completed = set(task.frames[:2])
    world.turns()
    assert world.lab.labels == {}
    assert world.loop.status["task"]["jobs_done"] == 2
    task.completed = set(task.frames)
    world.turns()
    assert len(world.lab.labels) == 3


def test_the_jobs_are_assigned_before_the_task_is_shown_and_when_somebody_leaves(world: World) -> None:
    world.turns()
    assert world.faults.seen.index("after deal") < world.faults.seen.index("before rename open")
    task = only(world.cvat.open())
    assert set(task.assigned.values()) == {11, 12}
    world.annotators = Annotators({"ben": 12}, left=frozenset({11}))
    world.turns()
    assert set(task.assigned.values()) == {12}


def test_without_annotators_nobody_is_assigned(world: World) -> None:
    world.annotators = Annotators()
    world.turns()
    assert only(world.cvat.open()).assigned == {}


def test_an_annotator_whom_cvat_does_not_know_is_said_once(world: World) -> None:
    world.annotators = Annotators({"ann": 11, "nobody": -1})
    for _ in range(3):
        world.turns()
    assert [note["what"] for note in world.loop.status["notes"]] == [
        "CVAT knows no user nobody, to whom jobs were to be assigned; run site.yml again"
    ]


def test_a_frame_without_shapes_is_labelled_and_never_offered_again(world: World) -> None:
    world.turns()
    task = only(world.cvat.open())
    world.cvat.annotate(task, lambda _: [])
    world.turns()
    for frame in task.frames:
        assert not world.lab.labels[frame.removesuffix(".png")].any()
    assert not set(task.frames) & set(only(world.cvat.open()).frames)


def test_a_frame_that_an_annotator_deletes_is_neither_labelled_nor_offered_again(world: World) -> None:
    world.turns()
    task = only(world.cvat.open())
    task.deleted_frames = {task.frames[0]}
    world.cvat.annotate(task)
    world.turns()
    discarded = task.frames[0].removesuffix(".png")
    assert discarded not in world.lab.labels
    assert world.loop.memory.discarded == [discarded]
    for _ in range(2):
        once_round(world)
    assert world.loop.status["phase"] == "waiting for frames"


def test_shapes_that_no_label_image_holds_are_left_out_and_said(world: World) -> None:
    world.turns()
    task = only(world.cvat.open())
    world.cvat.annotate(
        task, lambda _: [*TOOL, Shape("Tool", "points", [1, 1]), Shape("Smoke", "rectangle", [0, 0, 3, 3])]
    )
    world.turns()
    assert all(np.array_equal(label, world.expected(TOOL)) for label in world.lab.labels.values())
    said = " ".join(note["what"] for note in world.loop.status["notes"])
    assert "points Tool, which no label image can hold (found 3)" in said
    assert "rectangle Smoke, which no label image can hold (found 3)" in said


def test_a_shape_that_is_broken_is_named_and_waited_for(world: World) -> None:
    world.turns()
    task = only(world.cvat.open())
    world.cvat.annotate(task, lambda _: [Shape("Tool", "polygon", [1, 1, 5])])
    world.turns()
    assert task.frames[0] in world.loop.status["error"]["what"]
    world.cvat.annotate(task)
    world.turns()
    assert len(world.lab.labels) == 3
    assert world.loop.status["error"] is None


def test_new_frames_are_asked_for_when_none_were_left(tmp_path: Path) -> None:
    world = World(tmp_path, frames=3)
    once_round(world)
    assert world.loop.status["phase"] == "waiting for frames"
    world.lab.known["new"] = None  # type: ignore[assignment]
    world.turns()
    assert only(world.cvat.open()).frames == ["new.png"]


@pytest.mark.parametrize(
    ("mode", "learnt", "suggested"), [("auto", 0, False), ("auto", 1, True), ("always", 0, True), ("never", 1, False)]
)
def test_the_model_suggests_shapes_when_it_has_learnt_enough(
    tmp_path: Path, mode: str, learnt: int, suggested: bool
) -> None:
    world = World(tmp_path, cvat_preannotate=mode)
    world.turns()
    for _ in range(learnt):
        once_round(world)
    task = only(world.cvat.open())
    assert task.shapes == (dict.fromkeys(task.frames, TOOL) if suggested else {})


def test_weights_that_did_not_get_better_count_by_what_they_reached_before(world: World) -> None:
    world.lab.records[1] = [{"model": "tooltracking", "before": 0.4, "after": 0.9, "promoted": False}]
    once_round(world)
    assert world.loop.memory.learnt == 0.4


def test_numbers_go_on_behind_tasks_that_are_there_already(world: World) -> None:
    world.cvat.make_project()
    for number, name in enumerate(("DONE_ActiveLearning_Iteration_9", "DONE_ActiveLearning_Iteration_10"), start=100):
        world.cvat.all[number] = CvatTask(number, name, ["old.png"])
    world.turns()
    assert only(world.cvat.open()).name == "ActiveLearning_Iteration_11"


def test_an_open_task_of_before_is_taken_over(world: World) -> None:
    world.cvat.make_project()
    world.cvat.all[7] = CvatTask(7, "ActiveLearning_Iteration_3", ["frame_01.png", "elsewhere.png"])
    world.turns()
    assert only(world.cvat.open()).id == 7
    world.cvat.annotate(world.cvat.all[7])
    world.turns()
    assert set(world.lab.labels) == {"frame_01"}
    assert world.lab.trained == [3]


def test_an_open_task_without_frames_stops_nobody(world: World) -> None:
    world.cvat.make_project()
    world.cvat.all[7] = CvatTask(7, "ActiveLearning_Iteration_1")
    world.turns()
    assert {task.name for task in world.cvat.open()} == {"ActiveLearning_Iteration_1", "ActiveLearning_Iteration_2"}


def test_a_task_that_is_deleted_by_hand_is_asked_for_again_under_another_number(world: World) -> None:
    world.turns()
    first = only(world.cvat.open())
    del world.cvat.all[first.id]
    world.turns()
    again = only(world.cvat.open())
    assert again.name == "ActiveLearning_Iteration_2"
    assert again.frames == first.frames


def test_a_project_that_is_deleted_by_hand_is_made_again(world: World) -> None:
    world.turns()
    world.cvat.all, world.cvat.made = {}, None
    world.turns()
    assert only(world.cvat.open()).name == "ActiveLearning_Iteration_2"


def test_a_frame_that_the_model_cannot_see_goes_without_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, cvat_preannotate="always")
    monkeypatch.setattr(world.lab, "predict", lambda _: 1 / 0)
    world.turns()
    assert not any(only(world.cvat.open()).shapes.values())
    assert "no suggestion for frame_" in world.loop.status["notes"][-1]["what"]


def test_chosen_frames_that_are_gone_are_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(world.cvat, "make_task", lambda *_: refused())
        world.turns()
    assert world.loop.memory.batch
    gone = set(world.loop.memory.batch.frames)
    for name in gone:
        del world.lab.known[name]
    world.turns()
    asked = {frame.removesuffix(".png") for frame in only(world.cvat.open()).frames}
    assert len(asked) == 3
    assert not gone & asked


@pytest.mark.parametrize("damage", ["", "{", "null", "[]"])
def test_a_lost_memory_is_made_anew(world: World, damage: str) -> None:
    once_round(world)
    (world.directory / "loop" / "memory.json").write_text(damage)
    world.restart()
    world.turns()
    assert only(world.cvat.open()).name == "ActiveLearning_Iteration_2"
    assert world.lab.trained == [1]


def test_scoring_does_not_wait_for_cvat(world: World) -> None:
    world.cvat.down = True
    world.turns()
    assert len(world.lab.scored) == 9
    assert world.loop.status["error"]["what"] == "CVAT does not answer"
    world.cvat.down = False
    world.turns()
    assert only(world.cvat.open())
    assert world.loop.status["error"] is None


def test_an_error_is_logged_once_and_counted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.cvat.down = True
    for _ in range(5):
        world.turn()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "CVAT does not answer: wait"
    ]
    assert world.loop.status["error"]["times"] == 5
    assert world.loop.status["phase"] == "retrying"


def test_an_error_of_a_later_call_stays_until_the_whole_step_succeeds(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown = []

    def upload(*_: Any) -> None:
        shown.append(world.loop.status["error"])
        raise CvatError("CVAT does not take in the frames", "see its workers")

    with monkeypatch.context() as patches:
        patches.setattr(world.cvat, "upload", upload)
        for _ in range(3):
            world.turn()
    assert [error and error["times"] for error in shown] == [None, 1, 2]
    assert [record.levelname for record in caplog.records if "take in the frames" in record.getMessage()] == ["ERROR"]
    world.turns()
    assert world.loop.status["error"] is None
    assert only(world.cvat.open())


def test_labels_that_are_there_keep_their_numbers(world: World) -> None:
    world.turns()
    world.cvat.annotate(only(world.cvat.open()))
    world.turns()
    drawn = world.conf.label_map
    assert world.loop.memory.labels == drawn
    labels = world.conf.cvat_labels
    for others in ([{"name": "Clip"}, *labels], [*labels[:1], {"name": "Clip"}], labels[::-1]):
        world.conf = world.conf.model_copy(update={"cvat_labels": others})
        world.restart()
        world.turn()
        assert "another number" in world.loop.status["error"]["what"]
    world.conf = world.conf.model_copy(update={"cvat_labels": [*labels, {"name": "Clip"}]})
    world.restart()
    world.turns()
    assert world.loop.status["error"] is None


def test_a_task_with_the_number_of_one_that_was_collected_is_another(world: World) -> None:
    world.turns()
    world.cvat.annotate(only(world.cvat.open()))
    world.turns()
    collected = world.loop.memory.collected
    assert collected is not None
    world.cvat.all.clear()
    world.cvat.made = None
    world.cvat.numbers = collected - 2  # the project comes before it
    world.turns()
    (task,) = world.cvat.open()
    assert task.id == collected
    world.turn()
    assert only(world.cvat.open()) is task


def test_an_unforeseen_error_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.cvat, "tasks", lambda _: 1 / 0)
    world.turns()
    assert world.loop.status["error"]["what"] == "ZeroDivisionError: division by zero"
    monkeypatch.undo()
    world.turns()
    assert only(world.cvat.open())


def test_a_training_that_keeps_failing_is_given_up_and_the_loop_goes_on(world: World) -> None:
    world.lab.failing = 3
    world.turns()
    world.cvat.annotate(only(world.cvat.open()))
    for _ in range(5):
        world.turn()
    assert world.lab.trained == []
    assert "was given up (the training failed)" in world.loop.status["notes"][-1]["what"]
    world.turns()
    assert only(world.cvat.open()).name == "ActiveLearning_Iteration_2"
    world.cvat.annotate(only(world.cvat.open()))
    world.turns()
    assert world.lab.trained == [2]


def test_the_status_is_a_file_for_the_health_check(world: World) -> None:
    world.turns()
    shown = json.loads((world.directory / "loop" / "status.json").read_text())
    assert shown == world.loop.status
    assert shown["phase"] == "annotating"
    assert shown["frames"] == {"total": 9, "labelled": 0, "scored": 9, "unreadable": 0, "discarded": 0}
    assert shown["task"]["url"] == f"http://cvat.example/tasks/{shown['task']['id']}"


def effects_of_a_round(directory: Path) -> list[str]:
    """Everything that happens in the first round, in order."""
    world = World(directory, cvat_preannotate="always")
    once_round(world)
    return world.faults.seen


def check_the_end(world: World, task_names: set[str]) -> None:
    """Three rounds are over and nothing is lost or doubled."""
    assert {task.name for task in world.cvat.all.values()} == task_names
    assert len(world.lab.labels) == 9
    assert all(np.array_equal(label, world.expected(TOOL)) for label in world.lab.labels.values())
    assert world.lab.trained == [1, 2, 3]
    assert world.loop.status["phase"] == "waiting for frames"
    assert world.loop.status["error"] is None


@pytest.mark.parametrize("fault", [killed, refused, full], ids=["killed", "refused", "full"])
def test_whatever_is_broken_off_is_made_whole(tmp_path_factory: pytest.TempPathFactory, fault: object) -> None:
    """The process ends, CVAT fails or a disk is full, before and after each effect of a round: it ends the same."""
    effects = effects_of_a_round(tmp_path_factory.mktemp("reference"))
    assert len(effects) > 40
    names = {f"DONE_ActiveLearning_Iteration_{number}" for number in (1, 2, 3)}
    for number in range(len(effects)):
        world = World(tmp_path_factory.mktemp("broken"), cvat_preannotate="always")
        world.faults.set({number: fault})  # type: ignore[dict-item]
        for _ in range(16):
            while not world.turn():
                pass
            for task in world.cvat.open():
                world.cvat.annotate(task)
        assert number < len(world.faults.seen), "the fault has come"
        check_the_end(world, names)


def test_a_killed_loop_is_what_these_tests_think(world: World) -> None:
    """The end of the process is no error that the loop could handle."""
    world.faults.set({0: killed})
    with pytest.raises(Killed):
        world.loop.turn()
    assert not issubclass(Killed, Exception)
    assert issubclass(CvatError, Exception)


def test_what_a_batch_shows_has_pictures_and_what_is_over_has_none(tmp_path: Path) -> None:
    world = World(tmp_path, frames=6)
    world.lab.directory = tmp_path
    for name in world.lab.known:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
        world.loop.pictures.heat(name, 0.1, np.zeros((8, 8), np.float32))
    once_round(world)
    batch = {Path(file).stem for file in only(world.cvat.open()).frames}
    assert {path.stem for path in world.loop.pictures.thumbnails.iterdir()} == batch
    assert {path.stem for path in world.loop.pictures.heat_maps.iterdir()} == batch
