"""Thirteen iterations in a row on real MONAI Label, through what happens to a lab; the tests follow on each other."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import docker
import inputs
import numpy as np
import pytest
from annotator import Annotator, truth_in
from cvat_sdk import Client
from cvat_sdk.core.proxies.tasks import Task
from docker.models.containers import Container
from PIL import Image
from testinfra.host import Host

from tests.stack.common import SERVICES, healthy, wait_until

MASKS = inputs.frames(49) / "masks"
CVAT = "http://127.0.0.1:18080"
STUDIES = "/srv/endolab/datasets/images"
INTERVAL = 2
ITERATIONS = 13

Play = Callable[..., subprocess.CompletedProcess[str]]


class Lab:
    """The deployed lab, and the person who annotates in it."""

    def __init__(self, host: Host, variables: dict[str, Any]) -> None:
        self.host = host
        self.account = (variables["cvat_admin_username"], variables["cvat_admin_password"])
        self.service = (variables["cvat_service_username"], variables["cvat_service_password"])

    def loop(self) -> dict[str, Any]:
        """What the server shows of its loop; what it showed last while it does not answer."""
        answer = self.host.run(
            "curl -fsS --max-time 5 http://127.0.0.1:18000/loop || cat %s", f"{STUDIES}/loop/status.json"
        )
        shown: dict[str, Any] = json.loads(answer.stdout)
        return shown

    def wait(self, seconds: float, what: str, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Waits until the loop's status is as `condition` wants it."""
        seen: dict[str, Any] = {}

        def holds() -> bool:
            seen.update(self.loop())
            return bool(condition(seen))

        try:
            wait_until(holds, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the loop shows {seen}") from None
        return seen

    def annotating(self, iteration: int) -> dict[str, Any]:
        """Waits until a task of this iteration is open, with nothing wrong."""

        def is_open(loop: dict[str, Any]) -> bool:
            return bool(loop["phase"] == "annotating" and loop["iteration"] == iteration and not loop["error"])

        return self.wait(300, f"iteration {iteration} is open", is_open)

    def broken(self) -> dict[str, Any]:
        """Waits until the loop has seen that something is wrong."""
        return self.wait(300, "the loop sees it", lambda loop: loop["error"])

    def annotator(self) -> Annotator:
        client = Client(CVAT, check_server_version=False)
        client.login(self.account)
        return Annotator(client, truth_in(MASKS))

    def task(self, iteration: int) -> Task:
        (task,) = [
            task
            for task in self.annotator().client.tasks.list()
            if task.name == f"ActiveLearning_Iteration_{iteration}"
        ]
        return task

    def answer(self) -> None:
        assert self.annotator().work("MONAILabel") > 0

    def file(self, path: str) -> Any:
        return json.loads(self.host.file(f"{STUDIES}/{path}").content_string)

    def turns_again(self) -> None:
        """CVAT is back: the loop has seen it after two polls at most."""
        back = datetime.now(timezone.utc)

        def polled(loop: dict[str, Any]) -> bool:
            return not loop["error"] and bool(datetime.fromisoformat(loop["polled_at"]) >= back.replace(microsecond=0))

        self.wait(60, "the loop turns again", polled)
        took = (datetime.now(timezone.utc) - back).total_seconds()
        # Beside two intervals, what a poll itself takes, and this look at it.
        assert took < 2 * INTERVAL + 4, f"it took {took:.0f} s"


@pytest.fixture
def lab(host: Host, variables: dict[str, Any]) -> Lab:
    return Lab(host, variables)


def moment(text: str | None) -> datetime:
    """A time that the loop shows; long ago where it shows none."""
    return datetime.fromisoformat(text or "2000-01-01T00:00:00+00:00")


def cvat_answers(host: Host) -> bool:
    return bool(host.run("curl -fsS --max-time 2 http://127.0.0.1:18080/api/server/about").rc == 0)


@contextmanager
def outage(lab: Lab, container: Container, begin: str, end: str) -> Iterator[None]:
    """CVAT, or what it needs, is away; at the end it answers again."""
    getattr(container, begin)()
    try:
        yield
    finally:
        getattr(container, end)()
        wait_until(lambda: cvat_answers(lab.host), 120, "CVAT answers")


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


def test_the_first_task_has_twelve_frames_with_suggestions(lab: Lab) -> None:
    lab.annotating(1)
    check_choice(lab, 1, 12)
    shapes = lab.task(1).get_annotations().shapes
    assert shapes
    assert {str(shape.source) for shape in shapes} == {"auto"}


def test_a_task_of_twelve_is_done_when_all_of_it_is(lab: Lab, play: Play, variables: dict[str, Any]) -> None:
    check_that_all_jobs_count(lab, 1, 12)
    set_top_k(play, variables, 25)
    lab.answer()
    loop = lab.annotating(2)
    assert loop["frames"]["labelled"] == 12
    assert [record["iteration"] for record in loop["training"]] == [1]


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


def test_a_door_that_is_shut_while_people_annotate(lab: Lab, containers: dict[str, Container]) -> None:
    with outage(lab, containers["endolab-edge"], "stop", "start"):
        assert "does not answer" in lab.broken()["error"]["what"]
    lab.turns_again()
    check_choice(lab, 3, 1)
    lab.answer()
    lab.annotating(4)


def test_errors_of_cvat_when_labels_are_due(lab: Lab, containers: dict[str, Container]) -> None:
    containers["monailabel"].pause()
    lab.answer()
    with outage(lab, containers["cvat-db-1"], "stop", "start"):
        containers["monailabel"].unpause()
        assert "see that all of its services run" in lab.broken()["error"]["remedy"]
    lab.annotating(5)


def test_a_cvat_that_hangs_when_the_next_task_is_due(lab: Lab, containers: dict[str, Container]) -> None:
    lab.answer()
    lab.wait(60, "a training", lambda loop: loop["phase"] == "training")
    with outage(lab, containers["cvat-server-1"], "pause", "unpause"):
        assert "does not answer" in lab.broken()["error"]["what"]
    lab.turns_again()
    lab.annotating(6)


def test_a_cvat_that_is_killed_in_an_upload(lab: Lab, containers: dict[str, Container]) -> None:
    lab.answer()
    lab.wait(300, "an upload", lambda loop: loop["phase"] == "uploading" and loop["iteration"] == 7)
    with outage(lab, containers["cvat-server-1"], "kill", "start"):
        lab.broken()
    lab.annotating(7)
    assert lab.task(7).size == 1


def test_a_kill_in_training(lab: Lab) -> None:
    lab.answer()
    lab.wait(60, "a training", lambda loop: loop["phase"] == "training")
    lab.host.check_output("pkill -9 -f 'monailabel.main start_serve[r]'")
    lab.annotating(8)
    assert lab.file("loop/trainings/7-tooltracking.json")["iteration"] == 7


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
    wait_until(lambda: cvat_answers(lab.host), 60, "CVAT answers")
    lab.annotating(8)
    assert len([each for each in lab.annotator().client.projects.list() if each.name == "MONAILabel"]) == 1


def test_the_rest_of_thirteen_iterations(lab: Lab) -> None:
    for iteration in range(8, ITERATIONS + 1):
        lab.annotating(iteration)
        check_choice(lab, iteration, 1)
        lab.answer()
    lab.annotating(ITERATIONS + 1)


def test_nothing_was_lost_or_done_twice(lab: Lab) -> None:
    tasks = lab.annotator().client.tasks.list()
    done = {f"DONE_ActiveLearning_Iteration_{number}" for number in range(1, ITERATIONS + 1)}
    assert {task.name for task in tasks} == done | {f"ActiveLearning_Iteration_{ITERATIONS + 1}"}
    asked = [frame.name for task in tasks for frame in task.get_frames_info()]
    assert len(asked) == len(set(asked)) == 49
    assert lab.loop()["frames"]["labelled"] == 48
    records = [name for name in lab.host.file(f"{STUDIES}/loop/trainings").listdir() if name != "split.json"]
    assert sorted(records) == sorted(f"{number}-tooltracking.json" for number in range(1, ITERATIONS + 1))


def test_no_training_left_the_model_worse(lab: Lab) -> None:
    for iteration in range(1, ITERATIONS + 1):
        record = lab.file(f"loop/trainings/{iteration}-tooltracking.json")
        assert record["promoted"] == (record["after"] is not None and record["after"] > (record["before"] or 0))


def test_a_task_that_somebody_deletes_is_asked_for_again(lab: Lab) -> None:
    (frame,) = lab.task(ITERATIONS + 1).get_frames_info()
    lab.task(ITERATIONS + 1).remove()
    lab.annotating(ITERATIONS + 2)
    assert lab.task(ITERATIONS + 2).get_frames_info() == [frame]


def test_when_all_is_labelled_the_loop_waits_for_frames(lab: Lab) -> None:
    lab.answer()
    lab.wait(60, "no frames left", lambda loop: loop["phase"] == "waiting for frames" and loop["healthy"])


def test_everything_is_healthy(engine: docker.DockerClient) -> None:
    wait_until(lambda: healthy(engine) == SERVICES, 120, "every container healthy")
