"""The inventories that come with Endolab pass what is asked before a host is read."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from bench import fleet, second_run
from tests.unit.roles.test_checks import CREDENTIALS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("inventory", ["inventories/demo", "inventories/lab"])
def test_it_is_accepted(inventory: str, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("lab: {hosts: {gpu1: }}\n", encoding="utf-8")
    accepted([inventory, str(hosts)], tmp_path)


def test_a_fleet_for_the_bench_is_accepted(tmp_path: Path) -> None:
    accepted(fleet.inventories(tmp_path, 3), tmp_path)


def test_how_many_hosts_come_at_a_time_is_said_on_the_command_line(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("lab: {hosts: {gpu1: }, vars: {endolab_serial: 2}}\n", encoding="utf-8")
    refusal = "endolab_serial is 2 in the inventory, where it does nothing."
    assert refusal in asked(["inventories/lab", str(hosts)], tmp_path)
    accepted(["inventories/lab", str(hosts)], tmp_path, "-e", "endolab_serial=3")


def accepted(inventories: list[str], tmp_path: Path, *options: str) -> None:
    said = asked(inventories, tmp_path, *options)
    # What comes next is judged by this machine, which is no lab's host.
    inventory_read, _, _ = said.partition("TASK [What the host is, is read]")
    assert "TASK [What the host is, is read]" in said, said
    assert "fatal" not in inventory_read, said


def asked(inventories: list[str], tmp_path: Path, *options: str) -> str:
    """What preflight.yml says of inventories, one over the other."""
    password = tmp_path / "password"
    password.write_text("none\n", encoding="utf-8")
    settings = {
        **CREDENTIALS,
        "ansible_connection": "local",
        "ansible_become": False,
        # What the demo reads from files that it has made.
        "__kept": str(tmp_path / "kept"),
        "__fingerprints": {"docker": "A" * 40, "nvidia_container_toolkit": "B" * 40},
        "monailabel_bundle_checksum": "sha256:" + "0" * 64,
    }
    done = subprocess.run(
        second_run.command("playbooks/preflight.yml", inventories, "--check", "-e", json.dumps(settings), *options),
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(password)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout
