"""A host without a GPU, with the distribution's Docker, other ports and parameters, and with analytics."""

from __future__ import annotations

import json
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import ANALYTICS, SERVICES, ask, cvat, healthy, login, open_tasks, wait_until
from tests.stack.privileges import documented, running


def test_docker_is_the_distributions(host: Host) -> None:
    assert host.package("docker.io").is_installed
    assert not host.package("docker-ce").is_installed
    assert not host.file("/etc/apt/sources.list.d/docker.sources").exists


def test_nothing_of_nvidia_is_there(host: Host, engine: docker.DockerClient) -> None:
    assert not host.package("nvidia-container-toolkit").is_installed
    assert not host.file("/etc/apt/sources.list.d/nvidia-container-toolkit.sources").exists
    assert "nvidia" not in engine.info()["Runtimes"]


def test_every_service_is_healthy(engine: docker.DockerClient) -> None:
    assert healthy(engine) == SERVICES | ANALYTICS


def test_no_container_may_do_more_than_is_documented(containers: dict[str, Container]) -> None:
    assert running(containers) == documented(containers)


def test_the_container_asks_for_no_device(containers: dict[str, Container]) -> None:
    assert not containers["monailabel"].attrs["HostConfig"]["DeviceRequests"]


@pytest.mark.parametrize("port", [9000, 9080, 9081, 9082, 9083])
def test_the_services_listen_on_the_ports_of_the_inventory(host: Host, port: int) -> None:
    assert host.socket(f"tcp://127.0.0.1:{port}").is_listening


@pytest.mark.parametrize("port", [8000, 8080, 8081, 8082, 8083])
def test_the_usual_ports_are_free(host: Host, port: int) -> None:
    assert not host.socket(f"tcp://127.0.0.1:{port}").is_listening


def test_a_setting_of_one_port_reaches_all_who_need_it(host: Host) -> None:
    script = host.file("/srv/endolab/datasets/run_monailabelinits.sh").content_string
    assert "MONAI_LABEL_DATASTORE_URL=http://127.0.0.1:9080" in script
    caddyfile = host.file("/etc/endolab/edge/Caddyfile").content_string
    assert "127.0.0.1:9081" in caddyfile
    assert "127.0.0.1:9082" in caddyfile


def test_the_server_gets_the_parameters_unchanged(host: Host) -> None:
    pid = host.check_output("pgrep -of '^python3 -m monailabel.main start_server'")
    arguments = host.check_output("tr '\\0' '\\n' < /proc/%s/cmdline", pid).splitlines()
    assert arguments[arguments.index("cvat_project") + 1] == 'Frauenklinik "Süd"'
    assert arguments[arguments.index("cvat_task_prefix") + 1] == "it's $HOME"


def test_the_loop_asks_for_as_many_frames_as_it_may(host: Host, variables: dict[str, Any]) -> None:
    wait_until(lambda: bool(open_tasks(host, variables)), 300, "an open task")
    assert [(task["name"], task["size"]) for task in open_tasks(host, variables)] == [("it's $HOME_1", 4)]
    assert cvat(host, variables, "projects")["results"][0]["name"] == 'Frauenklinik "Süd"'
    assert "cuda" not in json.dumps(host.check_output("curl -fsS http://127.0.0.1:9000/info/"))


def test_an_administrator_sees_who_did_what(host: Host, variables: dict[str, Any]) -> None:
    def page() -> str:
        return str(host.check_output("curl -fsS -u %s http://127.0.0.1:9080/analytics/", login(variables, "admin")))

    wait_until(lambda: "events of create:task: 1" in page(), 60, "the loop's task among the events")
    assert "dashboard: CVAT events" in page()


def test_nobody_else_sees_it(host: Host, variables: dict[str, Any]) -> None:
    assert ask(host, variables, "service", "/analytics/", base="9080") == 403
    assert ask(host, variables, "", "/analytics/", base="9080") == 401


def test_the_events_want_their_password(containers: dict[str, Container]) -> None:
    query = "import urllib.request as r; r.urlopen('http://clickhouse:8123/?query=select+1')"
    code, output = containers["cvat-server-1"].exec_run(["python3", "-c", query])
    assert code == 1
    assert b"HTTP Error" in output
