"""Teardown, last because it takes the stack away: each host is as it was before Endolab came."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from tests.stack.conftest import PLAIN, ROOT

pytestmark = pytest.mark.long

Play = Callable[..., subprocess.CompletedProcess[str]]

HOSTS = ["endolab-front", "endolab-model"]
TEARDOWN = ("playbooks/teardown.yml", "-e", "teardown_data=true")

# What differs, and why that is nobody's concern.
MAY_DIFFER = [
    # Copies of the state before the last change of a group, by the programs that make one.
    r"/etc/g(roup|shadow)-",
    # Ansible's, which comes with any playbook.
    r"/root/\.ansible(/.*)?",
]


EMPTY = re.compile(r"\*|COMMIT|:[A-Z]+ ACCEPT ")


def snapshot(host: Host) -> dict[str, Any]:
    """What a host is like now."""
    return dict(json.loads(host.check_output("python3 /srv/stand_ins/snapshot.py")))


def differences(before: Any, after: Any) -> dict[str, Any]:
    """What is other in each part of two snapshots: of lists and dictionaries the entries that are not the same."""
    found: dict[str, Any] = {}
    for part, old in before.items():
        pairs = [set(each.items()) if isinstance(each, dict) else set(each) for each in (old, after[part])]
        gone, new = (sorted(map(str, a - b)) for a, b in (pairs, pairs[::-1]))
        if gone or new:
            found[part] = {"gone": gone, "new": new}
    return found


def without_known(snapshot: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without what may differ."""
    known = re.compile("|".join(MAY_DIFFER))
    files = {path: what for path, what in snapshot["files"].items() if not known.fullmatch(path)}
    # Without nft nobody can take away a table of iptables; one without rules and with open policies does nothing.
    rules = {part: [line for line in snapshot[part] if not EMPTY.match(line)] for part in ("iptables", "ip6tables")}
    return {**snapshot, "files": files, **rules}


def settled(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Of a snapshot what a lab at work leaves as it is."""
    files = {path: what for path, what in snapshot["files"].items() if path.startswith(("/etc/", "/usr/", "/opt/"))}
    parts = ("packages", "holds", "automatic packages", "unit files", "nftables", "users", "groups")
    return {"files": files, **{part: snapshot[part] for part in parts}}


def changes(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The tasks that have, or would have, changed something."""
    assert done.returncode == 0, done.stdout
    tasks = re.split(r"^TASK ", done.stdout, flags=re.M)
    return [task.splitlines()[0] for task in tasks if re.search(r"^changed: ", task, re.M)]


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
    before = json.loads(hosts[name].check_output("cat /srv/stand_ins/before.json"))
    assert differences(without_known(before), without_known(snapshot(hosts[name]))) == {}


def test_a_second_teardown_changes_nothing(play: Play) -> None:
    assert changes(play(*TEARDOWN)) == []
