"""The module host_facts."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.module_utils.lock_file import write_lock
from ansible_collections.endolab.active_learning.plugins.module_utils.model_bundles import REQUIRED
from ansible_collections.endolab.active_learning.plugins.modules import host_facts

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n", "580.95.05"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.172.08  Release Build  (dvs-builder)\n",
            "570.172.08",
        ),
        ("", None),
        ("GCC version:  gcc version 14.2.0 (Debian)\n", None),
    ],
)
def test_the_driver_is_read_in_both_its_wordings(text: str, version: str | None) -> None:
    assert host_facts.driver_version(text) == version


@pytest.mark.parametrize(
    "text",
    [
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: '0'\n- name: all\n",
        '{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [\n{"name": "0"},\n{"name": "all"}]}',
    ],
)
def test_cdi_devices_are_read_from_yaml_and_json(text: str) -> None:
    assert host_facts.cdi_devices(text) == ["nvidia.com/gpu=0", "nvidia.com/gpu=all"]


def test_the_drivers_libraries_are_found_wherever_they_are(tmp_path: Path) -> None:
    assert host_facts.library_versions(tmp_path) == []
    for directory, name in (
        ("usr/lib/x86_64-linux-gnu", "libnvidia-ml.so.580.95.05"),
        ("usr/lib/x86_64-linux-gnu", "libnvidia-ml.so.1"),
        ("usr/lib/x86_64-linux-gnu/nvidia/current", "libnvidia-ml.so.550.163.01"),
        ("usr/lib64", "libnvidia-ml.so.580.95.05"),
    ):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        (tmp_path / directory / name).touch()
    assert host_facts.library_versions(tmp_path) == ["550.163.01", "580.95.05"]


def test_other_peoples_devices_do_not_count() -> None:
    assert host_facts.cdi_devices("kind: vendor.com/nic\ndevices:\n- name: all\n") == []


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', "debian"),
        ("ID=debian\nVERSION_CODENAME=trixie\n", "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "redhat"),
        ("ID=fedora\n", "redhat"),
        ("ID=arch\n", None),
    ],
)
def test_the_family_is_known(text: str, family: str | None) -> None:
    assert host_facts.operating_system(text)["family"] == family


def test_a_listener_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        facts = run(host_facts, ports=[port, 1])["ansible_facts"]["endolab_host"]
    name = Path("/proc/self/comm").read_text(encoding="ascii").strip()
    assert facts["ports"][str(port)][0]["process"] == name
    assert facts["ports"][str(port)][0]["address"] == "127.0.0.1"
    assert facts["ports"]["1"] == []


def test_a_path_is_described(run: Run, tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.jpeg"):
        (tmp_path / name).touch()
    missing = str(tmp_path / "a" / "b")
    facts = run(host_facts, paths=[str(tmp_path), missing])["ansible_facts"]["endolab_host"]["paths"]
    assert facts[str(tmp_path)]["images"] == {"png": 2, "jpeg": 1}
    assert facts[missing]["exists"] is False


def test_what_a_bundle_lacks_is_said_unless_it_is_about_to_be_replaced(run: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    for name in REQUIRED:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text("{}", encoding="utf-8")

    def lacks(**options: str) -> dict[str, list[str]]:
        found = run(host_facts, model_bundles=[str(bundle)], **options)["ansible_facts"]["endolab_host"]
        return dict(found["model_bundles"])

    assert lacks() == {str(bundle): []}
    (bundle / REQUIRED[0]).write_text("{", encoding="utf-8")
    (bundle / REQUIRED[-1]).unlink()
    assert lacks() == {str(bundle): [REQUIRED[0], REQUIRED[-1]]}
    assert lacks(unless=str(tmp_path)) == {}


def test_the_disk_is_that_of_dockers_data(run: Run, tmp_path: Path) -> None:
    facts = run(host_facts, data_root=str(tmp_path / "not" / "there"))["ansible_facts"]["endolab_host"]["docker"]
    assert facts["data_root"] == str(tmp_path / "not" / "there")
    assert facts["free_bytes"] > 0
    assert host_facts.daemon_json('{"data-root": "/data"}', {})["data_root"] == "/data"


def test_data_that_would_be_left_behind_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "link"
    old.mkdir()
    link.symlink_to(old)
    monkeypatch.setattr(host_facts, "ask_docker", lambda _: {"DockerRootDir": str(old)})
    assert host_facts.left_behind(None) is None
    assert host_facts.left_behind(str(new)) == str(old)
    assert host_facts.left_behind(str(old)) is host_facts.left_behind(str(link)) is None
    monkeypatch.setattr(host_facts, "ask_docker", lambda _: {"DockerRootDir": str(old / "100000.100000")})
    assert host_facts.left_behind(str(old)) is None
    monkeypatch.setattr(host_facts, "ask_docker", lambda _: None)
    assert host_facts.left_behind(str(new)) is None


def test_repositories_are_read_in_both_their_forms(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(
        "deb http://deb/debian trixie main\n# deb http://off x main\n", encoding="utf-8"
    )
    (parts / "nvidia.list").write_text("deb [arch=amd64 signed-by=/n.gpg] https://n/$(ARCH) /\n", encoding="utf-8")
    (parts / "docker.sources").write_text(
        "# Docker's\nTypes: deb\nURIs: https://d/debian https://e\nSuites: trixie\nSigned-By: /d.asc\n\n"
        "Types: deb\nEnabled: no\nURIs: https://off\n",
        encoding="utf-8",
    )
    found = {(Path(each["file"]).name, each["uri"], each["signed_by"]) for each in host_facts.apt_sources(tmp_path)}
    assert found == {
        ("sources.list", "http://deb/debian", ""),
        ("nvidia.list", "https://n/$(ARCH)", "/n.gpg"),
        ("docker.sources", "https://d/debian", "/d.asc"),
        ("docker.sources", "https://e", "/d.asc"),
    }
    assert host_facts.apt_sources(tmp_path / "none") == []


def test_gpus_are_named_in_the_order_of_their_addresses(tmp_path: Path) -> None:
    for address, uuid in (("0000:81:00.0", "GPU-b"), ("0000:01:00.0", "GPU-a")):
        (tmp_path / "gpus" / address).mkdir(parents=True)
        (tmp_path / "gpus" / address / "information").write_text(f"Model: \t\t H100\nGPU UUID: \t {uuid}\n")
    (tmp_path / "gpus/0000:41:00.0").mkdir()
    (tmp_path / "gpus/0000:41:00.0/information").write_text("GPU UUID: \t GPU-c\nGPU Excluded:\t Yes\n")
    assert host_facts.gpus(tmp_path) == ["GPU-a", "GPU-b"]
    assert host_facts.gpus(tmp_path / "no-driver") == []


@pytest.mark.parametrize(
    ("manager", "output", "found"),
    [
        (
            "dpkg-query",
            "docker.io 26.1.5 install installed\\n"
            "nvidia-container-toolkit 1.20.0-1 hold installed\\n"
            "docker-ce 5:28 deinstall config-files\\n",
            {"docker.io": ("26.1.5", False), "nvidia-container-toolkit": ("1.20.0-1", True)},
        ),
        (
            "rpm",
            "docker-ce 28.5.0-1 install installed\\npackage docker.io is not installed\\n",
            {"docker-ce": ("28.5.0-1", False)},
        ),
        ("neither", "", {}),
    ],
)
def test_installed_packages_are_told_from_others(
    manager: str, output: str, found: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / manager
    program.write_text(f"#!/bin/sh\nprintf '{output}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host_facts.installed_packages(["docker-ce", "docker.io", "nvidia-container-toolkit"]) == found


def test_a_broken_daemon_json_is_seen() -> None:
    assert host_facts.daemon_json('{"a": 1,}', {})["valid"] is False
    assert host_facts.daemon_json("[]", {})["error"] == "it is no object"
    assert host_facts.daemon_json(None, {})["exists"] is False


def test_it_says_who_changes_the_host(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_facts, "LOCK", str(tmp_path / "lock.json"))
    assert run(host_facts)["ansible_facts"]["endolab_host"]["lock"] is None
    holder = {"owner": "ann", "machine": "desk", "playbook": "site.yml", "since": "2026-11-25T12:00:00+00:00"}
    write_lock(tmp_path / "lock.json", {**holder, "token": "kernel/ns 12 345"})
    assert run(host_facts)["ansible_facts"]["endolab_host"]["lock"] == holder


def test_units_are_told_apart() -> None:
    shown = (
        "Id=a.service\nActiveState=active\nUnitFileState=enabled\n\nId=b.path\nActiveState=inactive\nUnitFileState=\n"
    )
    assert host_facts.units(shown) == {
        "a.service": {"enabled": True, "active": True},
        "b.path": {"enabled": False, "active": False},
    }
    assert host_facts.units("") == {}
