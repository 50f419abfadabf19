"""An upgrade of two hosts: what fails on one is taken back on both."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from tests.stack.archive import sums
from tests.stack.common import cvat, wait_until

pytestmark = pytest.mark.long

Play = Callable[..., subprocess.CompletedProcess[str]]

FRONT, MODEL = (testinfra.get_host(f"docker://endolab-{name}") for name in ("front", "model"))

UPGRADE = (
    "playbooks/upgrade.yml",
    *("-e", "endolab_cvat_version=2.73.0"),
    *("-e", "nvidia_container_toolkit_version=1.20.0-1"),
    *("-e", "nvidia_container_toolkit_smoke_image=registry:5000/projectmonai/monailabel:latest"),
)


def toolkit() -> str:
    return str(MODEL.package("nvidia-container-toolkit").version)


def version(variables: dict[str, Any]) -> str:
    """What CVAT calls itself."""
    return str(cvat(FRONT, variables, "server/about")["version"])


def held(variables: dict[str, Any]) -> tuple[Any, Any, dict[str, str]]:
    """Tasks and what is drawn in them, as CVAT has them, and the sums of frames, labels and weights."""
    tasks = cvat(FRONT, variables, "tasks")["results"]
    drawn = {task["id"]: cvat(FRONT, variables, f"tasks/{task['id']}/annotations") for task in tasks}
    return tasks, drawn, sums(MODEL)


def running(host: Host) -> set[str]:
    """The ids of its containers."""
    return set(host.check_output("docker ps -q").split())


def polled(host: Host) -> str:
    """When the loop has asked CVAT last, with nothing wrong; empty where something is."""
    loop = host.check_output("curl -fsS http://127.0.0.1:8000/loop")
    return "" if '"error":null' not in loop.replace(" ", "") else loop.partition('"polled_at":')[2].partition(",")[0]


def test_what_fails_on_one_host_is_taken_back_on_both(play: Play, variables: dict[str, Any]) -> None:
    """CVAT has migrated and the toolkit is newer when the image for MONAI Label turns out to be none of it."""
    wait_until(lambda: bool(cvat(FRONT, variables, "tasks?search=ActiveLearning")["results"]), 300, "a task")
    before, server = held(variables), running(MODEL)
    done = play(*UPGRADE, "-e", "monailabel_image=registry:5000/caddy:2.10.2")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "The upgrade has failed, and the lab runs as it did before (archive" in said, done.stdout
    assert "What failed: endolab-model, The version of MONAI Label in the image is read" in said, done.stdout
    assert version(variables) == "2.72.0"
    assert toolkit() == "1.19.0-1"
    assert running(MODEL) == server, "they were not even made anew"
    assert held(variables) == before
    asked = polled(MODEL)
    wait_until(lambda: polled(MODEL) not in ("", asked), 120, "the loop goes on")


def test_what_works_on_both_hosts_stays(play: Play, variables: dict[str, Any]) -> None:
    before = held(variables)
    done = play(*UPGRADE)
    assert done.returncode == 0, done.stdout
    assert (version(variables), toolkit()) == ("2.73.0", "1.20.0-1")
    assert held(variables) == before
