"""What the tests of a deployed stack share: the simulated host, the Docker engine in it, and its secrets."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

ROOT = Path(__file__).resolve().parents[2]

# Molecule asks for colours, which nobody can search.
PLAIN = {
    **os.environ,
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_CALLBACKS_ENABLED": "endolab.active_learning.module_executions",
}


@pytest.fixture(scope="session")
def inventory() -> str:
    """The inventory that the stack was deployed from; Molecule's verifier names it."""
    return os.environ["STACK_INVENTORY"]


@pytest.fixture(scope="session")
def variables(inventory: str) -> dict[str, Any]:
    """The inventory's variables of the last host with MONAI Label, as Ansible resolves them, lookups included."""
    debug = ["-m", "ansible.builtin.debug", "-a", "var=hostvars[inventory_hostname]"]
    output = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    shown = subprocess.run(
        ["ansible", "monailabel[-1]", "-i", inventory, *debug],
        cwd=ROOT,
        env={**PLAIN, **output},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(json.loads(shown[shown.index("{") :])["hostvars[inventory_hostname]"])


@pytest.fixture
def host_container(variables: dict[str, Any]) -> Container:
    """The container that stands in for the host; another one after the host was reinstalled."""
    return docker.from_env().containers.get(variables["inventory_hostname"])


@pytest.fixture
def engine(host_container: Container) -> Iterator[docker.DockerClient]:
    """The Docker engine inside the host, over its own socket."""
    client = docker.DockerClient(base_url=f"unix:///proc/{host_container.attrs['State']['Pid']}/root/run/docker.sock")
    yield client
    client.close()


@pytest.fixture
def containers(engine: docker.DockerClient) -> dict[str, Container]:
    """Every container of the stack, by name."""
    return {str(container.name): container for container in engine.containers.list(all=True)}


def run_playbook(inventory: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs one of the project's playbooks on an inventory."""
    return subprocess.run(
        ["ansible-playbook", "-i", inventory, *arguments],
        cwd=ROOT,
        env=PLAIN,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def play(inventory: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one of the project's playbooks against the deployed stack."""
    return functools.partial(run_playbook, inventory)
