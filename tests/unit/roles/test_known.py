"""What a run knows of a host from its one read decides what it need not ask again, and nothing else does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.roles.test_checks import HOST, ROLES, ROOT, evaluate, variables_of

IMAGE = "projectmonai/monailabel:latest"
LIBRARY = "/srv/endolab/apps/endoscopy/libraries/cvat-sdk.zip"


def value(name: str, host: dict[str, Any], **settings: Any) -> Any:
    """A variable, or more of an expression, on a host of which this is known."""
    variables = {
        "inventory_hostname": "gpu1",
        "groups": {"cvat": ["gpu1"], "edge": ["gpu1"], "monailabel": ["gpu1"]},
        "group_names": ["cvat", "edge", "monailabel"],
        "hostvars": {"gpu1": {}},
        "ansible_check_mode": False,
        "ansible_facts": {"endolab_host": {**HOST, **host}},
    }
    return evaluate(f"{{{{ {name} }}}}", {**variables_of(ROLES), **variables, **settings})


def task_of(role: str, file: str, name: str) -> dict[str, Any]:
    """A task of a role, also one in a block."""
    tasks = yaml.safe_load((ROOT / "roles" / role / "tasks" / f"{file}.yml").read_text(encoding="utf-8"))
    while tasks:
        task = tasks.pop()
        if task["name"] == name:
            return dict(task)
        tasks += task.get("block", [])
    raise KeyError(name)


def installed(*names: str, version: str = "1", held: bool = False) -> dict[str, dict[str, Any]]:
    return {name: {"version": version, "held": held} for name in names}


def public(path: str, content: str) -> dict[str, dict[str, Any]]:
    """A file as the run finds it where nobody has touched it."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    return {path: {"kind": "file", "uid": 0, "gid": 0, "mode": "0644", "sha256": digest, "written": "1"}}


def sources(role: str) -> dict[str, dict[str, Any]]:
    """The file of a role's repository as the run finds it where nobody has touched it."""
    (file,) = value(f"__{role}_apt_sources", {})
    return public(**file)


def with_docker(**changes: Any) -> dict[str, Any]:
    keys = {value("__docker_engine_key.path", {}): [value("docker_engine_key_fingerprint", {})]}
    names = [*value("__docker_engine_packages.docker", {}), *value("__docker_engine_python_packages", {})]
    return {
        "packages": installed(*names),
        "signing_keys": keys,
        "files": sources("docker_engine"),
        **changes,
    }


def test_docker_that_is_there_is_not_installed_again() -> None:
    assert value("__docker_engine_installed", with_docker(), docker_engine_source="docker")
    host = {"packages": installed("docker.io", "docker-cli", "docker-compose", "python3-requests")}
    assert value("__docker_engine_installed", host, docker_engine_source="distribution")


@pytest.mark.parametrize(
    "changes",
    [
        {"packages": {}},
        {
            "packages": installed(
                "docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin", "python3-requests"
            )
        },
        {"signing_keys": {}},
        {"signing_keys": {"/etc/apt/keyrings/docker.asc": ["0" * 40]}},
        {"files": {}},
        {"files": {path: {**file, "sha256": "0"} for path, file in sources("docker_engine").items()}},
        {"files": {path: {**file, "mode": "0600"} for path, file in sources("docker_engine").items()}},
    ],
    ids=[
        "no package",
        "no buildx",
        "no key",
        "another key",
        "no repository",
        "another repository",
        "closed repository",
    ],
)
def test_docker_that_lacks_something_is(changes: dict[str, Any]) -> None:
    assert not value("__docker_engine_installed", with_docker(**changes), docker_engine_source="docker")


def with_toolkit(version: str | None = None, held: bool = True, **changes: Any) -> dict[str, Any]:
    wanted = version or value("nvidia_container_toolkit_version", {})
    path, fingerprint = "__nvidia_container_toolkit_key.path", "nvidia_container_toolkit_key_fingerprint"
    return {
        "packages": installed(*value("__nvidia_container_toolkit_packages", {}), version=wanted, held=held),
        "signing_keys": {value(path, {}): [value(fingerprint, {})]},
        "files": sources("nvidia_container_toolkit"),
        **changes,
    }


def test_a_toolkit_of_the_right_version_is_left_alone() -> None:
    assert value("__nvidia_container_toolkit_settled", with_toolkit())


@pytest.mark.parametrize(
    "host",
    [
        with_toolkit(version="1.19.0-1"),
        with_toolkit(held=False),
        with_toolkit(packages=installed("nvidia-container-toolkit", version="1.20.0-1", held=True)),
        with_toolkit(signing_keys={}),
        with_toolkit(files={}),
    ],
    ids=["another version", "not held", "one package", "no key", "no repository"],
)
def test_any_other_is_not(host: dict[str, Any]) -> None:
    assert not value("__nvidia_container_toolkit_settled", host)


def directory(path: str) -> dict[str, dict[str, Any]]:
    return {path: {"kind": "directory", "uid": 0, "gid": 0, "mode": "0755"}}


AT_WORK = {"enabled": True, "active": True}


def set_up(**changes: Any) -> dict[str, Any]:
    """A host with Docker and the toolkit, as a second run reads it."""
    docker, toolkit = with_docker(), with_toolkit()
    order = value("__nvidia_container_toolkit_order", {})
    holds = {"docker_engine": True, "nvidia_container_toolkit": True}
    return {
        "packages": {**docker["packages"], **toolkit["packages"]},
        "signing_keys": {**docker["signing_keys"], **toolkit["signing_keys"]},
        "files": {
            **docker["files"],
            **toolkit["files"],
            **directory(order["directories"][0]["path"]),
            **public(**order["files"][0]),
        },
        "units": {"docker.service": AT_WORK, "nvidia-cdi-refresh.path": AT_WORK},
        "nvidia": {**HOST["nvidia"], "cdi_devices": ["nvidia.com/gpu=all"]},
        "docker": {**HOST["docker"], "daemon_json": {"holds": holds}},
        **changes,
    }


def holding(**holds: bool) -> dict[str, Any]:
    return {"docker": {**HOST["docker"], "daemon_json": {"holds": holds}}}


def stopped(unit: str, word: str) -> dict[str, Any]:
    return {"units": {**set_up()["units"], unit: {**AT_WORK, word: False}}}


def without_file(path: str) -> dict[str, Any]:
    return {"files": {name: file for name, file in set_up()["files"].items() if name != path}}


@pytest.mark.parametrize("role", ["docker_engine", "nvidia_container_toolkit"])
def test_a_role_that_finds_all_set_up_has_nothing_to_do(role: str) -> None:
    assert value(f"__{role}_set_up", set_up(), docker_engine_source="docker")


@pytest.mark.parametrize(
    ("role", "changes"),
    [
        ("docker_engine", {"packages": {}}),
        ("docker_engine", holding(nvidia_container_toolkit=True)),
        ("docker_engine", stopped("docker.service", "enabled")),
        ("docker_engine", stopped("docker.service", "active")),
        ("nvidia_container_toolkit", {"packages": {}}),
        ("nvidia_container_toolkit", holding(docker_engine=True)),
        ("nvidia_container_toolkit", stopped("nvidia-cdi-refresh.path", "enabled")),
        ("nvidia_container_toolkit", stopped("nvidia-cdi-refresh.path", "active")),
        ("nvidia_container_toolkit", without_file("/etc/systemd/system/nvidia-cdi-refresh.service.d/endolab.conf")),
        ("nvidia_container_toolkit", without_file("/etc/systemd/system/nvidia-cdi-refresh.service.d")),
        ("nvidia_container_toolkit", {"nvidia": {**HOST["nvidia"], "cdi_devices": []}}),
    ],
)
def test_a_role_that_finds_one_thing_otherwise_sets_it_up(role: str, changes: dict[str, Any]) -> None:
    assert not value(f"__{role}_set_up", set_up(**changes), docker_engine_source="docker")


def test_images_that_are_missing_are_pulled_in_the_order_of_their_need() -> None:
    images = {"caddy:2": "sha256:1", "cvat/server:v2": "", IMAGE: ""}
    assert value("__pull_missing", {"docker": {**HOST["docker"], "images": images}}) == ["cvat/server:v2", IMAGE]
    assert value("__pull_missing", {"docker": {}}) == []
    places = {"": {"container": "monailabel"}}
    wanted = value("__run_images.values() | unique", {}, __monailabel_places=places)
    assert wanted[0].startswith("postgres:")
    assert wanted[-1] == IMAGE


def test_an_image_is_looked_into_for_what_was_pulled_since() -> None:
    host = {"docker": {**HOST["docker"], "images": {IMAGE: "sha256:old"}}}
    assert value("__monailabel_image_id", host) == "sha256:old"
    assert value("__monailabel_image_id", host, __monailabel_pulled={"skipped": True}) == "sha256:old"
    assert value("__monailabel_image_id", host, __monailabel_pulled={"image": {"Id": "sha256:new"}}) == "sha256:new"


@pytest.mark.parametrize(
    ("found", "asked"),
    [({"/b": []}, False), ({"/b": ["models/model.pt"]}, True), ({}, True), ({"/another": []}, True)],
    ids=["whole", "lacking", "not read", "another's"],
)
def test_a_model_bundle_is_looked_at_unless_it_is_known_to_be_whole(found: dict[str, list[str]], asked: bool) -> None:
    condition = task_of("monailabel", "instance", "The model bundle is there")["when"]
    places = {"": {"bundle_dir": "/b"}}
    assert value(condition, {"model_bundles": found}, __monailabel_places=places) is asked


@pytest.mark.parametrize(
    ("changed", "health", "waited"),
    [(False, "healthy", False), (True, "healthy", True), (False, "unhealthy", True), (False, "starting", True)],
)
def test_services_are_waited_for_where_they_are_not_known_to_be_healthy(
    changed: bool, health: str, waited: bool
) -> None:
    condition = task_of("cvat", "services", "The services are healthy")["when"]
    services = [{"Service": "db", "Health": "healthy"}, {"Service": "server", "Health": health}]
    up = {"changed": changed, "containers": services}
    assert value(condition, {}, __cvat_up=up) is waited
    assert not value(condition, {}, __cvat_up=up, ansible_check_mode=True)


def test_the_client_of_cvat_is_known_by_its_digest_and_its_mode() -> None:
    places = {"": {"app_dir": "/srv/endolab/apps/endoscopy"}}
    host = {"files": {LIBRARY: {"kind": "file", "uid": 0, "mode": "0644", "sha256": "1", "written": "1"}}}
    there = value("__monailabel_library_there", host, __monailabel_places=places)
    assert there == {"mode": "0644", "sha256": "1"}
    assert value("__monailabel_library_there", {"files": {}}, __monailabel_places=places) == {}


@pytest.mark.parametrize(
    ("on_the_host", "fetched", "known"),
    [("root", "root", True), ("root of a new volume", "root", False), ("root", None, False), ("", None, False)],
    ids=["fetched", "another", "taken away", "not seen"],
)
def test_the_edges_root_certificate_is_read_until_it_is_fetched(
    tmp_path: Path, on_the_host: str, fetched: str | None, known: bool
) -> None:
    file = tmp_path / "edge.crt"
    if fetched:
        file.write_text(f"{fetched}\n", encoding="utf-8")
    path = value("__edge_root_path", {}, docker_engine_daemon_settings={"data-root": "/srv/docker"})
    assert path.startswith("/srv/docker/volumes/")
    host = {"texts": {path: on_the_host}}
    settings = {"docker_engine_daemon_settings": {"data-root": "/srv/docker"}, "edge_root_file": str(file)}
    assert value("__edge_root_known", host, **settings) is known
    assert not value("__edge_root_known", host, **settings, restore_from="latest")


def test_secrets_that_the_edge_is_not_told_any_more_go() -> None:
    certificate, key, token = value("__edge_files", {})
    there = {path: {"kind": "file"} for path in (certificate, key, token, "/etc/endolab/edge/Caddyfile")}

    def leftovers(**settings: Any) -> set[str]:
        return set(value("__edge_leftovers", {"files": there}, **settings))

    assert value("__edge_leftovers", {}) == []
    assert leftovers() == {certificate, key, token}
    assert leftovers(edge_metrics_token="a" * 32) == {certificate, key}
    assert leftovers(edge_certificate="file", __edge_pem="", __edge_key_pem="") == {token}
