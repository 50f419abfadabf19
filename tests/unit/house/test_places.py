"""What has to be said in several places is said in all of them, as CONTRIBUTING.md lists them."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
import yaml

from tests.run import LONG_STAGES, ROOT, STAGES
from tests.unit.roles.test_checks import ROLES

# What every role has, and the playbooks that each has a task for it in.
FILES = [
    *["meta/main.yml", "meta/argument_specs.yml", "defaults/main.yml", "vars/main.yml"],
    *[f"tasks/{name}.yml" for name in ("main", "alone", "preflight", "converge", "teardown")],
]
PLAYBOOKS = ["preflight.yml", "site.yml", "bundle.yml", "tasks/verify.yml", "tasks/upgrade/stack.yml", "teardown.yml"]

# What a role says of itself in vars/main.yml, by the ends of the names, and who puts it together with the others'.
TOGETHER = {
    "paths": "tasks/host.yml",
    "ports": "tasks/host.yml",
    "files": "preflight.yml",
    "verification": "tasks/verify.yml",
}
# That of one instance; the fact has those of all.
FACTS = {"__monailabel_verification": "__monailabel_verified"}

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
INVENTORIES = ["bench/inventory", *(f"molecule/{scenario}/inventory" for scenario in SCENARIOS)]


@functools.cache
def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def load(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text(path)))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_all_its_files(role: str) -> None:
    missing = [file for file in FILES if not (ROOT / "roles" / role / file).is_file()]
    assert not missing, f"roles/{role} lacks {' and '.join(missing)}, which every role has."


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_role_is_called_by_every_verb(role: str, playbook: str) -> None:
    called = re.search(rf"_role:\n +name: endolab\.active_learning\.{role}\n", text(f"playbooks/{playbook}"))
    assert called, (
        f"playbooks/{playbook} does not call role {role}: every role is judged, installed, verified, upgraded and taken"
        " away."
    )


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_says_of_itself_is_asked_for(role: str) -> None:
    own = load(f"roles/{role}/vars/main.yml")
    assert f"__{role}_checks" in own, f"roles/{role}/vars/main.yml lacks __{role}_checks, what the role refuses."
    for end, file in TOGETHER.items():
        name = f"__{role}_{end}"
        assert name not in own or FACTS.get(name, name) in text(f"playbooks/{file}"), (
            f"playbooks/{file} does not name {name} of roles/{role}/vars/main.yml, so that nobody looks at it."
        )


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_values_that_hypothesis_makes_up(role: str) -> None:
    from tests.unit.roles.test_fuzz import CHECKS

    assert role in CHECKS, (
        f"CHECKS of tests/unit/roles/test_fuzz.py lacks {role}: name there what must stay as it is in the files that"
        " the role writes, or [] where it writes none."
    )


def test_what_all_roles_share_is_known() -> None:
    shared = load("playbooks/group_vars/all/inventory.yml")["__inventory_shared"]
    files = sorted((ROOT / "playbooks/group_vars/all").glob("*.yml"))
    named = [name for file in files for name in yaml.safe_load(file.read_text(encoding="utf-8"))]
    unknown = [name for name in named if name.startswith("endolab_") and name not in shared]
    assert not unknown, (
        f"__inventory_shared of playbooks/group_vars/all/inventory.yml lacks {' and '.join(unknown)}, so that every"
        " inventory would be refused."
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_is_run(scenario: str) -> None:
    run = [
        command[-1]
        for stage in [*STAGES, *LONG_STAGES]
        for lane in stage
        for commands in lane.values()
        for command in commands
        if "--scenario-name" in command
    ]
    assert scenario in run, (
        f"No part of tests/run.py runs molecule/{scenario}: put it into a lane of STAGES, or of LONG_STAGES where it"
        " takes long."
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenarios_tests_are_there(scenario: str) -> None:
    """Molecule passes over what is not there."""
    verifier = load(f"molecule/{scenario}/molecule.yml")["verifier"]
    directory = ROOT / "molecule" / scenario / verifier["directory"]
    missing = [name for name in [".", *verifier.get("additional_files_or_dirs", [])] if not (directory / name).exists()]
    assert not missing, (
        f"molecule/{scenario}/molecule.yml names {missing} in {verifier['directory']}, which is not there."
    )


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_simulated_hosts_have_the_demos_stand_ins_and_credentials(inventory: str) -> None:
    for name in ("stand_ins.yml", "credentials.yml"):
        link, there = ROOT / inventory / "group_vars/lab" / name, ROOT / "inventories/demo/group_vars/lab" / name
        assert link.is_symlink(), f"{link.relative_to(ROOT)} is no link to {there.relative_to(ROOT)}; make it one."
        assert link.resolve() == there, f"{link.relative_to(ROOT)} leads elsewhere than to {there.relative_to(ROOT)}."


def test_what_is_said_names_playbooks_as_checkout_and_collection_have_them() -> None:
    """As `restore.yml`: in playbooks/ of a checkout, and `endolab.active_learning.restore` of the collection.

    Of checkouts speaks nobody but who makes a bundle, which only a checkout can.
    """
    kinds = {".yml", ".py", ".j2"}
    files = [
        file for part in ("playbooks", "roles", "plugins", "apps", "templates") for file in (ROOT / part).rglob("*")
    ]
    said = re.compile(r"^(?!\s*#).*(?:playbooks/\w+\.yml|checkout)", re.MULTILINE)
    found = {
        str(file.relative_to(ROOT)): said.findall(file.read_text(encoding="utf-8"))
        for file in files
        if file.suffix in kinds and file.parent.name != "bundling" and file != ROOT / "plugins/action/bundle.py"
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_ansible_test_is_told_the_licence_of_each_plugin_that_it_judges() -> None:
    judged = {
        str(path.relative_to(ROOT))
        for kind in ("callback", "lookup", "modules")
        for path in (ROOT / "plugins" / kind).glob("*.py")
    }
    (ignored,) = ROOT.glob("tests/sanity/ignore-*.txt")
    assert {line.split()[0] for line in ignored.read_text(encoding="utf-8").splitlines()} == judged
