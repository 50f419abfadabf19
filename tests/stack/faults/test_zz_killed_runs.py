"""Whoever runs site.yml is cut off, again and again; the next run that is not brings the lab to the same state."""

from __future__ import annotations

from typing import Any

import docker

from tests.stack.common import SERVICES
from tests.stack.faults.conftest import Survives
from tests.stack.killed import Play, check_that_all_is_well, end, kill_some

TIMES = 20


def test_runs_that_are_killed_at_random_tasks(
    survives: Survives, play: Play, engine: docker.DockerClient, inventory: str, variables: dict[str, Any]
) -> None:
    with survives(f"site.yml is killed at {TIMES} random tasks"):
        kill_some(TIMES, inventory, variables["monailabel_conf"])
        end(play)
    check_that_all_is_well(play, engine, SERVICES)
