"""An upgrade of two hosts: what fails on one is taken back on both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import testinfra

from tests.stack.archive import sums
from tests.stack.common import cvat, wait_until
from tests.stack.lab import is_open

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


def running() -> set[str]:
    """The ids of the containers on MONAI Label's host."""
    return set(MODEL.check_output("docker ps -aq").split())


def loop() -> dict[str, Any]:
    return dict(json.loads(MODEL.check_output("curl -fsS http://127.0.0.1:8000/loop")))


def test_what_fails_on_one_host_is_taken_back_on_both(play: Play, variables: dict[str, Any]) -> None:
    """CVAT has migrated and the toolkit is newer when the image for MONAI Label turns out to be none of it."""
    wait_until(lambda: is_open(loop()), 300, "a task is open")
    before, server = held(variables), running()
    done = play(*UPGRADE, "-e", "monailabel_image=registry:5000/caddy:2.10.2")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "The upgrade has failed, and the lab runs as it did before (archive" in said, done.stdout
    assert "endolab-model, It holds MONAI Label: registry:5000/caddy:2.10.2 holds no MONAI Label" in said, done.stdout
    assert version(variables) == "2.72.0"
    assert toolkit() == "1.19.0-1"
    assert running() == server, "they were not even made anew, and nothing is left of the try"
    assert held(variables) == before
    asked = loop()["polled_at"]
    wait_until(lambda: is_open(loop()) and loop()["polled_at"] != asked, 120, "the loop goes on")


def test_what_works_on_both_hosts_stays(play: Play, variables: dict[str, Any]) -> None:
    before = held(variables)
    done = play(*UPGRADE)
    assert done.returncode == 0, done.stdout
    assert (version(variables), toolkit()) == ("2.73.0", "1.20.0-1")
    assert held(variables) == before
