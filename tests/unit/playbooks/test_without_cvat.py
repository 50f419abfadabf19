"""An inventory may name hosts for MONAI Label alone where CVAT is somebody else's."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.playbooks.test_broken_hosts import FRONT, GPUS, Fleet
from tests.unit.roles.test_checks import CREDENTIALS

ROOT = Path(__file__).resolve().parents[3]
URL = "https://cvat.example.org"
ACCOUNT = {name: CREDENTIALS[name] for name in ("cvat_service_username", "cvat_service_password")}
PLAYBOOKS = [each.name for each in (ROOT / "playbooks").glob("*.yml")]


def play(directory: Path, playbook: str, *options: str, **inventory: Any) -> tuple[int, str]:
    """Runs a playbook on an inventory of one GPU host and these groups; returns its exit code and what it said."""
    hosts = {
        "lab": {"hosts": {"gpu1": {"ansible_connection": "local", "ansible_become": False}}},
        "monailabel": {"children": {"lab": None}},
        **inventory,
    }
    (directory / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    (directory / "password").write_text("none\n", encoding="utf-8")
    done = subprocess.run(
        ["ansible-playbook", "-i", directory / "hosts.yml", *options, f"playbooks/{playbook}"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_VAULT_PASSWORD_FILE": str(directory / "password")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def at(url: str) -> dict[str, Any]:
    return {"all": {"vars": {"monailabel_cvat_url": url}}}


EMPTY = {"cvat": None, "edge": None}


@pytest.mark.parametrize("groups", [{}, EMPTY], ids=["missing", "empty"])
def test_neither_cvat_nor_the_edge_needs_a_host(tmp_path: Path, groups: dict[str, Any]) -> None:
    status, said = play(tmp_path, "hosts.yml", **groups, **at(URL))
    assert status == 0, said


def test_every_playbook_can_be_read_without_a_warning(tmp_path: Path) -> None:
    *others, last = PLAYBOOKS
    status, said = play(tmp_path, last, "--syntax-check", *(f"playbooks/{each}" for each in others), **EMPTY, **at(URL))
    assert status == 0, said
    assert "WARNING" not in said
    assert re.findall(r"playbook: playbooks/(\S+)", said) == PLAYBOOKS


@pytest.mark.parametrize(
    ("inventory", "groups"),
    [
        ({}, ["cvat", "edge"]),
        (at("http://127.0.0.1:8080"), ["cvat", "edge"]),
        (at("https://localhost"), ["cvat", "edge"]),
        ({**at(URL), "edge": {"children": {"lab": None}}}, ["cvat"]),
        ({**at(URL), "cvat": {"children": {"lab": None}}}, ["edge"]),
    ],
    ids=["no URL", "loopback", "localhost", "an edge", "a CVAT"],
)
def test_what_lacks_a_cvat_is_refused(tmp_path: Path, inventory: dict[str, Any], groups: list[str]) -> None:
    status, said = play(tmp_path, "hosts.yml", **inventory)
    assert status != 0
    assert [each for each in ("cvat", "edge", "monailabel") if f'Group "{each}" of the' in said] == groups
    assert "leave both cvat and edge without a host, and set monailabel_cvat_url to its address" in said


def test_a_second_host_without_the_address_is_refused(tmp_path: Path) -> None:
    lab = {"hosts": {"gpu1": {"monailabel_cvat_url": URL}, "gpu2": None}}
    status, said = play(tmp_path, "hosts.yml", lab=lab)
    assert status != 0
    assert 'Group "cvat" of the inventory has no host.' in said


def test_its_account_is_the_only_credential(tmp_path: Path) -> None:
    bundle = {"monailabel_bundle_checksum": "sha256:" + "0" * 64}
    _, said = play(tmp_path, "preflight.yml", "--check", "-e", json.dumps({**ACCOUNT, **bundle}), **at(URL))
    # What comes next is judged by this machine, which is no lab's host.
    read, task, _ = said.partition("TASK [What the host is, is read]")
    assert task, said
    assert "fatal" not in read, said


def test_its_account_is_asked_for(tmp_path: Path) -> None:
    _, said = play(tmp_path, "preflight.yml", "--check", **at(URL))
    assert "cvat_service_password and cvat_service_username are not set for gpu1." in said
    assert f"write there the account that the loop has in CVAT at {URL}" in said
    assert "cvat_admin_password" not in said


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Without a host for CVAT."""
    fleet = Fleet(tmp_path)
    fleet.parts = {"monailabel": GPUS}
    return fleet


def test_a_run_brings_up_monai_label_and_nothing_in_front_of_it(fleet: Fleet) -> None:
    status, said = fleet.run(monailabel_cvat_url=URL)
    assert status == 0, said
    assert fleet.did("monailabel/converge") == fleet.did("firewall/converge") == GPUS
    for step in ("cvat/preflight", "cvat/converge", "edge/converge", "hop/preflight", "hop/keys", "hop/converge"):
        assert fleet.did(step) == []
    assert FRONT not in said.partition("PLAY RECAP")[2]


def test_a_dead_host_stops_no_other(fleet: Fleet) -> None:
    status, said = fleet.run(dead=("gpu1",), monailabel_cvat_url=URL)
    assert status != 0
    assert fleet.did("monailabel/converge") == ["gpu2", "gpu3"]
    assert "1 of 3 hosts is not done: gpu1 (cannot be reached)" in said


def test_no_account_is_changed_in_somebody_elses_cvat(fleet: Fleet, tmp_path: Path) -> None:
    vault = tmp_path / "vault.yml"
    vault.write_text("untouched", encoding="utf-8")
    status, said = fleet.run("rotate.yml", monailabel_cvat_url=URL, vault_file=str(vault))
    assert status != 0
    assert "CVAT is somebody else's, and so are its accounts and stores: nothing was changed." in said
    assert vault.read_text(encoding="utf-8") == "untouched"
    assert "monailabel/converge" not in fleet.steps()
