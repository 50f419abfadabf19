"""What an operator sees of the loop, and the model's own predictions on request."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import SERVICES, cvat, login, wait_until

Play = Callable[..., subprocess.CompletedProcess[str]]
Json = dict[str, Any]


def loop(host: Host) -> Json:
    answer: Json = json.loads(host.run("curl -fsS http://127.0.0.1:8000/loop").stdout or "{}")
    return answer


@pytest.fixture
def task(host: Host, variables: Json) -> Iterator[int]:
    """The number of the open task, which has no shapes when the test begins, nor afterwards."""
    wait_until(lambda: loop(host).get("phase") == "annotating", 300, "an open task")
    number: int = loop(host)["task"]["id"]
    change_shapes(host, variables, number, "DELETE")
    yield number
    change_shapes(host, variables, number, "DELETE")


def change_shapes(host: Host, variables: Json, task: int, method: str, content: Json | None = None) -> None:
    """Changes the shapes of a task as the administrator."""
    url = f"http://127.0.0.1:8081/api/tasks/{task}/annotations"
    change = ("-H", "Content-Type: application/json", "-d", json.dumps(content)) if content else ()
    command = "curl -fsS -o /dev/null -X %s -u %s" + " %s" * len(change) + " %s"
    host.check_output(command, method, login(variables, "admin"), *change, url + ("?action=create" if content else "/"))


@pytest.fixture
def status(play: Play, tmp_path: Path, variables: Json) -> Callable[[], tuple[str, Json]]:
    """Runs status.yml, which never fails; returns what it showed, and what it wrote of the host."""

    def run() -> tuple[str, Json]:
        done = play("playbooks/status.yml", "-e", f"status_json={tmp_path}/status.json")
        assert done.returncode == 0, done.stdout
        assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}
        hosts = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
        return done.stdout, hosts[variables["inventory_hostname"]]

    return run


def test_status_shows_the_loop_on_one_screen(
    status: Callable[[], tuple[str, Json]], host: Host, task: int, variables: Json
) -> None:
    said, seen = status()
    name, frames = loop(host)["task"]["name"], loop(host)["frames"]
    left = frames["total"] - frames["labelled"]
    for line in (
        r"    loop        annotating since \S+ \(\d+ (s|min|h) ago\)",
        rf"    frames      24 in all, {frames['scored']} scored, {frames['labelled']} labelled, {left} left",
        rf"    task        {name}, 0 of 10 jobs done\n {{20}}https://{variables['inventory_hostname']}/tasks/{task}",
        r"    last poll   \S+ \(\d+ s ago\), next \S+ \(in \d+ s\)",
        rf"    services    {len(SERVICES)} healthy",
        r"    GPU         0: NVIDIA GeForce RTX 4090, 3072 of 24564 MiB in use, 0 % busy",
    ):
        assert re.search(line, said), line
    assert f"{variables['inventory_hostname']} at {seen['at']}: all is well" in said
    (instance,) = seen["instances"]
    assert instance["loop"]["task"]["id"] == task
    assert seen["services"] == dict.fromkeys(SERVICES, "healthy")
    assert seen["healthy"] is True


def test_status_costs_four_round_trips(play: Play, variables: Json) -> None:
    said = play("playbooks/status.yml").stdout
    assert f"Module executions on {variables['inventory_hostname']}: 4" in said


def test_status_shows_a_server_that_is_down(
    status: Callable[[], tuple[str, Json]], containers: dict[str, Container]
) -> None:
    container = containers["monailabel"]
    container.stop()
    try:
        said, seen = status()
    finally:
        container.start()
    assert "problem     monailabel is stopped" in said
    assert "remedy    `docker start monailabel` on the host" in said
    assert "loop        MONAI Label does not answer at http://127.0.0.1:8000/loop (Connection refused)" in said
    assert (seen["healthy"], seen["reachable"], seen["instances"][0]["loop"]) == (False, True, None)
    assert seen["services"]["monailabel"] == "stopped"

    def healthy() -> bool:
        container.reload()
        return bool(container.attrs["State"]["Health"]["Status"] == "healthy")

    wait_until(healthy, 120, "a healthy MONAI Label")


def test_the_tasks_in_cvat_are_listed(play: Play, task: int) -> None:
    done = play("playbooks/preannotate.yml")
    assert done.returncode == 0, done.stdout
    assert "Projects: MONAILabel" in done.stdout
    assert re.search(rf"\n +{task} +ActiveLearning_Iteration_\d+ +MONAILabel +10 +0 +10 +0\n", done.stdout)


def test_frames_without_shapes_get_the_models_and_others_are_left_alone(
    play: Play, host: Host, task: int, variables: Json
) -> None:
    label = cvat(host, variables, f"labels?task_id={task}")["results"][0]["id"]
    drawn = {"type": "rectangle", "frame": 0, "label_id": label, "points": [1.0, 1.0, 9.0, 9.0], "attributes": []}
    change_shapes(host, variables, task, "PATCH", {"shapes": [drawn], "tags": [], "tracks": []})

    done = play("playbooks/preannotate.yml", "-e", f"task={task}")
    assert done.returncode == 0, done.stdout
    row = re.search(rf"\n +{task} +(\d+) +(\d+) +1 +(\d+) +-\n", done.stdout)
    assert row, done.stdout
    frames, number, empty = map(int, row.groups())
    assert frames > 0
    assert frames + empty == 9

    shapes = cvat(host, variables, f"tasks/{task}/annotations")["shapes"]
    assert [shape["points"] for shape in shapes if shape["frame"] == 0] == [drawn["points"]]
    suggested = [shape for shape in shapes if shape["frame"] > 0]
    assert (len(suggested), len({shape["frame"] for shape in suggested})) == (number, frames)
    assert {shape["source"] for shape in suggested} == {"auto"}

    again = play("playbooks/preannotate.yml", "-e", f"task={task}")
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}
    assert cvat(host, variables, f"tasks/{task}/annotations")["shapes"] == shapes


def test_a_task_that_is_not_there_is_refused_with_those_that_are(play: Play, task: int) -> None:
    done = play("playbooks/preannotate.yml", "-e", "task=999")
    assert done.returncode != 0
    assert "CVAT has no task 999, or does not let monailabel see it. There are:" in done.stdout
    assert re.search(rf"\n +{task} +ActiveLearning_Iteration_", done.stdout)


def test_an_unfinished_task_is_not_submitted_and_that_is_said(play: Play, task: int, host: Host) -> None:
    polled = loop(host)["polled_at"]
    done = play("playbooks/preannotate.yml", "-e", "submit=true")
    assert done.returncode == 0, done.stdout
    assert "has 0 of 10 jobs completed" in re.sub(r"\s+", " ", done.stdout)
    assert loop(host)["polled_at"] > polled


def test_another_app_is_said_to_lack_it(play: Play) -> None:
    done = play("playbooks/preannotate.yml", "-e", "monailabel_app_source=upstream")
    assert done.returncode != 0
    assert "Set monailabel_app_source: endolab (and leave" in re.sub(r"\s+", " ", done.stdout)
