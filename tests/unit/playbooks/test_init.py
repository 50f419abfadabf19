"""init.yml writes the lab's credentials once, vaulted, and never loses any."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
VAULT = "inventories/lab/group_vars/lab/vault.yml"


class Clone:
    """A fresh clone of the project, as somebody has it who has done nothing yet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
            if (source := ROOT / name).is_symlink() or source.exists():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, directory / name, follow_symlinks=False)
        self.run("git", "init", "--quiet")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)

    def init(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("ansible-playbook", "playbooks/init.yml", *arguments)

    def credentials(self) -> dict[str, Any]:
        """What the vault holds."""
        return dict(yaml.safe_load(self.run("ansible-vault", "view", VAULT).stdout))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("initialised"))
    done = clone.init()
    assert done.returncode == 0, done.stdout
    return clone


def test_a_fresh_clone_passes_the_syntax_check_and_says_what_is_missing(fresh: Clone) -> None:
    done = fresh.run("ansible-playbook", "site.yml", "-i", "lab", "--syntax-check")
    assert done.returncode == 0
    assert "make one with `ansible-playbook playbooks/init.yml`, or copy your lab's there." in done.stderr


def test_check_mode_writes_nothing(fresh: Clone) -> None:
    assert fresh.init("--check").returncode == 0
    assert not (fresh.directory / VAULT).exists()
    assert not (fresh.directory / ".vault_pass").exists()


def test_the_vault_and_its_password_are_for_their_owner_alone(initialised: Clone) -> None:
    for name in (VAULT, ".vault_pass"):
        assert (initialised.directory / name).stat().st_mode & 0o777 == 0o600


def test_the_credentials_are_vaulted_and_generated(initialised: Clone) -> None:
    assert (initialised.directory / VAULT).read_text(encoding="ascii").startswith("$ANSIBLE_VAULT;")
    passwords = [value for name, value in initialised.credentials().items() if name.endswith("_password")]
    assert len(passwords) == len(set(passwords)) == 7
    assert all(re.fullmatch("[A-Za-z0-9]{32}", password) for password in passwords)


def test_git_takes_the_password_for_nothing_of_its_own(initialised: Clone) -> None:
    assert initialised.run("git", "check-ignore", ".vault_pass").returncode == 0


def test_the_lab_inventory_has_the_credentials(initialised: Clone) -> None:
    (initialised.directory / "inventories/lab/hosts.yml").write_text("lab: {hosts: {gpu1: }}\n", encoding="utf-8")
    listing = initialised.run("ansible-inventory", "-i", "lab", "--host", "gpu1").stdout
    assert initialised.credentials().items() <= yaml.safe_load(listing).items()


def test_a_second_run_keeps_them(initialised: Clone) -> None:
    before = initialised.credentials()
    done = initialised.init()
    assert "changed=0" in done.stdout
    assert initialised.credentials() == before


def test_a_vault_without_its_password_is_not_written_over(initialised: Clone) -> None:
    password = initialised.directory / ".vault_pass"
    vaulted = (initialised.directory / VAULT).read_bytes()
    kept = password.rename(initialised.directory / "kept")
    done = initialised.init()
    assert done.returncode != 0
    assert "Put the password there, or move" in re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert (initialised.directory / VAULT).read_bytes() == vaulted
    assert not password.exists()
    kept.rename(password)
