"""Whoever runs site.yml is cut off, five times; the next run that is not brings the host to the same state."""

from __future__ import annotations

from typing import Any

import docker

from tests.stack.common import ANALYTICS, SERVICES
from tests.stack.killed import Play, check_that_all_is_well, end, kill_some


def test_runs_that_are_killed_at_random_tasks(
    play: Play, engine: docker.DockerClient, inventory: str, variables: dict[str, Any]
) -> None:
    kill_some(5, inventory, variables["monailabel_conf"])
    end(play)
    check_that_all_is_well(play, engine, SERVICES | ANALYTICS)
