"""lock.yml writes which bytes each image is; a lock that does not fit, or cannot be had, is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.playing import play
from tests.unit.roles.test_checks import HOST, evaluate, of_file, refusals

ROOT = Path(__file__).resolve().parents[3]
GROUP_VARS = ROOT / "playbooks/group_vars/all"

# What stands in for the engines and the registry, and writes down what the latter is asked for.
IMAGE_DIGESTS = """
import json
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        names, pulled = self._task.args["names"], task_vars["pulled"].get(task_vars["inventory_hostname"])
        if self._task.args.get("source") != "registry":
            return {**result, "manageable": pulled is not None, "digests": pulled or {}}
        with open(task_vars["asked_file"], "a") as file:
            print(self._task.delegate_to, json.dumps(sorted(names)), file=file)
        if missing := [name for name in names if name not in task_vars["registry"]]:
            return {**result, "failed": True, "msg": f"These images cannot be had: {', '.join(missing)}."}
        return {**result, "digests": {name: task_vars["registry"][name] for name in names}}
"""


def names() -> dict[str, str]:
    """Every image with its tag, by its key."""
    versions = of_file(GROUP_VARS / "versions.yml")
    tags: dict[str, str] = evaluate("{{ __image_tags }}", {**of_file(GROUP_VARS / "images.yml"), **versions})
    return dict(tags)


def digest(letter: str) -> str:
    return f"sha256:{64 * letter}"


class Lab:
    """Two hosts, of which the first runs some images, and a registry that has newer ones of all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lock = directory / "images.lock"
        self.asked_file = directory / "asked"
        self.pulled: dict[str, dict[str, str]] = {"gpu1": {"r/caddy:2.10.2": digest("a")}, "gpu2": {}}
        self.registry = {f"r/{tag}": digest("f") for tag in names().values()}
        plugins = directory / "collections/ansible_collections/endolab/active_learning/plugins"
        (plugins / "action").mkdir(parents=True)
        for kind in ("filter", "lookup", "module_utils", "modules", "plugin_utils"):
            (plugins / kind).symlink_to(ROOT / "plugins" / kind)
        (plugins / "action/image_digests.py").write_text(IMAGE_DIGESTS, encoding="utf-8")
        self.said = ""

    def run(self, playbook: Path = ROOT / "playbooks/lock.yml", *arguments: str, **variables: Any) -> int:
        """Runs a playbook where the lock is to lie; returns its exit code."""
        inventory = {
            "lab": {"hosts": dict.fromkeys(["gpu1", "gpu2"]), "vars": {"ansible_connection": "local"}},
            **{part: {"children": {"lab": None}} for part in ("cvat", "edge", "monailabel")},
        }
        given = {
            "ansible_become": False,
            "endolab_registry": "r/",
            "pulled": self.pulled,
            "registry": self.registry,
            "asked_file": str(self.asked_file),
            **variables,
        }
        done = play(self.directory, playbook, inventory, given, *arguments)
        self.said = re.sub(r"\s+", " ", done.stdout + done.stderr)
        return done.returncode

    def locked(self) -> dict[str, str]:
        return dict(yaml.safe_load(self.lock.read_text(encoding="utf-8")))

    def asked(self) -> list[str]:
        """What the registry was asked for, by which host."""
        lines = self.asked_file.read_text(encoding="utf-8").splitlines() if self.asked_file.exists() else []
        self.asked_file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_what_runs_is_locked_and_the_registry_is_asked_for_the_rest_alone(lab: Lab) -> None:
    lab.pulled["gpu2"] = {"r/caddy:2.10.2": digest("b"), "r/redis:7.2.11-alpine": digest("b")}
    assert lab.run() == 0, lab.said
    there = {"caddy": digest("a"), "redis": digest("b")}
    wanted = {key: f"{tag}@{there.get(key, digest('f'))}" for key, tag in names().items()}
    assert lab.locked() == wanted
    first, *lines = lab.lock.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# Written by playbooks/lock.yml")
    assert lines == [f"{key}: {image}" for key, image in sorted(wanted.items())]
    others = sorted(f"r/{tag}" for key, tag in names().items() if key not in there)
    assert lab.asked() == [f"gpu1 {json.dumps(others)}"]

    # Whatever the hosts and the registry have by then.
    lab.pulled["gpu1"] = {"r/caddy:2.10.2": digest("c")}
    assert lab.run() == 0, lab.said
    assert re.findall(r"changed=(\d)", lab.said) == ["0", "0"]
    assert lab.locked() == wanted
    assert lab.asked() == []

    # What has another tag now, and what is damaged, is locked anew; nothing else is.
    text = lab.lock.read_text(encoding="utf-8")
    lab.lock.write_text(text.replace("caddy:2.10.2", "caddy:2.9.1").replace("redis:7", "?"), encoding="utf-8")
    assert lab.run() == 0, lab.said
    assert lab.locked() == {**wanted, "caddy": f"caddy:2.10.2@{digest('c')}"}


def test_with_update_all_are_asked_anew_and_what_changes_is_said(lab: Lab) -> None:
    assert lab.run() == 0, lab.said
    before = lab.lock.read_bytes()
    said = f"r/caddy:2.10.2: {digest('a')} becomes {digest('f')}"
    assert lab.run(ROOT / "playbooks/lock.yml", "--check", "--diff", "-e", "update=true") == 0, lab.said
    assert said in lab.said
    assert f"-caddy: caddy:2.10.2@{digest('a')}" in lab.said
    assert lab.lock.read_bytes() == before
    assert lab.run(ROOT / "playbooks/lock.yml", "-e", "update=true") == 0, lab.said
    assert said in lab.said
    assert lab.said.count(" becomes ") == 1
    assert set(lab.locked().values()) == {f"{tag}@{digest('f')}" for tag in names().values()}


def test_without_docker_it_is_said_what_comes_first(lab: Lab) -> None:
    lab.pulled = {}
    assert lab.run() != 0
    assert "Run site.yml, which brings it" in lab.said
    assert not lab.lock.exists()


def test_an_image_that_the_registry_lacks_is_named_and_nothing_written(lab: Lab) -> None:
    del lab.registry["r/postgres:15-alpine"]
    assert lab.run() != 0
    assert "These images cannot be had: r/postgres:15-alpine." in lab.said
    assert not lab.lock.exists()


def test_a_lab_that_wants_no_lock_gets_none(lab: Lab) -> None:
    assert lab.run(endolab_images_lock="") != 0
    assert "so that this lab has no lock" in lab.said


def test_where_images_come_from_a_bundle_no_registry_is_asked(lab: Lab) -> None:
    assert lab.run(bundle="/srv/bundle") != 0
    assert "gpu1 has its images from the bundle in /srv/bundle, and no registry to ask." in lab.said
    assert lab.asked() == []


PULL = """
- hosts: gpu1
  gather_facts: false
  vars:
    __pull_missing: [r/caddy@sha256:1, "r/redis:7"]
    ansible_facts: {endolab_host: {docker: {manageable: "{{ manageable }}"}}}
  tasks:
    - ansible.builtin.include_tasks: %s/playbooks/tasks/pull.yml
"""


@pytest.fixture
def pulls(lab: Lab) -> Path:
    """A playbook that pulls an image that is locked, and one that is not."""
    (lab.directory / "group_vars").symlink_to(ROOT / "playbooks/group_vars")
    (lab.directory / "pulls.yml").write_text(PULL % ROOT, encoding="utf-8")
    return lab.directory / "pulls.yml"


@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["run", "check"])
def test_a_digest_that_the_registry_lacks_ends_the_run_before_anything_is_pulled(
    lab: Lab, pulls: Path, arguments: tuple[str, ...]
) -> None:
    assert lab.run(pulls, *arguments, manageable=True) != 0
    assert "These images cannot be had: r/caddy@sha256:1. Have it copied to that registry" in lab.said
    assert "run lock.yml with -e update=true" in lab.said
    assert "named on the host" not in lab.said
    assert lab.asked() == ['None ["r/caddy@sha256:1"]']


def test_check_mode_asks_no_engine_that_is_not_there(lab: Lab, pulls: Path) -> None:
    assert lab.run(pulls, "--check", manageable=False) == 0, lab.said
    assert lab.asked() == []


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (None, ["the lock that is asked for is there"]),
        ("caddy: caddy:2.10.2\n", ["the lock is that of these images"]),
        ("".join(f"{key}: {tag}@{digest('a')}\n" for key, tag in names().items()), []),
    ],
    ids=["missing", "damaged", "right"],
)
def test_a_lock_that_does_not_fit_is_refused(tmp_path: Path, text: str | None, refused: list[str]) -> None:
    if text is not None:
        (tmp_path / "images.lock").write_text(text, encoding="utf-8")
    settings = {"endolab_images_lock": str(tmp_path / "images.lock"), "ansible_play_hosts_all": ["gpu1"]}
    assert refusals(HOST, ["__inventory_checks"], **settings) == refused
