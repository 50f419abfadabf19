"""A bare simulated host, and a way to run site.yml against it with something wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

ROOT = Path(__file__).resolve().parents[2]

# Molecule asks for colours, which nobody can search.
PLAIN_JSON = {
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
}


@pytest.fixture(scope="session")
def inventory() -> str:
    """The inventory of the bare host; Molecule's verifier names it."""
    return os.environ["STACK_INVENTORY"]


@pytest.fixture(scope="session")
def bare() -> Container:
    """The container that stands in for the host."""
    return docker.from_env().containers.get("endolab-bare")


def changes(bare: Container) -> set[str]:
    """What differs from the host's image, but for what every run leaves: logs, caches and Ansible's own directory."""
    passing = re.compile(
        r"^/(root|run|tmp|var/log|var/lib/systemd|var/tmp|var/cache)(/|$)|^/(etc|dev|usr|var|srv)$|__pycache__"
    )
    return {path for entry in bare.diff() or [] if not passing.search(path := str(entry["Path"]))}


@pytest.fixture
def fails(inventory: str) -> Callable[..., str]:
    """Runs site.yml with these variables; it must fail. Returns what it said."""

    def run(
        variables: dict[str, Any] | None = None,
        inventory: str = inventory,
        environment: dict[str, str] | None = None,
    ) -> str:
        done = subprocess.run(
            ["ansible-playbook", "-i", inventory, "site.yml", "-e", json.dumps(variables or {})],
            cwd=ROOT,
            env={**os.environ, **PLAIN_JSON, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0, done.stdout
        return re.sub(r"\s+", " ", done.stdout + done.stderr)

    return run


@pytest.fixture
def refused(fails: Callable[..., str], bare: Container) -> Iterator[Callable[..., str]]:
    """The same, and the host must be left as it was."""
    before = changes(bare)
    yield fails
    assert changes(bare) == before
