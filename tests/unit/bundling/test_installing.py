"""With a bundle all comes from there, and no role knows of it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.roles.test_checks import HOST as DEBIAN
from tests.unit.roles.test_checks import ROLES, trusted, variables_of
from tests.unit.roles.test_checks import refusals as refusals_of

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = ROOT / "playbooks"
ALL = PLAYBOOKS / "group_vars" / "all"
DIGEST, OTHER = (f"sha256:{digit * 64}" for digit in "01")
HOST = {"id": "debian", "codename": "trixie", "architecture": "amd64"}
MODEL = {"name": "tools", "checksum": "sha1:0"}
FOUND = {
    "system": HOST,
    "suites": {"distribution": "trixie trixie-updates"},
    "images": {"redis:7": DIGEST},
    "packages": ["nftables", "nvidia-container-toolkit=1.18.0-1"],
    "model": MODEL,
}
# What the roles say that such a host needs.
NEEDED = {
    "__bundle_packages": FOUND["packages"],
    "groups": {"monailabel": ["gpu1"]},
    "monailabel_bundle_name": MODEL["name"],
    "monailabel_bundle_checksum": MODEL["checksum"],
}

REGISTRY = "127.0.0.1:8500/"


def images(tags: dict[str, str], digests: dict[str, str]) -> dict[str, Any]:
    """What is known of images that a host runs, some of them locked."""
    names = {key: f"{REGISTRY}{tag}" for key, tag in tags.items()}
    run = {key: f"{name.rpartition(':')[0]}@{digests[key]}" if key in digests else name for key, name in names.items()}
    lock = {"names": names, "images": run, "digests": {names[key]: digest for key, digest in digests.items()}}
    return {"__images_lock": lock, "__run_images": run, "__gpu_wanted": False, "endolab_registry": REGISTRY}


UNLOCKED = images({"redis": "redis:7"}, {})


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def templated(name: str, host: Mapping[str, Any] = {}, listeners: Sequence[dict[str, Any]] = (), **known: Any) -> Any:
    """A variable of the playbooks, on a host that has the bundle of FOUND."""
    settings = {each: value for file in ("bundle.yml", "ports.yml") for each, value in load(ALL / file).items()}
    settings["__bundle_roles_sources"] = []
    is_host = {"os": HOST, "architecture": HOST["architecture"], "ports": {"8500": listeners}, **host}
    facts = {"ansible_facts": {"endolab_host": is_host}, "inventory_hostname": "gpu1", "__bundle_found": FOUND}
    wanted = {"bundle": "/srv/bundle", **NEEDED, **UNLOCKED, "ansible_search_path": [str(PLAYBOOKS)]}
    templar = Templar(loader=DataLoader(), variables=trusted({**settings, **facts, **wanted, **known}))
    return templar.template(trusted(settings[name]))


def refusals(**known: Any) -> list[str]:
    return [check["otherwise"] for check in templated("__bundle_checks", **known) if check["that"] is not True]


def test_a_bundle_for_such_hosts_is_taken() -> None:
    assert refusals() == []


@pytest.mark.parametrize(("key", "value"), [("id", "ubuntu"), ("codename", "bookworm"), ("architecture", "arm64")])
def test_a_bundle_for_other_hosts_is_refused(key: str, value: str) -> None:
    (said,) = refusals(__bundle_found={**FOUND, "system": {**HOST, key: value}})
    assert said.startswith("The bundle in /srv/bundle is for ")
    assert "and gpu1 is debian trixie amd64. Make one with bundle_system" in said


def test_a_host_that_no_bundle_can_be_made_for_is_told_so() -> None:
    (said,) = refusals(host={"os": {"id": "rocky", "codename": "", "family": "redhat"}})
    assert said.endswith("Bundles are for Debian alone; let this host reach a network.")


def test_an_image_that_it_lacks_is_named() -> None:
    (said,) = refusals(__run_images={"a": f"{REGISTRY}redis:7", "b": "quay.io/lab/caddy:2"})
    assert said.startswith("The bundle in /srv/bundle lacks quay.io/lab/caddy:2, which gpu1 is to run.")


def test_an_image_that_would_be_asked_for_elsewhere_is_named_though_the_bundle_has_it() -> None:
    found = {**FOUND, "images": {"quay.io/lab/caddy:2": DIGEST, "lab/monai:1": DIGEST}}
    (said,) = refusals(__run_images={"a": "quay.io/lab/caddy:2", "b": "lab/monai:1"}, __bundle_found=found)
    assert said.startswith("The bundle in /srv/bundle lacks lab/monai:1 and quay.io/lab/caddy:2, which gpu1 is to run.")


def test_a_model_that_an_instance_would_fetch_is_named() -> None:
    instances = [{"name": "a"}, {"name": "b", "bundle": "/srv/b.zip"}, {"name": "c", "bundle": "https://models/c.zip"}]
    (said,) = refusals(monailabel_instances=instances)
    assert said.startswith("https://models/c.zip, which monailabel_instances of gpu1 names, would not come")
    assert refusals(monailabel_instances=instances, groups={"monailabel": []}) == []


def test_a_locked_image_is_the_same_one() -> None:
    assert refusals(**images({"redis": "redis:7"}, {"redis": DIGEST})) == []
    (said,) = refusals(**images({"redis": "redis:7"}, {"redis": OTHER}))
    assert said.startswith(f"The bundle in /srv/bundle lacks redis:7@{OTHER}, which gpu1 is to run.")


def test_what_is_locked_is_fetched_by_its_digest() -> None:
    known = images({"redis": "redis:7", "opa": "opa/opa:1"}, {"redis": DIGEST})
    assert templated("__bundle_image_names", **known) == ["redis:7", "opa/opa:1"]
    assert templated("__bundle_image_sources", **known) == [f"{REGISTRY}redis:7@{DIGEST}", f"{REGISTRY}opa/opa:1"]


def test_packages_that_it_lacks_are_named() -> None:
    (said,) = refusals(__bundle_packages=["nftables", "nvidia-container-toolkit=1.19.0-1"])
    assert said.startswith("The bundle in /srv/bundle lacks the packages nvidia-container-toolkit=1.19.0-1, which gpu1")


@pytest.mark.parametrize("known", [{"monailabel_bundle_name": "other"}, {"monailabel_bundle_checksum": "sha1:1"}])
def test_another_model_is_refused_where_there_is_to_be_one(known: dict[str, str]) -> None:
    (said,) = refusals(**known)
    assert said.startswith("The bundle in /srv/bundle holds the model tools, sha1:0, and gpu1 is to have ")
    assert refusals(groups={"monailabel": []}, **known) == []


def test_who_has_its_port_is_named(tmp_path: Path) -> None:
    (said,) = refusals(listeners=[listener("gitea")])
    assert said.startswith("Port 8500 on gpu1, where the bundle is to be served, is taken by gitea. Stop that program")
    # One of a run that was broken off is started anew.
    assert refusals(listeners=[listener(name_of_server(tmp_path))]) == []


def listener(process: str) -> dict[str, Any]:
    return {"address": "127.0.0.1", "process": process, "container": None}


def name_of_server(directory: Path) -> str:
    """The name that its process has for others, once it listens."""
    (directory / "images").mkdir()
    (directory / "images/index.json").write_text('{"manifests": []}', encoding="utf-8")
    notified = directory / "notify"
    command = [sys.executable, str(PLAYBOOKS / "files/bundle_server.py"), "0", str(directory)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(notified))
        with subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": str(notified)}) as server:
            try:
                notify.settimeout(60)
                assert notify.recv(100) == b"READY=1"
                return Path(f"/proc/{server.pid}/comm").read_text(encoding="utf-8").strip()
            finally:
                server.kill()


def test_no_other_service_of_the_host_has_its_port() -> None:
    both = "no two services have the same port"
    settings = {"ansible_play_hosts_all": ["gpu1"], "cvat_ui_port": 8500}
    assert both not in refusals_of(DEBIAN, ["__inventory_checks"], **settings)
    assert both in refusals_of(DEBIAN, ["__inventory_checks"], bundle="/srv/bundle", **settings)


@pytest.mark.parametrize(
    ("path", "right"), [("", True), ("/srv/bundle", True), ("bundle", False), ("/a b", False), ("/a:b", False)]
)
def test_its_path_is_one_that_a_host_understands(path: str, right: bool) -> None:
    (check,) = (each for each in load(ALL / "inventory.yml")["__inventory_checks"] if "bundle" in each["name"])
    templar = Templar(loader=DataLoader(), variables=trusted({"bundle": path, "__bundle_making": False}))
    assert templar.template(trusted(check["that"])) is right


def test_what_it_sets_is_what_a_lab_may_set() -> None:
    settings = set(load(PLAYBOOKS / "vars/bundle.yml"))
    assert settings <= {"endolab_registry", *variables_of(ROLES)}


def test_no_role_knows_of_it() -> None:
    files = [
        path for path in (ROOT / "roles").rglob("*.yml") if re.search(r"\bbundle\s*!=|__bundle_", path.read_text())
    ]
    assert files == []


@pytest.mark.parametrize("playbook", ["site.yml", "upgrade.yml"])
def test_every_play_that_may_install_packages_asks_nobody_else(playbook: str) -> None:
    plays = [play for play in load(PLAYBOOKS / playbook) if play.get("become")]
    without = [play["name"] for play in plays if play.get("environment") != "{{ __bundle_apt }}"]
    assert without == []


@pytest.mark.parametrize(
    ("bundle", "environment"), [("", {}), ("/srv/bundle", {"APT_CONFIG": "/run/endolab-bundle/apt.conf"})]
)
def test_without_a_bundle_apt_is_as_it_was(bundle: str, environment: dict[str, str]) -> None:
    assert templated("__bundle_apt", bundle=bundle) == environment


def test_a_host_finds_each_suite_in_the_bundle() -> None:
    files = {Path(file["path"]).name: file["content"] for file in templated("__bundle_files")}
    assert files["distribution.sources"].splitlines()[:5] == [
        "Types: deb",
        "URIs: http://127.0.0.1:8500/packages/distribution",
        "Suites: trixie trixie-updates",
        "Components: main",
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
    ]
    assert "nvidia" not in files["distribution.sources"]
    assert "BindReadOnlyPaths=/srv/bundle:/run/endolab-bundle/bundle\n" in files["endolab-bundle.service"]


@pytest.mark.parametrize(("wanted", "known"), [(True, True), (True, False), (False, True)])
def test_of_what_roles_write_the_sources_count_that_are_wanted_and_signed_by_a_key_that_is_there(
    wanted: bool, known: bool
) -> None:
    content = "URIs: http://127.0.0.1:8500/packages/nvidia\n"
    sources = [{"path": "/etc/nvidia.sources", "content": content, "wanted": wanted, "known": known}]
    files = templated("__bundle_files", __bundle_roles_sources=sources)
    (file,) = (each for each in files if "sources/" in each["path"])
    assert (content in file["content"]) == (wanted and known)


def test_what_is_done_before_a_host_is_written_down_brings_no_package() -> None:
    tasks = load(PLAYBOOKS / "tasks/bundle.yml")
    assert [task["name"] for task in tasks if {"ansible.builtin.apt", "ansible.builtin.package"} & task.keys()] == []
