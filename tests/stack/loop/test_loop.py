"""Iterations in a row on real MONAI Label, through what happens to a lab; the tests follow on each other.

`make test` takes five iterations, and `make test-long` fifteen, with outages between them.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import docker
import numpy as np
import pytest
from docker.models.containers import Container
from PIL import Image

from tests.stack.archive import Scribe, known_to_cvat, sums
from tests.stack.common import SERVICES, healthy, wait_until
from tests.stack.lab import STUDIES, Lab

ITERATIONS = 13

Play = Callable[..., subprocess.CompletedProcess[str]]


def moment(text: str | None) -> datetime:
    """A time that the loop shows; long ago where it shows none."""
    return datetime.fromisoformat(text or "2000-01-01T00:00:00+00:00")


@contextmanager
def outage(lab: Lab, container: Container, begin: str, end: str) -> Iterator[None]:
    """CVAT, or what it needs, is away; at the end it answers again."""
    getattr(container, begin)()
    try:
        yield
    finally:
        getattr(container, end)()
        wait_until(lab.answers, 120, "CVAT answers")


def check_choice(lab: Lab, iteration: int, size: int) -> None:
    """The frames in CVAT are the true top K of the scores that MONAI Label has stored."""
    record = lab.file(f"loop/iterations/{iteration}.json")
    stored = {
        name: entry["image"]["info"].get("epistemic_entropy")
        for name, entry in lab.file("datastore_v2.json")["objects"].items()
        if "final" not in entry["labels"]
    }
    assert record["scores"] == stored
    least = sorted(stored.values())[-size:]
    assert sorted(record["chosen"].values()) == least
    frames = {frame.name.removesuffix(".png") for frame in lab.task(iteration).get_frames_info()}
    assert frames == set(record["chosen"])


def check_that_all_jobs_count(lab: Lab, iteration: int, size: int) -> None:
    """All jobs but one are not all jobs, on whichever page of the list that one is."""
    annotator, task = lab.annotator(), lab.task(iteration)
    _, *others = annotator.open_jobs(task)
    assert len(others) == size - 1
    annotator.answer(task, others)
    seen = lab.wait(20, "all jobs but one are done", lambda loop: loop["task"]["jobs_done"] == size - 1)["polled_at"]
    loop = lab.wait(20, "another poll", lambda loop: loop["polled_at"] > seen)
    assert loop["phase"] == "annotating"
    assert loop["task"]["name"] == f"ActiveLearning_Iteration_{iteration}"


def set_top_k(play: Play, variables: dict[str, Any], top_k: int) -> None:
    """As an operator changes it; the server is started anew."""
    conf = {**variables["monailabel_conf"], "epistemic_top_k": top_k}
    done = play("site.yml", "-e", json.dumps({"monailabel_conf": conf}))
    assert done.returncode == 0, done.stdout


def test_the_first_task_has_twelve_frames(lab: Lab) -> None:
    lab.annotating(1)
    check_choice(lab, 1, 12)


def test_a_task_of_twelve_is_done_when_all_of_it_is(lab: Lab, play: Play, variables: dict[str, Any]) -> None:
    check_that_all_jobs_count(lab, 1, 12)
    set_top_k(play, variables, 25)
    lab.answer()
    loop = lab.annotating(2)
    assert loop["frames"]["labelled"] == 12
    assert [record["iteration"] for record in loop["training"]] == [1]


def test_a_task_has_suggestions(lab: Lab) -> None:
    """Of the second's frames; the first's twelve may all show what the model has never seen."""
    shapes = lab.task(2).get_annotations().shapes
    assert {str(shape.source) for shape in shapes} == {"auto"}


def test_labels_are_what_was_drawn(lab: Lab) -> None:
    annotator = lab.annotator()
    for frame in lab.file("loop/iterations/1.json")["chosen"]:
        label = lab.host.file(f"{STUDIES}/labels/final/{frame}.png").content
        with Image.open(io.BytesIO(label)) as image:
            assert np.array_equal(np.asarray(image), annotator.draw(f"{frame}.png").astype(np.uint8))


def test_a_task_of_twenty_five_is_done_when_all_of_it_is(lab: Lab, play: Play, variables: dict[str, Any]) -> None:
    check_choice(lab, 2, 25)
    check_that_all_jobs_count(lab, 2, 25)
    set_top_k(play, variables, 1)
    lab.answer()
    assert lab.annotating(3)["frames"]["labelled"] == 37


def test_an_archive_is_made_while_people_annotate(lab: Lab, play: Play, kept: Path) -> None:
    lab.annotating(3)
    with Scribe(lab.annotator().client, min(lab.masks.iterdir())) as scribe:
        before = scribe.written
        done = play("playbooks/backup.yml")
        after = scribe.written
    assert done.returncode == 0, done.stdout
    assert after - before > 20
    assert scribe.longest < 10
    print(f"{after - before} writes while the archive was made, the slowest took {scribe.longest:.2f} s")
    state = {"writes": [before, after], "files": sums(lab.host), "cvat": known_to_cvat(lab.annotator().client)}
    kept.write_text(json.dumps(state), encoding="utf-8")


@pytest.mark.long
def test_a_door_that_is_shut_while_people_annotate(lab: Lab, containers: dict[str, Container]) -> None:
    with outage(lab, containers["endolab-edge"], "stop", "start"):
        assert "does not answer" in lab.broken()["error"]["what"]
    lab.turns_again()
    check_choice(lab, 3, 1)
    lab.answer()
    lab.annotating(4)


@pytest.mark.long
def test_errors_of_cvat_when_labels_are_due(lab: Lab, containers: dict[str, Container]) -> None:
    containers["monailabel"].pause()
    lab.answer()
    with outage(lab, containers["cvat-db-1"], "stop", "start"):
        containers["monailabel"].unpause()
        assert "see that all of its services run" in lab.broken()["error"]["remedy"]
    lab.annotating(5)


@pytest.mark.long
def test_a_cvat_that_hangs_when_the_next_task_is_due(lab: Lab, containers: dict[str, Container]) -> None:
    lab.answer()
    lab.wait(60, "a training", lambda loop: loop["phase"] == "training")
    with outage(lab, containers["cvat-server-1"], "pause", "unpause"):
        assert "does not answer" in lab.broken()["error"]["what"]
    lab.turns_again()
    lab.annotating(6)


@pytest.mark.long
def test_a_cvat_that_is_killed_in_an_upload(lab: Lab, containers: dict[str, Container]) -> None:
    lab.answer()
    lab.wait(300, "an upload", lambda loop: loop["phase"] == "uploading" and loop["iteration"] == 7)
    with outage(lab, containers["cvat-server-1"], "kill", "start"):
        lab.broken()
    lab.annotating(7)
    assert lab.task(7).size == 1


def test_a_kill_in_training(lab: Lab) -> None:
    iteration = lab.loop()["iteration"]
    lab.answer()
    lab.wait(60, "a training", lambda loop: loop["phase"] == "training")
    lab.host.check_output("pkill -9 -f 'monailabel.main start_serve[r]'")
    lab.annotating(iteration + 1)
    assert lab.file(f"loop/trainings/{iteration}-tooltracking.json")["iteration"] == iteration


@pytest.mark.long
def test_a_restart_of_everything_with_the_memory_lost(
    lab: Lab, host_container: Container, engine: docker.DockerClient
) -> None:
    """Behind a dozen newer projects, where only somebody who reads every page finds the lab's own."""
    client = lab.annotator().client
    client.login(lab.service)
    for number in range(12):
        client.projects.create({"name": f"newer {number}"})
    engine.containers.get("monailabel").stop()
    lab.host.check_output("rm %s", f"{STUDIES}/loop/memory.json")
    engine.containers.get("monailabel").start()
    engine.close()
    begun = datetime.now(timezone.utc)
    host_container.restart(timeout=60)
    wait_until(lambda: lab.host.run("docker info").rc == 0, 120, "the engine")
    lab.wait(300, "the loop has seen CVAT", lambda loop: moment(loop["polled_at"]) > begun)
    wait_until(lab.answers, 60, "CVAT answers")
    lab.annotating(8)
    assert len([each for each in lab.annotator().client.projects.list() if each.name == "MONAILabel"]) == 1


@pytest.mark.long
def test_the_rest_of_thirteen_iterations(lab: Lab) -> None:
    for iteration in range(8, ITERATIONS + 1):
        lab.annotating(iteration)
        check_choice(lab, iteration, 1)
        lab.answer()
    lab.annotating(ITERATIONS + 1)


def test_nothing_was_lost_or_done_twice(lab: Lab) -> None:
    iteration = lab.loop()["iteration"]
    tasks = lab.annotator().client.tasks.list()
    done = {f"DONE_ActiveLearning_Iteration_{number}" for number in range(1, iteration)}
    assert {task.name for task in tasks} == done | {f"ActiveLearning_Iteration_{iteration}"}
    asked = [frame.name for task in tasks for frame in task.get_frames_info()]
    assert len(asked) == len(set(asked)) == 12 + 25 + iteration - 2
    assert lab.loop()["frames"]["labelled"] == len(asked) - 1
    records = [name for name in lab.host.file(f"{STUDIES}/loop/trainings").listdir() if name != "split.json"]
    assert sorted(records) == sorted(f"{number}-tooltracking.json" for number in range(1, iteration))


def test_no_training_left_the_model_worse(lab: Lab) -> None:
    for iteration in range(1, lab.loop()["iteration"]):
        record = lab.file(f"loop/trainings/{iteration}-tooltracking.json")
        assert record["promoted"] == (record["after"] is not None and record["after"] > (record["before"] or 0))


def test_a_task_that_somebody_deletes_is_asked_for_again(lab: Lab) -> None:
    iteration = lab.loop()["iteration"]
    (frame,) = lab.task(iteration).get_frames_info()
    lab.task(iteration).remove()
    lab.annotating(iteration + 1)
    assert lab.task(iteration + 1).get_frames_info() == [frame]


@pytest.mark.long
def test_when_all_is_labelled_the_loop_waits_for_frames(lab: Lab) -> None:
    lab.answer()
    lab.wait(60, "no frames left", lambda loop: loop["phase"] == "waiting for frames" and loop["healthy"])


def test_everything_is_healthy(engine: docker.DockerClient) -> None:
    wait_until(lambda: healthy(engine) == SERVICES, 120, "every container healthy")
