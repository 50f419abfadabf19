"""Life of the stack, last because it is disturbed: a second run, a changed password, a restart of the host."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import SERVICES, ask, healthy, wait_until

Play = Callable[..., subprocess.CompletedProcess[str]]


def start_times(containers: dict[str, Container]) -> dict[str, str]:
    return {name: container.attrs["State"]["StartedAt"] for name, container in containers.items()}


def test_every_container_of_the_stack_is_there(containers: dict[str, Container]) -> None:
    assert set(containers) == SERVICES


def test_a_second_run_changes_and_restarts_nothing(
    play: Play, engine: docker.DockerClient, variables: dict[str, Any]
) -> None:
    """The executions of modules on the host are its price: 15 at most, counted by the callback."""
    before = start_times({str(c.name): c for c in engine.containers.list()})
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}
    executions = re.findall(rf"Module executions on {variables['inventory_hostname']}: (\d+)", done.stdout)
    assert 0 < int(executions[0]) <= 15
    assert start_times({str(c.name): c for c in engine.containers.list()}) == before


def test_check_mode_finds_nothing_to_do(play: Play) -> None:
    done = play("site.yml", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}


BUNDLE = "/srv/endolab/apps/endoscopy/model/endoscopic_tool_segmentation"
DRIFT = {
    "echo >> /etc/systemd/system/endolab-firewall.service": "The rules come back with the host",
    "rm /etc/apt/keyrings/docker.asc": "The key that signs Docker's repository is there",
    "apt-get -q remove -y docker-buildx-plugin": "Docker Engine and Compose v2 are installed",
    "apt-mark unhold libnvidia-container1": "No upgrade of the system moves the toolkit",
    "rm -r /etc/systemd/system/nvidia-cdi-refresh.service.d": "The CDI specification is made before Docker starts",
    """sed -i 's/"cdi": true/"cdi": false/' /etc/docker/daemon.json""": "Docker knows CDI and the NVIDIA runtime",
    "chmod 0700 /etc/endolab/cvat/backend": "The Compose file and what it mounts are there",
    "chmod 0644 /etc/endolab/cvat/secrets/backend/*": "The secrets are there, each for its reader alone",
    "echo >> /etc/endolab/edge/Caddyfile": "The Caddyfile is there",
    "echo >> /srv/endolab/apps/endoscopy/endolab_loop/loop.py": "Endolab's app lies in the apps directory",
    "echo >> /srv/endolab/apps/endoscopy/libraries/cvat-sdk.zip": "The app has the client of CVAT beside it",
    f"echo > {BUNDLE}/configs/train.json": "The bundle is staged completely or not at all",
    "docker stop cvat-ui-1": "The services are up",
}


def test_what_has_drifted_is_found_and_mended(play: Play, host: Host) -> None:
    """A run reads most of the host at once, and looks again only at what is not as it should be."""
    for command in DRIFT:
        host.check_output(command)
    for arguments in (["--check"], []):
        done = play("site.yml", *arguments)
        assert done.returncode == 0, done.stdout
        changed = re.findall(r"^TASK \[.* : (.*)\] .*\n(?:.+\n)*?changed:", done.stdout, re.MULTILINE)
        assert set(DRIFT.values()) - set(changed) == set(), arguments
    assert set(re.findall(r"changed=(\d+)", play("site.yml").stdout)) == {"0"}


@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["run", "check"])
def test_verify_finds_everything(play: Play, arguments: tuple[str, ...]) -> None:
    done = play("playbooks/verify.yml", *arguments)
    assert done.returncode == 0, done.stdout


def test_verify_names_what_is_wrong(play: Play, containers: dict[str, Container]) -> None:
    containers["endolab-edge"].stop()
    done = play("playbooks/verify.yml")
    containers["endolab-edge"].start()
    assert done.returncode != 0
    assert "instead of CVAT; see `docker logs endolab-edge`" in re.sub(r"\s+", " ", done.stdout)


@pytest.mark.long
def test_a_changed_password_changes_the_account(
    play: Play, host: Host, containers: dict[str, Container], variables: dict[str, Any]
) -> None:
    before = start_times(containers)
    changed = "changed $'\" password"
    done = play("site.yml", "-e", f"{{cvat_admin_password: {yaml_quote(changed)}}}")
    assert done.returncode == 0, done.stdout
    assert ask(host, {**variables, "cvat_admin_password": changed}, "admin", "/api/users/self") == 200
    assert ask(host, variables, "admin", "/api/users/self") == 401
    containers["cvat-server-1"].reload()
    assert containers["cvat-server-1"].attrs["State"]["StartedAt"] == before["cvat-server-1"]
    assert play("site.yml").returncode == 0
    assert ask(host, variables, "admin", "/api/users/self") == 200


def yaml_quote(text: str) -> str:
    """A text as a YAML scalar in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_the_stack_comes_back_with_the_host(host_container: Container, engine: docker.DockerClient, host: Host) -> None:
    engine.close()
    host_container.restart(timeout=60)
    wait_until(lambda: host.run("docker info").rc == 0, 120, "the engine")
    host_container.reload()
    again = docker.DockerClient(base_url=f"unix:///proc/{host_container.attrs['State']['Pid']}/root/run/docker.sock")
    wait_until(lambda: healthy(again) == SERVICES, 300, "every container healthy")
    again.close()
