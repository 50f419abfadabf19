"""Teardown, last because it takes the stack away: it keeps the data, and takes them too when told."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import docker
from testinfra.host import Host

from tests.stack.common import ANALYTICS, SERVICES, cvat, healthy

Play = Callable[..., subprocess.CompletedProcess[str]]

FRAMES = "/srv/endolab/datasets/images"
APPS = "/srv/endolab/apps"

# Those that a role installs; Docker's were there before.
PACKAGES = ["docker.io", "docker-compose", "python3-requests", "nftables", "restic"]


def changes(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks have, or would have, changed something."""
    assert done.returncode == 0, done.stdout
    return sum(map(int, re.findall(r"changed=(\d+)", done.stdout)))


def test_check_mode_says_what_would_go_and_takes_nothing(play: Play, engine: docker.DockerClient) -> None:
    assert changes(play("playbooks/teardown.yml", "--check")) > 0
    assert healthy(engine) == SERVICES | ANALYTICS


def test_the_services_go_and_the_data_stay(
    play: Play, engine: docker.DockerClient, host: Host, variables: dict[str, Any]
) -> None:
    tasks = cvat(host, variables, "tasks")
    weights = host.file(f"{APPS}/endoscopy/model/endoscopic_tool_segmentation/models/model.pt").sha256sum
    scores = host.file(f"{FRAMES}/datastore_v2.json").content_string
    image = engine.containers.get("monailabel").image
    assert image
    engine.containers.run(
        image, name="monailabel-canary", entrypoint=["sleep", "600"], init=True, auto_remove=True, detach=True
    )

    assert changes(play("playbooks/teardown.yml")) > 0
    assert not engine.containers.list(all=True)
    assert not host.file("/etc/endolab/cvat").exists
    assert not host.file("/etc/endolab/monailabel").exists
    assert not host.file("/srv/endolab/datasets/run_monailabelinits.sh").exists
    assert host.run("grep -rlF -e %s /etc /srv", variables["cvat_postgres_password"]).stdout == ""
    assert changes(play("playbooks/teardown.yml")) == 0

    # The database is older than this password, as where a lab has made itself a new vault.
    done = play("site.yml", "-e", "cvat_postgres_password=another")
    assert done.returncode == 0, done.stdout
    assert cvat(host, variables, "tasks") == tasks
    assert host.file(f"{APPS}/endoscopy/model/endoscopic_tool_segmentation/models/model.pt").sha256sum == weights
    assert host.file(f"{FRAMES}/datastore_v2.json").content_string == scores


def test_a_stopped_engine_is_refused_because_its_containers_would_come_back(play: Play, host: Host) -> None:
    host.check_output("systemctl stop docker.socket docker.service")
    done = play("playbooks/teardown.yml")
    assert done.returncode != 0
    assert "Start it with `systemctl start docker`, then run this again." in re.sub(r"\s+", " ", done.stdout)
    host.check_output("systemctl start docker.socket docker.service")


def test_the_data_go_when_told_and_the_frames_stay(play: Play, engine: docker.DockerClient, host: Host) -> None:
    frames = {name for name in host.file(FRAMES).listdir() if name.endswith(".png")}
    # Of an earlier run with other settings, and of an older Endolab.
    engine.networks.create("cvat_of_before", labels={"com.docker.compose.project": "cvat"})
    engine.volumes.create("endolab-edge-config")
    assert changes(play("playbooks/teardown.yml", "-e", "teardown_data=true")) > 0
    assert not engine.containers.list(all=True)
    assert not engine.volumes.list()
    assert {network.name for network in engine.networks.list()} == {"bridge", "host", "none"}
    assert not host.file(APPS).exists
    assert set(host.file(FRAMES).listdir()) == frames
    assert changes(play("playbooks/teardown.yml", "-e", "teardown_data=true")) == 0


def test_the_docker_that_was_there_has_its_own_settings(engine: docker.DockerClient, host: Host) -> None:
    assert host.file("/etc/docker/daemon.json").content_string == '{"max-concurrent-downloads": 4}'
    assert host.service("docker.service").is_running
    assert engine.info()["LiveRestoreEnabled"] is False
    assert not engine.images.list()
    assert {name for name in PACKAGES if host.package(name).is_installed} == {"docker.io", "docker-compose"}
    assert not host.file("/var/lib/endolab").exists
