"""Whoever runs site.yml is cut off, five times; the next run that is not brings the host to the same state."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import docker

from tests.stack.common import ANALYTICS, SERVICES, healthy, wait_until
from tests.stack.killed import kill_some

Play = Callable[..., subprocess.CompletedProcess[str]]


def test_runs_that_are_killed_at_random_tasks(
    play: Play, engine: docker.DockerClient, inventory: str, variables: dict[str, Any]
) -> None:
    conf = variables["monailabel_conf"]
    settings = (
        {"cvat_disk_usage_max": 80 - number, "monailabel_conf": {**conf, "train_max_epochs": 1 + number}}
        for number in range(5)
    )
    kill_some(5, inventory, settings)
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    wait_until(lambda: healthy(engine) == SERVICES | ANALYTICS, 120, "every container healthy")
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout.split("PLAY RECAP")[1], done.stdout
