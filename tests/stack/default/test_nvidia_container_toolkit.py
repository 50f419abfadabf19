"""The NVIDIA container toolkit: who asks for the GPU gets it, nobody else does."""

from __future__ import annotations

from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.types import DeviceRequest
from testinfra.host import Host

PACKAGES = [
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_have_one_version_and_are_held(host: Host, package: str) -> None:
    assert host.check_output("dpkg-query -W -f '${Version} ${db:Status-Want}' %s", package) == "1.20.0-1 hold"


def test_the_repository_is_tied_to_one_key(host: Host) -> None:
    source = host.file("/etc/apt/sources.list.d/nvidia-container-toolkit.sources").content_string
    assert "Signed-By: /etc/apt/keyrings/nvidia-container-toolkit.asc" in source


def test_the_specification_follows_the_driver(host: Host) -> None:
    assert host.service("nvidia-cdi-refresh.path").is_running
    assert host.service("nvidia-cdi-refresh.path").is_enabled
    assert host.service("nvidia-cdi-refresh.service").is_enabled


def test_the_specification_names_the_gpu(host: Host) -> None:
    assert "nvidia.com/gpu=all" in host.check_output("nvidia-ctk cdi list")


def see(engine: docker.DockerClient, variables: dict[str, Any], *names: str) -> str:
    """What a container of MONAI Label's image that asks for the devices `names` sees in /dev."""
    image = f"{variables['endolab_registry']}projectmonai/monailabel:latest"
    requests = [DeviceRequest(driver="cdi", device_ids=list(names))] if names else []
    return str(engine.containers.run(image, ["ls", "/dev"], device_requests=requests, network_mode="none", remove=True))


def test_a_container_that_asks_has_the_gpu(engine: docker.DockerClient, variables: dict[str, Any]) -> None:
    assert "nvidia0" in see(engine, variables, "nvidia.com/gpu=all")
    assert "nvidia0" in see(engine, variables, "nvidia.com/gpu=0")


def test_a_container_that_does_not_ask_has_none(engine: docker.DockerClient, variables: dict[str, Any]) -> None:
    assert "nvidia" not in see(engine, variables)


def test_nvidia_smi_answers_inside_monai_label(containers: dict[str, Container]) -> None:
    assert b"GPU 0:" in containers["monailabel"].exec_run(["nvidia-smi", "-L"])[1]


@pytest.mark.parametrize("name", ["cvat-server-1", "cvat-db-1", "endolab-edge"])
def test_the_other_services_do_not_have_the_gpu(containers: dict[str, Container], name: str) -> None:
    assert containers[name].exec_run(["sh", "-c", "ls /dev/nvidia*"])[0] != 0
    assert not containers[name].attrs["HostConfig"]["DeviceRequests"]


def test_the_gpu_survives_a_reload_of_systemd(host: Host, containers: dict[str, Container]) -> None:
    host.check_output("systemctl daemon-reload")
    assert containers["monailabel"].exec_run(["nvidia-smi", "-L"])[0] == 0
