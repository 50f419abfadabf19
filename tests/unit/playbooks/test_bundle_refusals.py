"""bundle.yml refuses, before anything is fetched, an inventory that site.yml would refuse at the other end."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.test_checks import CREDENTIALS

ROOT = Path(__file__).resolve().parents[3]
# Beyond the host's connection, nothing of this machine is asked.
HOSTS = "lab: {hosts: {gpu1: {ansible_connection: local}}}\n"


def check(directory: Path, **settings: Any) -> tuple[int, str]:
    """What `bundle.yml --check` says of the inventory that comes with Endolab, with one host and these settings."""
    hosts = directory / "hosts.yml"
    hosts.write_text(HOSTS, encoding="utf-8")
    given = json.dumps({"bundle": str(directory / "a bundle"), **settings})
    playbook = ROOT / "playbooks/bundle.yml"
    done = subprocess.run(
        ["ansible-playbook", playbook, "-i", ROOT / "inventories/lab", "-i", hosts, "--check", "-e", given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


def test_check_mode_fetches_nothing_and_ends_well(tmp_path: Path) -> None:
    status, said = check(tmp_path, **CREDENTIALS)
    assert status == 0, said
    assert "TASK [It is whole]" in said
    assert not (tmp_path / "a bundle").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "are not set for gpu1. init.yml writes all credentials"),
        ({**CREDENTIALS, "endolab_registry": "registry.lab"}, 'endolab_registry is "registry.lab".'),
        ({**CREDENTIALS, "endolab_images_lock": "nowhere.lock"}, "and there is no file"),
    ],
    ids=["credentials", "registry", "lock"],
)
def test_what_would_be_refused_at_the_other_end_is_refused_here(
    tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    status, said = check(tmp_path, **settings)
    assert status != 0
    assert sentence in said
    assert "TASK [It is whole]" not in said
