"""Secrets: every password is in a file for its reader alone, and nowhere else on the host."""

from __future__ import annotations

import json
from typing import Any

import pytest
from docker.models.containers import Container
from testinfra.host import Host

PASSWORDS = [
    "cvat_admin_password",
    "cvat_service_password",
    "cvat_postgres_password",
    "cvat_redis_password",
    "cvat_kvrocks_password",
]


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        ("cvat/secrets/backend/accounts.json", 1000),
        ("cvat/secrets/backend/postgres_password", 1000),
        ("cvat/secrets/backend/redis_password", 1000),
        ("cvat/secrets/backend/kvrocks_password", 1000),
        ("cvat/secrets/postgres/password", 70),
        ("cvat/secrets/redis/redis.conf", 999),
        ("monailabel/secrets/username", 0),
        ("monailabel/secrets/password", 0),
    ],
)
def test_the_file_is_for_its_reader_alone(host: Host, path: str, uid: int) -> None:
    file = host.file(f"/etc/endolab/{path}")
    assert file.mode == 0o600
    assert file.uid == uid


@pytest.mark.parametrize("password", PASSWORDS)
def test_docker_inspect_does_not_show_it(
    containers: dict[str, Container], variables: dict[str, Any], password: str
) -> None:
    for name, container in containers.items():
        assert variables[password] not in json.dumps(container.attrs, ensure_ascii=False), name


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_process_shows_it(host: Host, variables: dict[str, Any], password: str) -> None:
    assert variables[password] not in host.check_output("ps -eo args -ww")


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_log_shows_it(containers: dict[str, Container], variables: dict[str, Any], password: str) -> None:
    for name, container in containers.items():
        assert variables[password].encode() not in container.logs(), name


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_other_file_holds_it(host: Host, variables: dict[str, Any], password: str) -> None:
    found = host.run("grep -rlF -e %s /etc /srv /tmp /var/log /var/cache /root", variables[password]).stdout
    assert all("/secrets/" in path for path in found.splitlines()), found


def test_the_script_is_free_of_them(host: Host, variables: dict[str, Any]) -> None:
    script = host.file("/srv/endolab/datasets/run_monailabelinits.sh").content_string
    assert variables["cvat_service_password"] not in script
    assert "/run/endolab" in script
