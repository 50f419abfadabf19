"""Runs of site.yml that are killed at random tasks, and the one that ends what they have begun."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterable
from typing import Any

from tests.stack.conftest import PLAIN, ROOT

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


def kill_some(times: int, inventory: str, settings: Iterable[dict[str, Any]]) -> None:
    """Kills one run after the other, each with other settings; says where, and how to have the same again."""
    seed = int(os.environ.get("STACK_SEED", random.randrange(10**6)))
    print(f"the tasks are those of STACK_SEED={seed}")
    chosen = random.Random(seed)
    for _, each in zip(range(times), settings, strict=False):
        print(f"killed at {kill_at(chosen.randrange(1, TASKS), inventory, each)}")
