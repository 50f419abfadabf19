"""rotate.yml writes new credentials to the vault that the lab has, as it is kept, before any host gets them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.unit.playbooks.test_broken_hosts import FRONT, GPUS, ROOT, Fleet

PASSWORD = "a password of the vault's"
OLD = "an old password"


class Lab:
    """A lab whose vault file is a link, as where another repository keeps it, and which a group may read."""

    def __init__(self, directory: Path) -> None:
        self.fleet = Fleet(directory)
        plugins = directory / "collections/ansible_collections/endolab/active_learning/plugins"
        for kind in ("filter", "module_utils", "plugin_utils"):
            (plugins / kind).symlink_to(ROOT / "plugins" / kind)
        self.fleet.host_vars = {name: {"cvat_redis_password": OLD} for name in (FRONT, *GPUS)}
        self.kept, self.vault, self.password = directory / "kept.yml", directory / "vault.yml", directory / "password"
        self._vault = VaultLib([("default", VaultSecret(PASSWORD.encode()))])
        self.kept.write_bytes(self._vault.encrypt(f"cvat_redis_password: {OLD}\nours: stays\n"))
        self.kept.chmod(0o640)
        self.vault.symlink_to(self.kept)
        self.password.write_text(f"{PASSWORD}\n", encoding="utf-8")

    def rotate(self, *options: str) -> tuple[int, str]:
        vault, password = str(self.vault), str(self.password)
        return self.fleet.run("rotate.yml", *options, vault_file=vault, vault_password_file=password)

    def held(self) -> dict[str, str]:
        return dict(yaml.safe_load(self._vault.decrypt(self.kept.read_bytes())))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_the_vault_is_written_where_it_is_kept_and_for_those_who_read_it(lab: Lab) -> None:
    status, said = lab.rotate()
    assert status == 0, said
    assert lab.vault.is_symlink()
    assert lab.kept.stat().st_mode & 0o777 == 0o640
    held = lab.held()
    assert held["ours"] == "stays"
    assert held["cvat_redis_password"] != OLD
    assert lab.fleet.did("monailabel/submit_each") == GPUS


def test_a_program_may_say_the_password(lab: Lab) -> None:
    lab.password.rename(lab.password.with_name("said"))
    lab.password.write_text("#!/bin/sh\ncat said\n", encoding="utf-8")
    lab.password.chmod(0o700)
    status, said = lab.rotate()
    assert status == 0, said
    assert lab.held()["cvat_redis_password"] != OLD


def test_labs_with_credentials_of_their_own_are_told_apart(lab: Lab) -> None:
    lab.fleet.parts["cvat"] = [FRONT, "gpu1"]
    lab.fleet.host_vars["gpu1"] = {"cvat_redis_password": "another"}
    status, said = lab.rotate()
    assert status != 0
    assert "gpu1 has a CVAT of its own, and other credentials than front: a lab by itself." in said
    assert lab.held()["cvat_redis_password"] == OLD


def test_with_a_limit_nothing_is_changed_and_it_is_said_why(lab: Lab) -> None:
    status, said = lab.rotate("--limit", "gpu1,front")
    assert status != 0
    assert "With --limit nothing is written to the vault, so nothing was changed." in said
    assert lab.held()["cvat_redis_password"] == OLD
    assert "monailabel/converge" not in lab.fleet.steps()
