"""The edge: what the services of the host find at 127.0.0.1:8080; scenario secure has what people find."""

from __future__ import annotations

from typing import Any

import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import ask, login


def test_it_is_healthy_and_comes_back(containers: dict[str, Container]) -> None:
    edge = containers["endolab-edge"]
    assert edge.attrs["State"]["Health"]["Status"] == "healthy"
    assert edge.attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_the_services_find_cvat_behind_it(host: Host, variables: dict[str, Any]) -> None:
    assert ask(host, variables, "service", "/api/users/self", base="8080") == 200


def test_people_find_the_pages_behind_it(host: Host) -> None:
    assert "<html" in host.check_output("curl -fsS http://127.0.0.1:8080/").lower()


@pytest.mark.parametrize(
    "path",
    ["/api/auth/register", "/api/auth/register/", "/API/auth/register", "/api/auth/%72egister", "//api/auth/register"],
)
def test_nobody_registers_himself(host: Host, variables: dict[str, Any], path: str) -> None:
    assert ask(host, variables, "", path, method="POST", base="8080") in {403, 404}


def test_cvat_itself_would_let_anyone_register(host: Host, variables: dict[str, Any]) -> None:
    """Shows that it is the edge that refuses: CVAT only complains about what the form lacks."""
    assert ask(host, variables, "", "/api/auth/register", method="POST") == 400


def test_a_large_upload_passes(host: Host, variables: dict[str, Any]) -> None:
    host.check_output("head -c 20000000 /dev/zero > /tmp/large")
    status = host.check_output(
        "curl -s -o /dev/null -w '%%{http_code}' -u %s -F client_files[0]=@/tmp/large http://127.0.0.1:8080/api/tasks/0/data",
        login(variables, "service"),
    )
    assert status == "404"  # CVAT's own answer: there is no task 0


def test_nothing_else_listens_beyond_loopback(host: Host) -> None:
    listening = {line.split()[3] for line in host.check_output("ss -Hltn").splitlines()}
    beyond = {address for address in listening if not address.startswith(("127.", "[::1]"))}
    assert beyond == {"*:80", "*:443"}
