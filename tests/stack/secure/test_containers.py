"""Containers may do no more than docs/privileges.md says, and reach nothing but what they need."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import docker
import pytest
from ansible_collections.endolab.active_learning.plugins.module_utils.privileges import exceptions
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.privileges import documented, running

SERVER = {"cvat-server-1"}
WORKERS = {
    f"cvat-worker_{name}-1"
    for name in ("utils", "import", "export", "annotation", "webhooks", "quality_reports", "chunks", "consensus")
}
STORES = {"cvat-db-1": 5432, "cvat-redis-1": 6379, "cvat-kvrocks-1": 6666, "cvat-opa-1": 8181}

# Connects from the network of one container to addresses of others; on standard input, because they are many.
CONNECT = """
import json, socket, sys
def open_(address):
    try:
        socket.create_connection(address, 1).close()
        return True
    except OSError:
        return False
print(json.dumps([open_((host, port)) for host, port in json.load(sys.stdin)]))
"""


def test_no_container_may_do_more_than_is_documented(containers: dict[str, Container]) -> None:
    assert running(containers) == documented(containers)


def test_what_a_container_may_do_is_seen(engine: docker.DockerClient, containers: dict[str, Container]) -> None:
    """One that asks for everything has every kind of exception."""
    options: dict[str, Any] = {
        "privileged": True,
        "network_mode": "host",
        "ipc_mode": "host",
        "pid_mode": "host",
        "uts_mode": "host",
        "volumes": ["/var/run/docker.sock:/var/run/docker.sock"],
    }
    image = str(containers["cvat-db-1"].attrs["Image"])
    greedy, plain = engine.containers.create(image, **options), engine.containers.create(image)
    try:
        greedy.reload()
        plain.reload()
        limits = {"no limit to Memory", "no limit to PidsLimit"}
        common = {"root", "capabilities of Docker's own choice", "new privileges", "writable root filesystem", *limits}
        spaces = {"host network", "host IPC", "host PID", "host UTS"}
        assert exceptions(greedy.attrs) == common | {"privileged", "Docker's socket"} | spaces
        assert exceptions(plain.attrs) == common | {"Docker's common network"}
    finally:
        greedy.remove()
        plain.remove()


def addresses(container: Container) -> list[str]:
    return [network["IPAddress"] for network in container.attrs["NetworkSettings"]["Networks"].values()]


def connects(host: Host, source: Container, targets: list[tuple[str, int]]) -> list[bool]:
    """Which of the targets answer in the network of a container."""
    process = source.attrs["State"]["Pid"]
    command = ["docker", "exec", "-i", "endolab-secure", "nsenter", "-t", str(process), "-n", "python3", "-c", CONNECT]
    done = subprocess.run(command, input=json.dumps(targets), capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("store", STORES)
def test_those_who_need_a_service_reach_it_and_nobody_else(
    host: Host, engine: docker.DockerClient, containers: dict[str, Container], store: str
) -> None:
    targets = [(address, STORES[store]) for address in addresses(containers[store])]
    assert targets
    stray = engine.containers.run(str(containers[store].attrs["Image"]), ["60"], entrypoint=["sleep"], detach=True)
    try:
        stray.reload()
        others = {name: each for name, each in containers.items() if each.attrs["HostConfig"]["NetworkMode"] != "host"}
        reach = {name for name, each in {**others, "stray": stray}.items() if any(connects(host, each, targets))}
    finally:
        stray.remove(force=True)
    assert reach == {store} | SERVER | (set() if store == "cvat-opa-1" else WORKERS)


def test_the_stores_reach_nothing_outside(host: Host, containers: dict[str, Container]) -> None:
    """The registry is another machine, which workers reach."""
    registry = [(host.check_output("getent ahostsv4 registry").split()[0], 5000)]
    assert connects(host, containers["cvat-worker_import-1"], registry) == [True]
    for name in STORES:
        assert connects(host, containers[name], registry) == [False]


def test_the_queues_and_the_database_want_passwords(containers: dict[str, Container]) -> None:
    query = "select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'cvat'"
    assert containers["cvat-db-1"].exec_run(["psql", "-U", "cvat", "-d", "cvat", "-Atc", query])[1] == b"t\n"
    for name, port in (("cvat-redis-1", "6379"), ("cvat-kvrocks-1", "6666")):
        assert b"NOAUTH" in containers[name].exec_run(["redis-cli", "-p", port, "ping"])[1]
