"""Runs of site.yml that are killed at random tasks, and the one that ends what they have begun."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import docker

from tests.stack.common import healthy, wait_until
from tests.stack.conftest import PLAIN, ROOT

Play = Callable[..., subprocess.CompletedProcess[str]]

# More than site.yml has lines that begin with TASK; whoever is to be killed later than it ends is not.
TASKS = 130


def kill_at(task: int, inventory: str, settings: dict[str, Any]) -> str:
    """Kills a run as its task of this number begins, with all that it has started; returns the task's name."""
    command = ["ansible-playbook", "site.yml", "-i", inventory, "-e", json.dumps(settings)]
    with subprocess.Popen(
        command, cwd=ROOT, env=PLAIN, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout is not None
        seen = 0
        for line in run.stdout:
            seen += line.startswith("TASK ")
            if seen == task:
                os.killpg(run.pid, signal.SIGKILL)
                return line.partition("[")[2].rpartition("]")[0]
    assert run.returncode == 0, "it has failed by itself"
    return "none: it ended before"


def kill_some(times: int, inventory: str, conf: dict[str, Any]) -> None:
    """Kills one run after the other, each with settings of its own; says where, and how to have the same again."""
    seed = int(os.environ.get("STACK_SEED", random.randrange(10**6)))
    print(f"the tasks are those of STACK_SEED={seed}")
    chosen = random.Random(seed)
    for number in range(times):
        settings = {
            # From the top, as CVAT is not healthy on a disk that is fuller.
            "cvat_disk_usage_max": 99 - number,
            "monailabel_conf": {**conf, "train_max_epochs": 1 + number % 2},
        }
        print(f"killed at {kill_at(chosen.randrange(1, TASKS), inventory, settings)}")


def end(play: Play) -> str:
    """Runs it with the inventory's own settings, to its end; returns what it has said."""
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    return done.stdout


def check_that_all_is_well(play: Play, engine: docker.DockerClient, services: set[str]) -> None:
    """Every service is healthy, and another run finds nothing to change."""
    wait_until(lambda: healthy(engine) == services, 120, "every container healthy")
    said = end(play)
    assert "changed=0" in said.split("PLAY RECAP")[1], said
