"""Docker on the host: what the lab's operator and CVAT rely on."""

from __future__ import annotations

import json

import docker
import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.privileges import documented, running


@pytest.mark.parametrize("package", ["docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin"])
def test_docker_comes_from_its_own_repository(host: Host, package: str) -> None:
    assert host.package(package).is_installed


def test_the_engine_runs_and_comes_back_with_the_host(host: Host) -> None:
    assert host.service("docker").is_running
    assert host.service("docker").is_enabled


def test_compose_is_version_2(host: Host) -> None:
    assert host.check_output("docker compose version --short").lstrip("v").startswith("2.")


def test_the_repository_is_tied_to_one_key(host: Host) -> None:
    source = host.file("/etc/apt/sources.list.d/docker.sources").content_string
    assert "Signed-By: /etc/apt/keyrings/docker.asc" in source
    assert host.file("/etc/apt/keyrings/docker.asc").mode == 0o644


def test_daemon_json_is_merged_not_overwritten(host: Host) -> None:
    """The scenario's prepare step leaves a key of the host's own."""
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert settings["max-concurrent-downloads"] == 4
    assert settings["live-restore"] is True
    assert settings["log-opts"] == {"max-size": "20m", "max-file": "5"}
    assert settings["features"] == {"cdi": True}
    assert settings["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"


def test_the_running_engine_has_the_settings(engine: docker.DockerClient) -> None:
    info = engine.info()
    assert info["LiveRestoreEnabled"] is True
    assert info["LoggingDriver"] == "json-file"
    assert "nvidia" in info["Runtimes"]


def test_no_container_gets_the_engines_socket(engine: docker.DockerClient) -> None:
    for container in engine.containers.list(all=True):
        assert not any("docker.sock" in mount["Source"] for mount in container.attrs["Mounts"]), container.name


def test_no_container_may_do_more_than_is_documented(containers: dict[str, Container]) -> None:
    assert running(containers) == documented(containers)
