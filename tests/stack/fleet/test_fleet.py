"""CVAT and the edge on one host, three loops on two others: each has what is its own, and none stops the rest."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import testinfra
import yaml

from tests.stack.common import cvat, login, open_tasks, wait_until

Done = subprocess.CompletedProcess[str]
Play = Callable[..., Done]
Json = dict[str, Any]

HEAD, ONE, TWO = "endolab-head", "endolab-one", "endolab-two"
HOSTS = {name: testinfra.get_host(f"docker://{name}") for name in (HEAD, ONE, TWO)}

NVIDIA = "NVIDIA GeForce RTX 4090"


@dataclass(frozen=True)
class Loop:
    """One of the three: where it runs, what people find it by at the edge, its GPU, and where its tasks are in CVAT."""

    host: str
    container: str
    route: str
    gpu: str
    project: str
    prefix: str
    owner: str


LOOPS = [
    Loop(TWO, "monailabel-tools", "tools", "0", "tools", "ActiveLearning_Iteration", "monailabel"),
    Loop(TWO, "monailabel-polyps", "polyps", "1", "polyps", "Polyps", "polyps"),
    Loop(ONE, "monailabel", ONE, "", "endoscopes", "Endoscopes", "monailabel"),
]
POLYPS = LOOPS[1]
POLYPS_FILES = ("/srv/endolab/datasets/polyps", "/srv/endolab/apps/polyps")

each_loop = pytest.mark.parametrize("loop", LOOPS, ids=[each.route for each in LOOPS])


@pytest.fixture
def instead(tmp_path: Path) -> Callable[[list[Json]], list[str]]:
    """Writes an inventory that gives the host other instances; returns what a playbook is told of it."""

    def write(instances: list[Json]) -> list[str]:
        (tmp_path / "hosts.yml").write_text("lab: {}\n", encoding="utf-8")
        # A host's variables in hosts.yml would count less than those of the scenario's host_vars.
        (tmp_path / "host_vars").mkdir()
        own = yaml.safe_dump({"monailabel_instances": instances})
        (tmp_path / "host_vars" / f"{TWO}.yml").write_text(own, encoding="utf-8")
        return ["-i", str(tmp_path / "hosts.yml")]

    return write


def at_the_edge(loop: Loop, path: str, account: str = "") -> tuple[int, str]:
    """HTTP's status and the answer for a call below a loop's path."""
    who = ("-u", account) if account else ("-s", "-s")
    url = f"https://{HEAD}/monailabel/{loop.route}/{path}"
    said = HOSTS[HEAD].run("curl -s -k --max-time 60 -w %s %s %s %s", r"\n%{http_code}", *who, url).stdout
    answer, _, status = said.rpartition("\n")
    return int(status), answer


def open_task(loop: Loop, variables: Json) -> int | None:
    """The number of the task that a loop shows at the edge; none while it does not."""
    status, answer = at_the_edge(loop, "loop", login(variables, "service"))
    shown = json.loads(answer) if status == 200 else {}
    return shown["task"]["id"] if shown.get("phase") == "annotating" else None


def tasks(loop: Loop, variables: Json) -> list[Json]:
    """What CVAT has in a loop's project."""
    projects = cvat(HOSTS[HEAD], variables, "projects?page_size=100")["results"]
    numbers = [each["id"] for each in projects if each["name"] == loop.project]
    found = open_tasks(HOSTS[HEAD], variables, "tasks?page_size=100")
    return [each for each in found if each["project_id"] in numbers]


def health(loop: Loop) -> str:
    look = "docker inspect --format '{{.State.Health.Status}}' "
    return str(HOSTS[loop.host].check_output(look + loop.container))


def running(name: str) -> set[str]:
    """Each container in a host, with the time of its start."""
    look = "docker inspect --format '{{.Name}} {{.Id}} {{.State.StartedAt}}' $(docker ps -aq)"
    return set(HOSTS[name].check_output(look).splitlines())


def polyps_sums() -> str:
    """The sums of polyps' frames and weights."""
    find = "find %s %s -type f '(' -name '*.png' -o -name '*.pt' ')' -exec sha256sum {} +"
    return "\n".join(sorted(HOSTS[TWO].check_output(find, *POLYPS_FILES).splitlines()))


def words(said: str) -> str:
    """What Ansible said, on one line."""
    return " ".join(said.split())


def last_word(done: Done) -> str:
    """What the last play of a run said."""
    return words(done.stdout.rpartition("\nPLAY [")[2].partition("\nPLAY RECAP")[0])


def recap(done: Done) -> dict[str, dict[str, int]]:
    """How many tasks were ok, changed, unreachable and so on, of each host."""
    lines = re.findall(r"^(\S+) +: (ok=.+)$", done.stdout, re.M)
    return {name: {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", line)} for name, line in lines}


def check_that_others_are_done(done: Done, *names: str) -> None:
    counts = recap(done)
    for name in names:
        assert (counts[name]["failed"], counts[name]["unreachable"]) == (0, 0), done.stdout


@each_loop
def test_each_loop_has_a_healthy_container(loop: Loop) -> None:
    assert health(loop) == "healthy"


@each_loop
def test_each_loop_sees_its_own_gpu_and_no_other(loop: Loop) -> None:
    seen = HOSTS[loop.host].run("docker exec %s nvidia-smi -L", loop.container)
    assert re.findall(r"^GPU (\d+):", seen.stdout, re.M) == list(loop.gpu)


@each_loop
def test_the_door_leads_to_each_loop_for_those_whom_cvat_knows(loop: Loop, variables: Json) -> None:
    status, answer = at_the_edge(loop, "info/", login(variables, "service"))
    assert status == 200
    assert json.loads(answer)["models"]
    assert at_the_edge(loop, "info/")[0] == 401
    assert at_the_edge(loop, "info/", "monailabel:wrong")[0] == 401


@each_loop
def test_each_loop_puts_its_tasks_into_its_own_project(loop: Loop, variables: Json) -> None:
    wait_until(lambda: bool(tasks(loop, variables)), 300, f"a task in project {loop.project}")
    (task,) = tasks(loop, variables)
    assert (task["name"], task["owner"]["username"]) == (f"{loop.prefix}_1", loop.owner)
    wait_until(lambda: open_task(loop, variables) == task["id"], 60, "the loop behind this path shows that task")


def test_cvat_has_no_other_projects(variables: Json) -> None:
    found = cvat(HOSTS[HEAD], variables, "projects?page_size=100")["results"]
    assert sorted((each["name"], each["owner"]["username"]) for each in found) == sorted(
        (each.project, each.owner) for each in LOOPS
    )


def test_the_status_has_a_row_for_each_loop_in_one_table(play: Play, tmp_path: Path) -> None:
    done = play("playbooks/status.yml", "-e", f"status_json={tmp_path}/status.json")
    assert done.returncode == 0, done.stdout
    cards = rf"2 x {NVIDIA}, \d+ MiB +[\d.]+"
    for row in (
        f"{HEAD} +- +- +-",
        f"{ONE} +- +- +- +annotating +1",
        *(f"{TWO} +{name} +{cards} +annotating +1" for name in ("tools", "polyps")),
    ):
        assert len(re.findall(rf"^ *{row} ", done.stdout, re.M)) == 1, row
    hosts = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    names = {host: [each["name"] for each in seen["instances"]] for host, seen in hosts.items()}
    assert names == {HEAD: [], ONE: [""], TWO: ["tools", "polyps"]}
    assert {host: seen["problems"] for host, seen in hosts.items()} == {HEAD: [], ONE: [], TWO: []}
    assert all(seen["healthy"] for seen in hosts.values())


def test_the_lab_is_whole(play: Play) -> None:
    done = play("playbooks/verify.yml")
    assert done.returncode == 0, done.stdout


def test_who_preannotates_says_which_of_several_loops(play: Play) -> None:
    done = play("playbooks/preannotate.yml", "--limit", TWO)
    assert done.returncode != 0
    assert f"{TWO} has the instances tools and polyps. Say which one" in words(done.stdout)
    assert "Projects:" not in done.stdout


def test_a_loop_that_is_named_lists_what_its_account_sees(play: Play) -> None:
    done = play("playbooks/preannotate.yml", "--limit", TWO, "-e", "instance=polyps")
    assert done.returncode == 0, done.stdout
    assert re.search(r"Projects: polyps$", done.stdout, re.M)
    assert re.search(r"^ *\d+ +Polyps_1 +polyps +2 ", done.stdout, re.M)
    assert "ActiveLearning_Iteration" not in done.stdout


def test_two_instances_that_want_the_same_gpu_are_refused_and_the_other_hosts_go_on(
    play: Play, instead: Callable[[list[Json]], list[str]], variables: Json
) -> None:
    before = running(TWO)
    # Something for the others to do.
    missing = "/etc/endolab/monailabel/canary_follow.py"
    HOSTS[ONE].check_output("rm %s", missing)
    done = play(*instead([{**each, "gpus": [0]} for each in variables["monailabel_instances"]]), "site.yml")
    assert done.returncode != 0
    assert f"monailabel-tools and monailabel-polyps on {TWO} want the same GPU." in words(done.stdout)
    assert f"1 of 3 hosts is not done: {TWO} (" in last_word(done), done.stdout
    check_that_others_are_done(done, HEAD, ONE)
    assert HOSTS[ONE].file(missing).exists
    assert running(TWO) == before
    assert recap(done)[TWO]["changed"] == 0
    assert [at_the_edge(each, "info/", login(variables, "service"))[0] for each in LOOPS] == [200, 200, 200]


@pytest.fixture(scope="module")
def polyps_before(variables: Json) -> tuple[str, int | None]:
    """Polyps' frames and weights, and the task that it waits for."""
    return polyps_sums(), open_task(POLYPS, variables)


def test_an_instance_that_the_inventory_names_no_more_goes_and_what_it_has_stays(
    play: Play,
    instead: Callable[[list[Json]], list[str]],
    variables: Json,
    polyps_before: tuple[str, int | None],
) -> None:
    assert all(kind in polyps_before[0] for kind in (".png", ".pt"))
    done = play(*instead([each for each in variables["monailabel_instances"] if each["name"] == "tools"]), "site.yml")
    assert done.returncode == 0, done.stdout
    assert sorted(each.split()[0] for each in running(TWO)) == ["/endolab-hop", "/monailabel-tools"]
    assert not HOSTS[TWO].file("/etc/endolab/monailabel/polyps").exists
    assert "/monailabel/polyps" not in HOSTS[HEAD].file("/etc/endolab/edge/Caddyfile").content_string
    assert polyps_sums() == polyps_before[0]


def test_it_goes_on_where_it_was_when_the_inventory_names_it_again(
    play: Play, variables: Json, polyps_before: tuple[str, int | None]
) -> None:
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    assert health(POLYPS) == "healthy"
    wait_until(lambda: open_task(POLYPS, variables) == polyps_before[1], 120, "the same task is open")
    assert polyps_sums() == polyps_before[0]


def test_an_instances_changed_password_reaches_cvat_and_its_loop(play: Play, variables: Json) -> None:
    def lets_in(password: str) -> bool:
        return at_the_edge(POLYPS, "info/", f"polyps:{password}")[0] == 200

    old, new = variables["polyps_password"], "another password"
    for password, outdated, options in ((new, old, ["-e", json.dumps({"polyps_password": new})]), (old, new, [])):
        done = play("site.yml", *options)
        assert done.returncode == 0, done.stdout
        assert (lets_in(password), lets_in(outdated)) == (True, False)
    assert not json.loads(at_the_edge(POLYPS, "loop", login(variables, "service"))[1])["error"]


def test_a_lost_host_is_named_and_the_others_go_on(play: Play, variables: Json) -> None:
    certificate = HOSTS[ONE].file("/etc/endolab/hop/certificate.pem").content_string
    docker.from_env().containers.get(ONE).stop(timeout=60)
    done = play("site.yml")
    assert done.returncode != 0
    assert recap(done)[ONE]["unreachable"] == 1
    assert f"1 of 3 hosts is not done: {ONE} (cannot be reached)" in last_word(done), done.stdout
    check_that_others_are_done(done, HEAD, TWO)
    assert certificate in HOSTS[HEAD].file("/etc/endolab/hop/peers.pem").content_string
    assert at_the_edge(POLYPS, "info/", login(variables, "service"))[0] == 200


def test_a_host_that_comes_back_belongs_to_the_lab_again(play: Play, variables: Json) -> None:
    docker.from_env().containers.get(ONE).start()
    wait_until(lambda: HOSTS[ONE].run("docker info").rc == 0, 120, "its Docker engine")
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    # The edge's firewall follows the address, which another start of a simulated host may change.
    assert (recap(done)[ONE]["changed"], recap(done)[TWO]["changed"]) == (0, 0), done.stdout
    loop = LOOPS[2]
    wait_until(lambda: at_the_edge(loop, "info/", login(variables, "service"))[0] == 200, 60, "its loop at the edge")
