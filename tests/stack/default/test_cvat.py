"""CVAT: every service is there and healthy, the accounts work, and only loopback reaches it."""

from __future__ import annotations

from typing import Any

import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import SERVICES, ask

CVAT = sorted(name for name in SERVICES if name.startswith("cvat-"))


@pytest.mark.parametrize("name", CVAT)
def test_the_service_is_healthy(containers: dict[str, Container], name: str) -> None:
    assert containers[name].attrs["State"]["Health"]["Status"] == "healthy"


@pytest.mark.parametrize("name", CVAT)
def test_the_service_comes_back_by_itself(containers: dict[str, Container], name: str) -> None:
    assert containers[name].attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_only_loopback_is_published(containers: dict[str, Container]) -> None:
    published = {
        (name, binding["HostIp"], binding["HostPort"])
        for name, container in containers.items()
        for bindings in (container.attrs["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    }
    assert published == {("cvat-server-1", "127.0.0.1", "8081"), ("cvat-ui-1", "127.0.0.1", "8082")}


def test_cvat_calls_itself_healthy(host: Host, variables: dict[str, Any]) -> None:
    assert ask(host, variables, "", "/api/server/health/?format=json") == 200


@pytest.mark.parametrize("who", ["admin", "service"])
def test_the_account_logs_in(host: Host, variables: dict[str, Any], who: str) -> None:
    assert ask(host, variables, who, "/api/users/self") == 200


def test_nobody_else_gets_in(host: Host, variables: dict[str, Any]) -> None:
    assert ask(host, variables, "", "/api/users/self") == 401
    wrong = {**variables, "cvat_admin_password": "wrong"}
    assert ask(host, wrong, "admin", "/api/users/self") == 401


def test_the_service_account_is_an_ordinary_user(containers: dict[str, Container]) -> None:
    query = "select username, is_superuser from auth_user order by username"
    rows = containers["cvat-db-1"].exec_run(["psql", "-U", "cvat", "-d", "cvat", "-Atc", query])[1]
    assert rows == b"admin|t\nmonailabel|f\n"


def test_a_dead_worker_is_seen(containers: dict[str, Container]) -> None:
    """The health check's own command, for more workers than there are."""
    command = ". /etc/cvat/init.d/passwords; python3 /opt/cvat/manage.py workerprobe export --expected-num-workers"
    export = containers["cvat-worker_export-1"]
    assert export.exec_run(["bash", "-c", f"{command} 2"])[0] == 0
    assert export.exec_run(["bash", "-c", f"{command} 3"])[0] == 1


def test_the_database_wants_its_password(containers: dict[str, Container]) -> None:
    command = "PGPASSWORD=wrong psql -h db -U cvat -d cvat -c 'select 1'"
    code, output = containers["cvat-db-1"].exec_run(["sh", "-c", command])
    assert code != 0
    assert b"password authentication failed" in output


@pytest.mark.parametrize(("name", "port"), [("cvat-redis-1", "6379"), ("cvat-kvrocks-1", "6666")])
def test_the_queues_want_their_passwords(containers: dict[str, Container], name: str, port: str) -> None:
    assert b"NOAUTH" in containers[name].exec_run(["redis-cli", "-p", port, "ping"])[1]
