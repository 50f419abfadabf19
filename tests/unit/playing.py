"""How tests run playbooks in a directory of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml


def play(
    directory: Path, playbook: Path | str, inventory: dict[str, Any], variables: dict[str, Any], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Runs a playbook on these hosts with the collections that the directory has."""
    (directory / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    return subprocess.run(
        ["ansible-playbook", "-i", "hosts.yml", str(playbook), "-e", json.dumps(variables), *arguments],
        cwd=directory,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(directory / "collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
