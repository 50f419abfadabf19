"""CVAT with the edge on one host, three loops on two others: each has its own, and none stands in another's way."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import testinfra
import yaml
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import wait_until
from tests.stack.conftest import PLAIN, ROOT

Play = Callable[..., subprocess.CompletedProcess[str]]
Variables = dict[str, dict[str, Any]]

HEAD, ONE, TWO = "endolab-head", "endolab-one", "endolab-two"

# Where each loop runs, in which container, and where its tasks are in CVAT.
LOOPS = {
    "one": (ONE, "monailabel", "MONAILabel", "ActiveLearning_Iteration"),
    "tools": (TWO, "monailabel-tools", "tools", "ActiveLearning_Iteration"),
    "polyps": (TWO, "monailabel-polyps", "polyps", "Polyps"),
}
PATHS = {"one": ONE, "tools": "tools", "polyps": "polyps"}


@pytest.fixture(scope="module")
def lab(inventory: str) -> Variables:
    """The inventory's variables of each host, lookups included."""
    shown = subprocess.run(
        ["ansible", "lab", "-i", inventory, "-m", "ansible.builtin.debug", "-a", "var=hostvars[inventory_hostname]"],
        cwd=ROOT,
        env={
            **PLAIN,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.split(r"^(\S+) \| SUCCESS => ", shown, flags=re.M)[1:]
    return {
        name: json.loads(text)["hostvars[inventory_hostname]"]
        for name, text in zip(found[::2], found[1::2], strict=True)
    }


@pytest.fixture
def head() -> Host:
    return testinfra.get_host(f"docker://{HEAD}")


def containers(name: str) -> dict[str, Container]:
    """The containers in a host, by their names."""
    process = docker.from_env().containers.get(name).attrs["State"]["Pid"]
    engine = docker.DockerClient(base_url=f"unix:///proc/{process}/root/run/docker.sock")
    return {str(each.name): each for each in engine.containers.list(all=True)}


def started(name: str) -> dict[str, str]:
    """Which containers run in a host, and since when."""
    return {each: container.attrs["State"]["StartedAt"] for each, container in containers(name).items()}


def ask(head: Host, path: str, account: tuple[str, str] | None = None) -> tuple[int, str]:
    """The edge's status and answer, as people's browsers get it."""
    who = ("-u", ":".join(account)) if account else ()
    command = "curl -sk --max-time 60 -w '\\n%%{http_code}' " + "%s " * (len(who) + 3)
    address = f"{HEAD}:443:127.0.0.1"
    answer, _, status = head.check_output(command, *who, "--resolve", address, f"https://{HEAD}{path}").rpartition("\n")
    return int(status), answer


def account(lab: Variables) -> tuple[str, str]:
    return lab[HEAD]["cvat_admin_username"], lab[HEAD]["cvat_admin_password"]


def words(output: str) -> str:
    """An output on one line, as Ansible folds long ones."""
    return " ".join(output.split())


def recap(output: str) -> dict[str, dict[str, int]]:
    """What the run's last lines say of each host."""
    lines = re.findall(r"^(\S+) +: (ok=.*)$", output, flags=re.M)
    return {name: {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", line)} for name, line in lines}


@pytest.fixture
def instead(tmp_path: Path) -> Callable[[list[dict[str, Any]]], list[str]]:
    """Options by which the second host has other instances than its inventory says."""

    def write(instances: list[dict[str, Any]]) -> list[str]:
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"lab": {"hosts": {TWO: None}}}), encoding="utf-8")
        # Only host_vars of a later inventory win over those of an earlier one.
        (tmp_path / "host_vars").mkdir(exist_ok=True)
        own = yaml.safe_dump({"monailabel_instances": instances})
        (tmp_path / f"host_vars/{TWO}.yml").write_text(own, encoding="utf-8")
        return ["-i", str(tmp_path / "hosts.yml")]

    return write


def test_the_lab_is_whole(play: Play) -> None:
    done = play("playbooks/verify.yml", "-e", "verify_first_task_timeout=600")
    assert done.returncode == 0, done.stdout


def test_each_loop_has_its_container_and_its_frames() -> None:
    for host, name, _, _ in LOOPS.values():
        container = containers(host)[name]
        assert container.attrs["State"]["Health"]["Status"] == "healthy"
    two = testinfra.get_host(f"docker://{TWO}")
    mounts = {
        name: {mount["Source"] for mount in containers(TWO)[f"monailabel-{name}"].attrs["Mounts"]}
        for name in ("tools", "polyps")
    }
    assert not mounts["tools"] & mounts["polyps"]
    assert two.file("/etc/endolab/monailabel/polyps/secrets").mode == 0o700
    assert containers(TWO)["monailabel-tools"].attrs["HostConfig"]["DeviceRequests"]
    assert not containers(TWO)["monailabel-polyps"].attrs["HostConfig"]["DeviceRequests"]


def test_each_is_found_at_the_edge_by_those_whom_cvat_knows(head: Host, lab: Variables) -> None:
    projects = {}
    for loop, name in PATHS.items():
        path = f"/monailabel/{name}"
        assert ask(head, f"{path}/info/")[0] == 401
        status, answer = ask(head, f"{path}/loop", account(lab))
        assert status == 200, answer
        projects[loop] = json.loads(answer)["task"]["name"]
    assert projects["polyps"].startswith("Polyps_")
    # Nothing of the lab is below the name that an only loop would have.
    assert "loop" not in ask(head, "/monailabel/loop", account(lab))[1][:200]


def test_each_has_its_tasks_in_its_own_project(head: Host, lab: Variables) -> None:
    def cvat(path: str) -> list[dict[str, Any]]:
        return list(json.loads(ask(head, f"/api/{path}", account(lab))[1])["results"])

    projects = {each["id"]: each["name"] for each in cvat("projects?page_size=100")}
    assert sorted(projects.values()) == sorted(project for _, _, project, _ in LOOPS.values())
    tasks = {projects[each["project_id"]]: each for each in cvat("tasks?page_size=100")}
    for loop, (_, _, project, prefix) in LOOPS.items():
        assert tasks[project]["name"] == f"{prefix}_1"
        owner = "polyps" if loop == "polyps" else lab[HEAD]["cvat_service_username"]
        assert tasks[project]["owner"]["username"] == owner


def test_status_has_a_line_for_each_loop(play: Play, tmp_path: Path) -> None:
    done = play("playbooks/status.yml", "-e", f"status_json={tmp_path}/status.json")
    assert done.returncode == 0, done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r" +endolab-\S+ .*annotating", line)]
    assert sorted(row[:2] for row in rows if row[0] == TWO) == [[TWO, "polyps"], [TWO, "tools"]]
    assert len([row for row in rows if row[0] == ONE]) == 1
    hosts = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert all(status["healthy"] for status in hosts.values()), hosts
    assert [each["name"] for each in hosts[TWO]["instances"]] == ["tools", "polyps"]
    assert {each["loop"]["phase"] for name in (ONE, TWO) for each in hosts[name]["instances"]} == {"annotating"}


def test_a_task_is_preannotated_by_the_loop_that_is_named(play: Play) -> None:
    asked = play("playbooks/preannotate.yml", "--limit", f"{TWO},localhost")
    assert asked.returncode != 0
    assert "has the instances tools and polyps. Say which one" in words(asked.stdout)
    named = play("playbooks/preannotate.yml", "--limit", f"{TWO},localhost", "-e", "instance=polyps")
    assert named.returncode == 0, named.stdout
    assert "Polyps_1" in named.stdout


def test_a_wrong_instance_is_refused_and_the_other_hosts_go_on(play: Play, instead: Any, lab: Variables) -> None:
    before = started(TWO)
    tools, polyps = lab[TWO]["monailabel_instances"]
    done = play("site.yml", *instead([tools, {**polyps, "gpus": [0]}]))
    assert done.returncode != 0
    assert re.search(
        r"1 of 3 hosts is not done: endolab-two \(.*polyps on endolab-two want the same GPU", words(done.stdout)
    )
    said = recap(done.stdout)
    assert said[HEAD] == {**said[HEAD], "failed": 0, "unreachable": 0, "changed": 0}
    assert said[ONE] == {**said[ONE], "failed": 0, "unreachable": 0, "changed": 0}
    assert started(TWO) == before


def test_an_instance_that_is_named_no_more_goes_and_its_frames_stay(
    play: Play, instead: Any, lab: Variables, head: Host
) -> None:
    tools, _ = lab[TWO]["monailabel_instances"]
    two = testinfra.get_host(f"docker://{TWO}")
    assert play("site.yml", *instead([tools])).returncode == 0
    assert "monailabel-polyps" not in containers(TWO)
    assert not two.file("/etc/endolab/monailabel/polyps").exists
    assert two.file("/srv/endolab/datasets/polyps/images/loop/memory.json").exists
    assert two.file("/srv/endolab/apps/polyps").is_directory
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    wait_until(lambda: ask(head, "/monailabel/polyps/loop", account(lab))[0] == 200, 60, "polyps again")
    assert json.loads(ask(head, "/monailabel/polyps/loop", account(lab))[1])["iteration"] == 1


@pytest.fixture
def lost() -> Iterator[None]:
    """A host that is off, until the test has ended."""
    host = docker.from_env().containers.get(ONE)
    host.stop()
    yield
    host.start()
    back = testinfra.get_host(f"docker://{ONE}")
    wait_until(
        lambda: back.run("systemctl is-system-running --wait").stdout.strip() in ("running", "degraded"), 120, "systemd"
    )


def test_a_host_that_is_lost_is_named_and_the_others_go_on(play: Play, lost: None, head: Host, lab: Variables) -> None:
    before = head.file("/etc/endolab/hop/peers.pem").content_string
    done = play("site.yml")
    assert done.returncode != 0
    assert "1 of 3 hosts is not done: endolab-one (" in words(done.stdout)
    said = recap(done.stdout)
    # Of a container that is off, Ansible's connection says that a module fails.
    assert said[ONE]["unreachable"] + said[ONE]["failed"] == 1
    for name in (HEAD, TWO):
        assert said[name] == {**said[name], "failed": 0, "unreachable": 0, "changed": 0}, done.stdout
    assert head.file("/etc/endolab/hop/peers.pem").content_string == before, "it is known when it comes back"
    assert ask(head, "/monailabel/tools/loop", account(lab))[0] == 200
    assert ask(head, f"/monailabel/{ONE}/loop", account(lab))[0] == 502


def test_it_belongs_to_the_lab_when_it_comes_back(play: Play, head: Host, lab: Variables) -> None:
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    wait_until(lambda: ask(head, f"/monailabel/{ONE}/loop", account(lab))[0] == 200, 120, "the loop that was away")
