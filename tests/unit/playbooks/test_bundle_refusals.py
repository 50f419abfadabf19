"""bundle.yml refuses, before anything is fetched, an inventory that site.yml would refuse at the other end."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.roles.test_checks import CREDENTIALS

ROOT = Path(__file__).resolve().parents[3]


def check(directory: Path, **settings: Any) -> tuple[int, str]:
    """What `bundle.yml --check` says of the inventory that comes with Endolab, with one host and these settings."""
    return check_hosts(directory, [{}], settings)


def check_hosts(
    directory: Path,
    hosts: list[dict[str, Any]],
    settings: dict[str, Any],
    parts: dict[str, Any] | None = None,
    *options: str,
) -> tuple[int, str]:
    """What it says of hosts with these variables, which have all parts or those that are given."""
    inventory = directory / "hosts.yml"
    # Beyond a host's connection, nothing of this machine is asked.
    named = {f"gpu{number}": {"ansible_connection": "local", **each} for number, each in enumerate(hosts, 1)}
    inventory.write_text(yaml.safe_dump({"lab": {"hosts": named}, **(parts or {})}), encoding="utf-8")
    given = json.dumps({"bundle": str(directory / "a bundle"), **settings})
    inventories = ["-i", str(inventory)] if parts else ["-i", str(ROOT / "inventories/lab"), "-i", str(inventory)]
    done = subprocess.run(
        ["ansible-playbook", ROOT / "playbooks/bundle.yml", *inventories, *options, "--check", "-e", given],
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


@pytest.mark.parametrize(
    ("hosts", "sentence"),
    [
        ([{"monailabel_image": "quay.io/monai:1"}], "quay.io/monai:1, which gpu1 is to run, would not be asked"),
        ([{"monailabel_image": "lab/monai:1"}], "lab/monai:1, which gpu1 is to run, would not be asked"),
        (
            [{"monailabel_instances": [{"name": "a", "port": 8010, "bundle": "https://m/c.zip"}]}],
            "https://m/c.zip, which monailabel_in",
        ),
        ([{"bundle_architecture": "arm64"}, {}], '"architecture": "arm64"'),
        ([{}, {"monailabel_bundle_name": "other"}], '"name": "other"'),
        ([{"monailabel_bundle": "nowhere.zip"}], "There is no file"),
    ],
    ids=[
        "an image from elsewhere",
        "an image by its bare name",
        "a model of an instance",
        "two systems",
        "two models",
        "no model",
    ],
)
def test_what_the_inventory_says_of_its_hosts_counts(
    tmp_path: Path, hosts: list[dict[str, Any]], sentence: str
) -> None:
    status, said = check_hosts(tmp_path, hosts, {**CREDENTIALS})
    assert status != 0
    assert sentence in said
    assert "changed: [localhost]" not in said


@pytest.mark.parametrize("registry", [{}, {"endolab_registry": "r.lab/"}], ids=["public", "its own"])
def test_an_image_of_the_labs_own_is_named_as_the_refusal_says(tmp_path: Path, registry: dict[str, str]) -> None:
    host = {"monailabel_image": "{{ endolab_registry | default('') }}lab/monai:1", **registry}
    status, said = check_hosts(tmp_path, [host], {**CREDENTIALS})
    assert status == 0, said


def test_for_a_part_of_the_inventory_none_is_made(tmp_path: Path) -> None:
    status, said = check_hosts(tmp_path, [{}, {}], {**CREDENTIALS}, None, "--limit", "gpu1")
    assert status != 0
    assert "Run bundle.yml without it" in said


def test_the_model_is_that_of_hosts_with_monai_label(tmp_path: Path) -> None:
    parts = {name: {"hosts": {"gpu2": None}} for name in ("cvat", "edge")} | {"monailabel": {"hosts": {"gpu1": None}}}
    status, said = check_hosts(tmp_path, [{}, {"monailabel_bundle_name": "other"}], {**CREDENTIALS}, parts)
    assert status == 0, said
