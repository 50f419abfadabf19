"""init.yml writes the lab's credentials once, vaulted, and never loses any."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
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
        # That of the checkout may be a lab's by now.
        shutil.rmtree(directory / "inventories/lab")
        shutil.copytree(ROOT / "playbooks/files/lab", directory / "inventories/lab")
        self.run("git", "init", "--quiet")

    def run(self, *command: str, below: str = ".") -> subprocess.CompletedProcess[str]:
        """Runs it in the clone, or in a directory of it."""
        return subprocess.run(command, cwd=self.directory / below, capture_output=True, text=True, check=False)

    def init(self, *arguments: str, below: str = ".") -> subprocess.CompletedProcess[str]:
        return self.run("ansible-playbook", str(self.directory / "playbooks/init.yml"), *arguments, below=below)

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


@pytest.fixture
def edited(fresh: Clone) -> Iterator[Path]:
    """The lab's inventory in a clone, with something of the lab's own, before there are credentials."""
    lab = fresh.directory / "inventories/lab"
    (lab / "hosts.yml").write_text("lab: {hosts: {gpu1: }}\n", encoding="utf-8")
    yield lab
    shutil.rmtree(lab)
    shutil.copytree(ROOT / "playbooks/files/lab", lab)
    (fresh.directory / ".vault_pass").unlink(missing_ok=True)


def test_what_a_lab_has_written_stays(fresh: Clone, edited: Path) -> None:
    assert fresh.init().returncode == 0
    assert (edited / "hosts.yml").read_text(encoding="utf-8") == "lab: {hosts: {gpu1: }}\n"
    (edited / "group_vars/lab/settings.yml").unlink()
    assert "changed=0" in fresh.init().stdout, "a lab that has credentials is complete"


def test_an_inventory_of_which_there_is_a_part_is_completed(fresh: Clone, edited: Path) -> None:
    shutil.rmtree(edited / "group_vars")
    (fresh.directory / ".vault_pass").write_text("written before\n", encoding="utf-8")
    done = fresh.init()
    assert done.returncode == 0, done.stdout
    assert (edited / "hosts.yml").read_text(encoding="utf-8") == "lab: {hosts: {gpu1: }}\n"
    assert (fresh.directory / ".vault_pass").read_text(encoding="utf-8") == "written before\n"
    made = {file.name: file.stat().st_mode & 0o777 for file in (edited / "group_vars/lab").iterdir()}
    assert made == {"settings.yml": 0o644, "vault.yml": 0o600}
    assert fresh.credentials()["cvat_admin_username"] == "admin"


@pytest.mark.parametrize("below", ["playbooks", "inventories/lab/group_vars"])
def test_a_second_lab_is_not_made_below_another(fresh: Clone, below: str) -> None:
    before = fresh.run("git", "status", "--porcelain").stdout
    done = fresh.init(below=below)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f"Run it again after `cd {fresh.directory}`" in said
    assert fresh.run("git", "status", "--porcelain").stdout == before
