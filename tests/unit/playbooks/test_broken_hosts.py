"""A host that is refused, dead or broken does not stop those that can do without it, and is named at the end."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.playing import play
from tests.unit.roles.test_checks import ROLES, trusted, variables_of

ROOT = Path(__file__).resolve().parents[3]

# What the plays of site.yml and rotate.yml call, each of which fails where it is told to: roles, and their task files.
CALL = re.compile(r"_role:\n +name: endolab\.active_learning\.(\w+)\n +tasks_from: (\w+)\n")
CALLED = {
    call
    for name in ("preflight", "site", "rotate")
    for call in CALL.findall((ROOT / f"playbooks/{name}.yml").read_text(encoding="utf-8"))
}
STEP = """
- name: Step {step}
  ansible.builtin.assert:
    that: breaks[inventory_hostname] | default('') != '{step}'
    fail_msg: |-
      {step} fails
      on {{{{ inventory_hostname }}}}.
    quiet: true
"""
LOSE = """
- name: The host is lost
  ansible.builtin.file:
    path: {directory}/lines/{{{{ inventory_hostname }}}}
    state: absent
  delegate_to: localhost
  when: inventory_hostname in lost
"""
HOST = "- {name: What the host is, endolab.active_learning.host_facts: }"
# A host is there as long as its line is.
SSH = """#!/bin/sh
for word; do case $word in host=*) host=${word#*=};; esac; command=$word; done
test -e %(directory)s/lines/$host || { echo $host >> %(directory)s/dead; exit 255; }
exec sh -c "$command"
"""
HOST_FACTS = """
from ansible.plugins.action import ActionBase


NOTES = "/var/lib/endolab/upgrade/notes.json"


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        self._low_level_execute_command("true")
        facts = {"paths": {NOTES: {"exists": False}}, "docker": {"running": True, "containers": {}}}
        return {**super().run(tmp, task_vars), "ansible_facts": {"endolab_host": facts}}
"""
FRONT, GPUS = "front", ["gpu1", "gpu2", "gpu3"]


class Fleet:
    """CVAT and the edge on one host, and others with MONAI Label, none of which has anything on it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        shutil.copytree(ROOT / "playbooks", directory / "playbooks")
        for name, first in {"inventory": "", "lock": HOST, "host": HOST, "found": "", "bundle_gone": ""}.items():
            step = first + STEP.format(step=name, directory=directory)
            (directory / f"playbooks/tasks/{name}.yml").write_text(step, encoding="utf-8")
        collection = directory / "collections/ansible_collections/endolab/active_learning"
        for role, called in CALLED:
            tasks = collection / f"roles/{role}/tasks"
            tasks.mkdir(parents=True, exist_ok=True)
            step = STEP.format(step=f"{role}/{called}", directory=directory)
            (tasks / f"{called}.yml").write_text(step, encoding="utf-8")
        with (collection / "roles/hop/tasks/keys.yml").open("a", encoding="utf-8") as keys:
            keys.write(LOSE.format(directory=directory))
        (collection / "plugins/action").mkdir(parents=True)
        (collection / "plugins/action/host_facts.py").write_text(HOST_FACTS, encoding="utf-8")
        ssh = directory / "ssh"
        ssh.write_text(SSH % {"directory": directory}, encoding="utf-8")
        ssh.chmod(0o755)
        (directory / "lines").mkdir()
        for name in (FRONT, *GPUS):
            (directory / "lines" / name).touch()

        self.host_vars: dict[str, dict[str, Any]] = {}
        self.parts = {"cvat": [FRONT], "edge": [FRONT], "monailabel": GPUS}
        self._said = ""

    def run(
        self, playbook: str = "site.yml", *options: str, dead: tuple[str, ...] = (), **variables: Any
    ) -> tuple[int, str]:
        """Runs a playbook; returns its exit code, and what it has said."""
        for name in dead:
            (self._directory / "lines" / name).unlink()
        inventory = {
            "lab": {
                "hosts": {
                    name: {"ansible_ssh_common_args": f"-o host={name}", **self.host_vars.get(name, {})}
                    for name in (FRONT, *GPUS)
                },
                "vars": {
                    "ansible_ssh_executable": str(self._directory / "ssh"),
                    "ansible_become": False,
                    "ansible_pipelining": True,
                    "ansible_python_interpreter": sys.executable,
                    "monailabel_gpus": "all",
                    "__backup_host_settings": {},
                    "__backup_wanted": True,
                    "__backup_left": False,
                    "__monailabel_absent": ["monailabel"],
                    **{f"__{role}_checks": [] for role in ROLES},
                },
            },
            **{part: {"hosts": dict.fromkeys(names)} for part, names in self.parts.items()},
        }
        given = {"breaks": {}, "lost": [], **variables}
        done = play(self._directory, f"playbooks/{playbook}", inventory, given, *options)
        self._said = done.stdout
        return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)

    def did(self, step: str) -> list[str]:
        """The hosts on which this was done, by their names."""
        tasks = re.findall(rf"^TASK \[.*Step {step}\] .*\n((?:.+\n)*)", self._said, re.M)
        return sorted(re.findall(r"^ok: \[(\w+)\]", "".join(tasks), re.M))

    def steps(self) -> set[str]:
        """What was begun."""
        return set(re.findall(r"^TASK \[.*Step (\S+)\]", self._said, re.M))

    def refusals(self) -> dict[str, str]:
        """What each host has failed for first."""
        faults = reversed(re.findall(r"^fatal: \[(\w+)\]: FAILED! => (.*)", self._said, re.M))
        return {host: json.loads(fault)["msg"] for host, fault in faults}

    def waits(self) -> list[str]:
        """The hosts that a connection was waited for in vain, each as often as that was."""
        dead = self._directory / "dead"
        return dead.read_text(encoding="utf-8").split() if dead.exists() else []


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def named(said: str) -> str:
    """What is said of those that are not done."""
    found = re.search(r"\d of \d hosts .*? not done: .*? then run site.yml again", said)
    return found[0] if found else ""


def test_nobody_is_named_where_all_are_done(fleet: Fleet) -> None:
    status, said = fleet.run()
    assert status == 0, said
    assert named(said) == ""
    assert fleet.did("monailabel/converge") == GPUS
    assert fleet.did("hop/converge") == GPUS
    assert fleet.did("nvidia_container_toolkit/converge") == fleet.did("nvidia_container_toolkit/smoke") == GPUS
    assert fleet.did("cvat/converge") == [FRONT]
    assert "backup/restore" not in fleet.steps()


def test_the_others_go_on_and_who_is_not_done_is_named(fleet: Fleet) -> None:
    status, said = fleet.run(
        dead=("gpu1",), breaks={"gpu2": "monailabel/preflight", "gpu3": "nvidia_container_toolkit/converge"}
    )
    assert status != 0
    assert fleet.did("edge/converge") == [FRONT]
    assert fleet.did("monailabel/converge") == []
    assert fleet.did("firewall/converge") == [FRONT, "gpu3"]
    assert named(said) == (
        "3 of 4 hosts are not done: gpu1 (cannot be reached); gpu2 (Step monailabel/preflight: "
        "monailabel/preflight fails on gpu2.); gpu3 (broke or was lost on the way, as said above). The others are. "
        "Mend this, then run site.yml again"
    )
    assert fleet.waits() == ["gpu1"], "its timeout is waited for once"


@pytest.mark.parametrize(
    ("wrong", "last"),
    [
        ({"dead": (FRONT,)}, "monailabel/preflight"),
        ({"breaks": {FRONT: "cvat/preflight"}}, "monailabel/preflight"),
        ({"breaks": {FRONT: "docker_engine/converge"}}, "docker_engine/converge"),
        ({"breaks": {FRONT: "cvat/converge"}}, "cvat/converge"),
        ({"breaks": {FRONT: "hop/keys"}}, "hop/keys"),
    ],
    ids=["dead", "refused", "without Docker", "without CVAT", "without keys"],
)
def test_without_cvat_and_the_edge_nobody_goes_on(fleet: Fleet, wrong: dict[str, Any], last: str) -> None:
    status, said = fleet.run(**wrong)
    assert status != 0
    assert last in fleet.steps()
    assert "monailabel/converge" not in fleet.steps()
    if last == "monailabel/preflight":
        assert "front cannot go on, for what is said above, and the other hosts are of no use without CVAT" in said
        assert "found" not in fleet.steps()


def test_where_the_run_ends_early_no_bundle_is_served_any_more(fleet: Fleet) -> None:
    fleet.run(breaks={FRONT: "docker_engine/converge"}, __bundle_served={})
    assert fleet.did("bundle_gone") == GPUS


@pytest.mark.parametrize(
    "playbook",
    [
        lambda fleet: fleet.run("restore.yml", dead=("gpu1",)),
        lambda fleet: fleet.run(__run_whole=True, breaks={"gpu1": "monailabel/preflight"}),
    ],
    ids=["a restore", "an upgrade"],
)
def test_what_must_be_whole_is(fleet: Fleet, playbook: Callable[[Fleet], tuple[int, str]]) -> None:
    status, said = playbook(fleet)
    assert status != 0
    assert "gpu1 cannot go on, for what is said above, and this must be done on every host or on none" in said
    assert "found" not in fleet.steps()


@pytest.mark.parametrize("playbook", ["upgrade", "rotate"])
def test_upgrades_and_new_credentials_are_whole(playbook: str) -> None:
    first, *_ = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text(encoding="utf-8"))
    assert first["ansible.builtin.import_playbook"] == "preflight.yml"
    assert first["vars"]["__run_whole"] is True


@pytest.mark.parametrize("step", ["firewall/converge", "backup/check", "backup/restore"])
def test_a_restore_ends_where_one_host_fails(fleet: Fleet, step: str) -> None:
    status, _ = fleet.run("restore.yml", breaks={"gpu1": step})
    assert status != 0
    assert step in fleet.steps()
    assert ("backup/restore" in fleet.steps()) is (step == "backup/restore")
    assert fleet.steps().isdisjoint({"backup/schedule", "monailabel/converge", "backup/settle"})


def test_who_has_its_archive_back_and_no_loop_keeps_it_in_mind(fleet: Fleet) -> None:
    status, said = fleet.run("restore.yml", breaks={"gpu1": "monailabel/converge"})
    assert status != 0
    assert fleet.did("backup/settle") == [FRONT, "gpu2", "gpu3"]
    assert named(said).startswith("1 of 4 hosts is not done: gpu1 (Step monailabel/converge: ")


def test_batches_go_on_after_a_broken_one_and_one_that_was_lost_while_it_waited(fleet: Fleet) -> None:
    status, said = fleet.run(endolab_serial=[1, "50%"], breaks={"gpu1": "monailabel/converge"}, lost=["gpu2"])
    assert status != 0
    assert fleet.did("monailabel/converge") == ["gpu3"]
    assert re.match(
        r"2 of 4 hosts are not done: gpu1 \(Step monailabel/converge: .*\); gpu2 \(The host is still there: .*\)\.",
        named(said),
    ), said


def test_all_that_a_host_is_refused_for_is_said_at_once(fleet: Fleet) -> None:
    status, _ = fleet.run(
        __docker_engine_checks=[{"that": False, "otherwise": "Docker cannot run here."}],
        __cvat_checks=[{"that": False, "otherwise": "CVAT cannot run here."}],
    )
    assert status != 0
    assert fleet.refusals() == {
        FRONT: "Docker cannot run here.\nCVAT cannot run here.",
        **dict.fromkeys(GPUS, "Docker cannot run here."),
    }


@pytest.mark.parametrize("serial", [3, "3", "25%", [1, "50%"]], ids=str)
def test_batches_are_numbers_and_shares(serial: Any) -> None:
    assert batches_are_clear(serial)


@pytest.mark.parametrize("serial", [0, -1, 1.5, "all", "0%", "", [1, "x"], True], ids=str)
def test_what_is_no_batch_is_refused(serial: Any) -> None:
    assert not batches_are_clear(serial)


def batches_are_clear(serial: Any) -> bool:
    """What the checks of the inventory think of it."""
    variables = yaml.safe_load((ROOT / "playbooks/group_vars/all/inventory.yml").read_text(encoding="utf-8"))
    (check,) = (
        each for each in variables["__inventory_checks"] if each["name"] == "it is clear how many hosts come at a time"
    )
    templar = Templar(loader=DataLoader(), variables=trusted({**variables, "endolab_serial": serial}))
    return bool(templar.template(trusted(check["that"])))


def test_what_preflight_remembers_has_a_name_of_its_own() -> None:
    """A fact beats a role's variable of the same name, in a second preflight of the same run, too."""
    preflight = (ROOT / "playbooks/preflight.yml").read_text(encoding="utf-8")
    facts = re.findall(r"^ {12}(__\w+): ", preflight.partition("set_fact:")[2], re.MULTILINE)
    assert {"__backup_settings", "__archives_matter"} <= set(facts)
    assert not set(facts) & set(variables_of(ROLES))


def test_what_tasks_remember_has_a_name_of_its_own() -> None:
    """So does a result: where a role runs a second time, it would be what the variable was."""
    tasks = [*(ROOT / "roles").glob("*/tasks/**/*.yml"), *(ROOT / "playbooks").rglob("*.yml")]
    registered = {
        name
        for file in tasks
        for name in re.findall(r"^ *register: (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert "__firewall_closed" in registered
    assert registered & set(variables_of(ROLES)) == set()
