"""The collection, built and installed, holds nothing that is a lab's own, and works without the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import ansible
import pytest
import yaml

from tests.unit.playbooks.test_init import VAULT, Clone
from tests.unit.roles.test_checks import evaluate, variables_of

ROOT = Path(__file__).resolve().parents[3]
NAME = "endolab.active_learning"
INVENTORY = "inventories/lab"

# What a checkout has that somebody works with.
PRIVATE = [
    VAULT,
    ".vault_pass",
    "certificates/gpu1.crt",
    ".cache/bundle.zip",
    ".demo/admin_password",
    "playbooks/host_vars/gpu1.yml",
    "roles/cvat/files/.netrc",
    "plugins/modules/__pycache__/lock.cpython-311.pyc",
]
PACKED = re.compile(
    r"(README|CHANGELOG|SECURITY)\.md|LICENSE|requirements\.txt|changelogs/changelog\.yaml|docs/\w+(-\w+)*\.md|meta/[\w-]+\.(yml|txt)"
    r"|playbooks/(\w+\.yml|files/bundle_server\.py|(files/lab|group_vars/all|tasks|vars)/[\w/]+\.yml)|(plugins|bundling)/.+\.py"
    r"|roles/.+|apps/.+\.(py|html)|templates/run_monailabelinits\.sh\.j2|tests/sanity/ignore-[\d.]+\.txt"
    r"|monitoring/\w+\.(yml|json)"
)


def built(source: Path, output: Path) -> Path:
    """The artefact that a checkout makes."""
    command = ["ansible-galaxy", "collection", "build", str(source), "--output-path", str(output)]
    done = subprocess.run(command, cwd=output, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    (artefact,) = output.glob("*.tar.gz")
    return artefact


def environment(**variables: str) -> dict[str, str]:
    """Nothing of Ansible's but these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | variables


class Installed:
    """The collection in a directory of its own, and another one, empty, to run it from."""

    def __init__(self, directory: Path) -> None:
        self.checkout = Clone(directory / "checkout")
        for name in PRIVATE:
            (self.checkout.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (self.checkout.directory / name).write_text("a secret", encoding="utf-8")
        (directory / "artefact").mkdir()
        self.artefact = built(self.checkout.directory, directory / "artefact")
        self.work = directory / "work"
        self.work.mkdir()
        self._environment = environment(
            PWD="/elsewhere", ANSIBLE_COLLECTIONS_PATH=str(directory / "collections"), ANSIBLE_NOCOLOR="1"
        )
        at = ("-p", str(directory / "collections"), "--no-deps", "--offline")
        done = self.run("ansible-galaxy", "collection", "install", str(self.artefact), *at)
        assert done.returncode == 0, done.stderr
        self.directory = directory / "collections/ansible_collections" / NAME.replace(".", "/")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs it as from a program, whose variable PWD is that of the shell that has begun it."""
        return subprocess.run(
            command, cwd=self.work, env=self._environment, capture_output=True, text=True, check=False
        )

    def play(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("ansible-playbook", *arguments)

    def files(self) -> dict[str, bytes]:
        """All that is installed."""
        everything = self.directory.rglob("*")
        return {str(path.relative_to(self.directory)): path.read_bytes() for path in everything if path.is_file()}

    def evaluated(self, role: str, name: str, **variables: Any) -> Any:
        """A variable of a role, as one of its tasks sees it."""
        places = {"role_path": str(self.directory / "roles" / role), "playbook_dir": str(self.directory / "playbooks")}
        return evaluate(f"{{{{ {name} }}}}", {**variables_of([role]), **variables, **places})


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("collection"))


@pytest.fixture
def empty(installed: Installed) -> Path:
    """The directory to work in, with nothing in it."""
    shutil.rmtree(installed.work)
    installed.work.mkdir()
    return installed.work


def name_host(work: Path) -> None:
    """Writes a host that is away, and notes what is asked of it, into the inventory that init.yml has made."""
    (work / "ssh").write_text(f'#!/bin/sh\necho "$@" >> {work}/asked\nexit 255\n', encoding="utf-8")
    (work / "ssh").chmod(0o755)
    hosts = work / INVENTORY / "hosts.yml"
    away = f"gpu1: {{ansible_ssh_executable: {work}/ssh, ansible_pipelining: true}}"
    hosts.write_text(hosts.read_text(encoding="utf-8").replace("# gpu1.example.org:", away), encoding="utf-8")


def test_it_is_packed_whole_and_nothing_else(installed: Installed) -> None:
    with tarfile.open(installed.artefact) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    packed = {member.name for member in members if member.isfile()} - {"MANIFEST.json", "FILES.json"}
    assert sorted(name for name in packed if not PACKED.fullmatch(name)) == []
    tracked = installed.checkout.run("git", "ls-files", "--others", "--exclude-standard").stdout.splitlines()
    assert packed == {name for name in tracked if PACKED.fullmatch(name)} - set(PRIVATE)


@pytest.mark.parametrize("name", ["hosts.yml", "group_vars/lab/settings.yml"])
def test_a_lab_begins_with_the_inventory_that_a_checkout_has(name: str) -> None:
    """As they are committed: a checkout that somebody works with has a lab's own."""
    shown = ("git", "show", f"HEAD:playbooks/files/lab/{name}"), ("git", "show", f"HEAD:{INVENTORY}/{name}")
    first, second = (subprocess.run(each, cwd=ROOT, capture_output=True, check=True).stdout for each in shown)
    assert first == second


def test_a_controller_has_what_builds_it() -> None:
    """README has it built in a lab's environment, and bundle.yml builds it at its end: a manifest needs distlib."""
    assert "manifest" in yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert re.search("^distlib==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)


def test_it_asks_for_the_collections_that_it_uses() -> None:
    asked = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["dependencies"]
    files = [file for part in ("playbooks", "roles") for file in (ROOT / part).rglob("*.yml")]
    used = {
        name
        for file in files
        for name in re.findall(r"^[ -]*(\w+\.\w+)\.\w+:$", file.read_text(encoding="utf-8"), re.M)
    }
    assert used - {"ansible.builtin", NAME} == set(asked)
    for name, version in asked.items():
        manifest = Path(ansible.__file__).parents[1] / "ansible_collections" / name.replace(".", "/") / "MANIFEST.json"
        tested = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
        assert re.fullmatch(r">=\d+\.\d+\.\d+", version)
        assert [int(part) for part in version[2:].split(".")] <= [int(part) for part in tested.split(".")]


def test_every_playbook_can_be_run_by_its_name(installed: Installed, empty: Path) -> None:
    playbooks = sorted((ROOT / "playbooks").glob("*.yml"))
    done = installed.play(*(f"{NAME}.{each.stem}" for each in playbooks), "--syntax-check")
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^playbook: (.*)$", done.stdout, re.M)
    assert found == [str(installed.directory / "playbooks" / each.name) for each in playbooks]


def test_the_tasks_of_roles_are_found(installed: Installed, empty: Path) -> None:
    done = installed.play(f"{NAME}.site", "--list-tasks")
    assert done.returncode == 0, done.stderr
    assert f"{NAME}.monailabel : MONAI Label cannot run here" in done.stdout


def test_init_makes_a_lab_where_it_is_run(installed: Installed, empty: Path) -> None:
    before = installed.files()
    done = installed.play(f"{NAME}.init")
    assert done.returncode == 0, done.stdout
    made = {str(path.relative_to(empty)) for path in empty.rglob("*") if path.is_file()}
    assert made == {f"{INVENTORY}/hosts.yml", f"{INVENTORY}/group_vars/lab/settings.yml", VAULT, ".vault_pass"}
    assert installed.files() == before

    name_host(empty)
    done = installed.play(f"{NAME}.site", "-i", INVENTORY, "--vault-password-file", ".vault_pass")
    inventory_read, _, host_met = done.stdout.partition("TASK [Nobody else changes the host]")
    assert "fatal" not in inventory_read
    assert "UNREACHABLE" in host_met
    asked = (empty / "asked").read_text(encoding="utf-8")
    assert "/usr/bin/python3" in asked
    assert "command -v" not in asked


def test_other_files_for_the_vault_are_named_from_where_it_is_run(installed: Installed, empty: Path) -> None:
    done = installed.play(f"{NAME}.init", "-e", "vault_file=my_vault.yml vault_password_file=my_password")
    assert done.returncode == 0, done.stdout
    assert f"Credentials: {empty}/my_vault.yml" in done.stdout
    assert (empty / "my_vault.yml").is_file()
    assert (empty / "my_password").is_file()


def test_a_lab_without_credentials_is_refused(installed: Installed, empty: Path) -> None:
    shutil.copytree(ROOT / "playbooks/files/lab", empty / INVENTORY)
    name_host(empty)
    done = installed.play(f"{NAME}.site", "-i", INVENTORY)
    assert done.returncode != 0
    assert "init.yml writes all credentials, generated and vaulted" in done.stdout


def test_the_app_and_its_script_are_found(installed: Installed) -> None:
    place = {"app": "apps/endoscopy", "app_dir": "/app", "studies": "datasets/images", "port": 8000, "conf": {}}
    app = installed.directory / "apps/endoscopy"
    paths = {f"/app/{file.relative_to(app)}" for file in app.rglob("*.*")}
    assert {"/app/endolab_loop/loop.py", "/app/endolab_loop/page.html"} <= paths
    files = installed.evaluated("monailabel", "__monailabel_app_files", __monailabel_place=place)
    assert {file["path"]: file["content"] for file in files} == {
        path: (app / path.removeprefix("/app/")).read_text(encoding="utf-8") for path in paths
    }
    script = installed.evaluated("monailabel", "__monailabel_script", __monailabel_place={**place, "endolabs": True})
    assert "start_server" in script


@pytest.mark.parametrize(
    ("role", "name", "settings"),
    [
        ("edge", "__edge_root_file", {"edge_root_file": "my/file"}),
        ("edge", "__edge_acme_root_file", {"edge_acme_root_file": "my/file"}),
        ("edge", "__edge_certificate_file", {"edge_certificate_file": "my/file"}),
        ("edge", "__edge_certificate_key_file", {"edge_certificate_key_file": "my/file"}),
        ("monailabel", "__monailabel_cvat_ca_file", {"monailabel_cvat_ca": "my/file"}),
        ("monailabel", "__monailabel_bundle_file", {"__monailabel_place": {"bundle": "my/file"}}),
    ],
)
def test_a_labs_files_are_looked_for_where_it_is_run(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, name: str, settings: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", "/elsewhere")
    assert installed.evaluated(role, name, **settings) == f"{tmp_path}/my/file"
    at_home = json.loads(json.dumps(settings).replace("my/", "~/"))
    assert installed.evaluated(role, name, **at_home) == str(Path.home() / "file")


def test_a_certificate_is_fetched_to_where_it_is_run(installed: Installed) -> None:
    assert installed.evaluated("edge", "edge_root_file", edge_name="gpu1") == "certificates/gpu1.crt"


def test_what_programs_read_is_written_where_it_is_run(installed: Installed, empty: Path) -> None:
    (empty / "hosts.yml").write_text("lab: {hosts: {gpu1: }}\ncvat: {children: {lab: }}\n", encoding="utf-8")
    report = installed.directory / "playbooks/tasks/report.yml"
    named = "report_file=seen.json report_fact=inventory_hostname"
    task = [{"hosts": "lab", "gather_facts": False, "tasks": [{"ansible.builtin.import_tasks": str(report)}]}]
    play = installed.directory / "playbooks/report_alone.yml"
    play.write_text(yaml.safe_dump(task), encoding="utf-8")
    try:
        done = installed.play(f"{NAME}.report_alone", "-i", "hosts.yml", "-e", named)
    finally:
        play.unlink()
    assert done.returncode == 0, done.stdout
    assert json.loads((empty / "seen.json").read_text(encoding="utf-8")) == {"gpu1": "gpu1"}


@pytest.mark.parametrize(
    ("kind", "directory"),
    [("module", "modules"), ("filter", "filter"), ("lookup", "lookup"), ("test", "test"), ("callback", "callback")],
)
def test_every_plugin_is_documented(installed: Installed, kind: str, directory: str) -> None:
    names = {f"{NAME}.{file.stem}" for file in (ROOT / "plugins" / directory).glob("*.py")}
    done = installed.run("ansible-doc", "--json", "--type", kind, *names)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {name for name in told if told[name]["doc"]["short_description"]} == names
