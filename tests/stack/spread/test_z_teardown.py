"""Teardown, last because it takes the stack away: each host is as it was before Endolab came."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from tests.stack.conftest import PLAIN, ROOT
from tests.stack.teardown import TEARDOWN, changes, differences, snapshot, traces

pytestmark = pytest.mark.long

Play = Callable[..., subprocess.CompletedProcess[str]]

HOSTS = ["endolab-front", "endolab-model"]


def settled(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Of a snapshot what a lab at work leaves as it is."""
    files = {path: what for path, what in snapshot["files"].items() if path.startswith(("/etc/", "/usr/", "/opt/"))}
    parts = ("packages", "holds", "automatic packages", "unit files", "nftables", "users", "groups")
    return {"files": files, **{part: snapshot[part] for part in parts}}


@pytest.fixture(scope="module")
def hosts() -> dict[str, Host]:
    return {name: testinfra.get_host(f"docker://{name}") for name in HOSTS}


def test_check_mode_says_what_would_go(play: Play, hosts: dict[str, Host]) -> None:
    before = {name: settled(snapshot(host)) for name, host in hosts.items()}
    done = play(*TEARDOWN, "--check", "--diff")
    assert changes(done)
    for name in ("docker-ce", "nftables", "restic", "/etc/endolab/cvat", "registry:5000/cvat/server:"):
        assert name in done.stdout
    for name, host in hosts.items():
        assert differences(before[name], settled(snapshot(host))) == {}


def test_docker_stays_for_what_is_somebody_elses(play: Play, hosts: dict[str, Host]) -> None:
    hosts["endolab-model"].check_output("docker volume create somebodys")
    done = play(*TEARDOWN)
    assert changes(done)
    said = re.sub(r"\s+", " ", done.stdout)
    assert "Docker stays on endolab-model, because it holds volume somebodys, which Endolab did not put there." in said
    assert "Docker stays on endolab-front" not in said
    assert hosts["endolab-model"].check_output("docker volume ls -q") == "somebodys"
    assert hosts["endolab-model"].check_output("docker image ls -q") == ""
    assert not hosts["endolab-model"].package("nftables").is_installed
    assert changes(play(*TEARDOWN)) == []


def test_a_teardown_that_was_broken_off_is_finished_by_another(
    play: Play, hosts: dict[str, Host], inventory: str
) -> None:
    hosts["endolab-model"].check_output("docker volume rm somebodys")
    command = ["ansible-playbook", "-i", inventory, *TEARDOWN]
    with subprocess.Popen(command, cwd=ROOT, env=PLAIN, stdout=subprocess.PIPE, text=True) as broken:
        assert broken.stdout is not None
        for line in broken.stdout:
            if "Its data are gone" in line:
                broken.kill()
    assert not hosts["endolab-model"].service("docker.service").is_running
    assert changes(play(*TEARDOWN))


@pytest.mark.parametrize("name", HOSTS)
def test_each_host_is_as_it_was_found(hosts: dict[str, Host], name: str) -> None:
    assert traces(hosts[name]) == {}


def test_a_second_teardown_changes_nothing(play: Play) -> None:
    assert changes(play(*TEARDOWN)) == []
