"""Whoever runs site.yml is cut off, again and again; the next run that is not brings the lab to the same state."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import docker

from tests.stack.common import SERVICES, healthy, wait_until
from tests.stack.faults.conftest import Survives
from tests.stack.killed import kill_some

Play = Callable[..., subprocess.CompletedProcess[str]]

TIMES = 20


def test_runs_that_are_killed_at_random_tasks(
    survives: Survives, play: Play, engine: docker.DockerClient, inventory: str, variables: dict[str, Any]
) -> None:
    conf = variables["monailabel_conf"]
    settings = (
        {"cvat_disk_usage_max": 80 - number, "monailabel_conf": {**conf, "train_max_epochs": 1 + number % 2}}
        for number in range(TIMES)
    )
    with survives(f"site.yml is killed at {TIMES} random tasks"):
        kill_some(TIMES, inventory, settings)
        done = play("site.yml")
        assert done.returncode == 0, done.stdout
    wait_until(lambda: healthy(engine) == SERVICES, 120, "every container healthy")
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout.split("PLAY RECAP")[1], done.stdout
