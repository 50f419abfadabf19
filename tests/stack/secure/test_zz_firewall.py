"""The firewall: what it closes, what it opens, and that it never shuts its operator out."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import wait_until
from tests.stack.conftest import ROOT
from tests.stack.secure.conftest import LAB, Attacker

Play = Callable[..., subprocess.CompletedProcess[str]]

# Programs of the host's own, and containers whose ports Docker publishes on every interface.
PROGRAMS, PUBLISHED = [12345, 12346, 12347], [9997, 9998, 9999]

# Where Ansible finds the host.
ADDRESS = ROOT / ".cache" / "stand_ins" / "operator.address"


@pytest.fixture(scope="module")
def services(host: Host) -> Iterator[None]:
    """Something that answers on each of these ports."""
    image = host.check_output("docker inspect --format '{{.Config.Image}}' cvat-ui-1")
    for port in PROGRAMS:
        host.check_output("systemd-run --unit=leak-%s python3 -m http.server %s", str(port), str(port))
    for port in PUBLISHED:
        host.check_output("docker run --detach --rm --name leak-%s --publish %s:8000 %s", str(port), str(port), image)
    yield
    # They may have gone with the host already.
    for port in PROGRAMS:
        host.run("systemctl stop leak-%s", str(port))
    for port in PUBLISHED:
        host.run("docker rm --force leak-%s", str(port))


def test_it_waits_at_a_boot_for_nothing_that_waits_for_the_network(host: Host) -> None:
    waits_for = host.check_output("systemctl show --value --property=After endolab-firewall.service").split()
    assert not {"sysinit.target", "basic.target", "network.target"} & set(waits_for)


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks changed the lab's host."""
    found = re.search(rf"^{LAB} .*changed=(\d+)", done.stdout, re.M)
    assert found, done.stdout
    return int(found[1])


def open_ports(attacker: Attacker) -> set[int]:
    return {*attacker.scan(min(PROGRAMS), max(PROGRAMS)), *attacker.scan(min(PUBLISHED), max(PUBLISHED))}


def test_what_is_there_answers_on_the_host_and_nowhere_else(services: None, host: Host, attacker: Attacker) -> None:
    for port in [*PROGRAMS, *PUBLISHED]:
        wait_until(lambda port=port: host.run("curl -s 127.0.0.1:%s", str(port)).rc == 0, 20, f"port {port}")  # type: ignore[misc]
    assert open_ports(attacker) == set()


def test_what_the_site_names_is_open_to_those_whom_it_names(services: None, attacker: Attacker, play: Play) -> None:
    address = docker.from_env().containers.get("endolab-attacker").attrs["NetworkSettings"]["Networks"]["endolab"]
    named = [
        {"port": 12345},
        {"port": 12346, "from": ["192.0.2.0/24", "2001:db8::/32"]},
        {"port": 9998, "from": ["192.0.2.7", f"{address['IPAddress']}/32"]},
        {"port": 9999, "from": ["192.0.2.0/24"]},
    ]
    done = play("site.yml", "-e", json.dumps({"firewall_open": named}))
    assert done.returncode == 0, done.stdout
    assert open_ports(attacker) == {12345, 9998}


def test_nobody_is_routed_to_a_container(attacker: Attacker, host: Host, containers: dict[str, Container]) -> None:
    """Past the published ports, with the host as a router into Docker's networks."""
    (network,) = containers["cvat-ui-1"].attrs["NetworkSettings"]["Networks"].values()
    host.check_output("docker exec cvat-ui-1 wget -q -O /dev/null http://127.0.0.1:8000/")
    assert host.run("curl -s -o /dev/null --max-time 5 http://%s:8000/", network["IPAddress"]).rc == 0
    router = docker.from_env().containers.get(LAB).attrs["NetworkSettings"]["Networks"]["endolab"]["IPAddress"]
    route = ["ip", "route", "replace", network["IPAddress"], "via", router]
    assert attacker.container.exec_run(route)[0] == 0
    answer = attacker.one("/", host=network["IPAddress"], port=8000, tls=False)
    assert answer.error, answer


def test_rules_that_shut_ansible_out_are_taken_back(play: Play, host: Host) -> None:
    before = host.check_output("nft list table inet endolab")
    wrong = {"firewall_ssh_from": ["192.0.2.0/24"], "firewall_patience": 20}
    start = time.monotonic()
    done = play("site.yml", "-e", json.dumps(wrong))
    assert done.returncode != 0
    assert "The firewall would shut Ansible out of endolab-secure" in re.sub(r"\s+", " ", done.stdout)
    wait_until(lambda: host.check_output("nft list table inet endolab") == before, 30, "the rules as they were")
    assert time.monotonic() - start > 20, "they had held for a while"
    done = play("site.yml")
    assert done.returncode == 0, done.stdout


def test_rules_that_somebody_has_changed_are_seen(play: Play, host: Host) -> None:
    """Other rules are seen, and those that were confirmed are what comes back."""
    rules = host.check_output("nft list table inet endolab")
    unconfirmed = rules.replace("tcp dport 22 accept", "tcp dport 2222 accept")
    assert unconfirmed != rules
    host.check_output("echo %s | nft -f -", f"delete table inet endolab\n{unconfirmed}")
    # They refuse new connections by ssh.
    by_console = ["-e", "ansible_connection=community.docker.docker ansible_host=endolab-secure ansible_user=root"]
    done = play("playbooks/verify.yml", *by_console)
    assert "The firewall's rules on endolab-secure are not those" in re.sub(r"\s+", " ", done.stdout)
    done = play("site.yml", "--check", "--diff", *by_console)
    assert "tcp dport 2222 accept" in done.stdout
    host.check_output("systemctl restart endolab-firewall")
    assert host.check_output("nft list table inet endolab") == rules


def test_it_comes_back_with_the_host_before_anything_listens(
    host: Host, host_container: Container, attacker: Attacker, engine: docker.DockerClient
) -> None:
    rules = host.check_output("nft list table inet endolab")
    engine.close()
    host_container.restart(timeout=60)
    # Where other hosts start just then, Docker gives this one another address.
    ADDRESS.write_text(host.check_output("hostname -i"))
    for unit in ("ssh", "docker"):
        wait_until(lambda unit=unit: host.run("systemctl is-active %s", unit).rc == 0, 120, unit)  # type: ignore[misc]
    assert host.check_output("nft list table inet endolab") == rules
    shown = host.check_output(
        "systemctl show --property=ActiveEnterTimestampMonotonic --value endolab-firewall docker ssh"
    )
    firewall, *others = [int(line) for line in shown.split()]
    assert 0 < firewall < min(others)
    wait_until(lambda: attacker.scan(1, 1024) == [22, 80, 443], 120, "the edge")
    wait_until(lambda: attacker.one("/api/server/health/?format=json").status == 200, 300, "CVAT again")


@pytest.mark.long
def test_without_it_what_is_published_is_open(host: Host, attacker: Attacker, play: Play) -> None:
    """Shows that it is the firewall that closes; a site with its own turns it off."""
    image = host.check_output("docker inspect --format '{{.Config.Image}}' cvat-ui-1")
    host.check_output("docker run --detach --rm --name leak-9999 --publish 9999:8000 %s", image)
    try:
        assert attacker.scan(9999, 9999) == []
        settings: dict[str, Any] = {"firewall_enabled": False}
        done = play("site.yml", "-e", json.dumps(settings))
        assert done.returncode == 0, done.stdout
        assert attacker.scan(9999, 9999) == [9999]
        assert host.run("nft list table inet endolab").rc != 0
        assert changed(play("site.yml", "-e", json.dumps(settings))) == 0
    finally:
        host.check_output("docker rm --force leak-9999")
    assert play("site.yml").returncode == 0
