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


@pytest.fixture
def secret(request: pytest.FixtureRequest, variables: dict[str, Any]) -> str:
    """The random part of a password: quotes and blanks behind it look otherwise in JSON, in shell and in a log."""
    return str(variables[request.param]).split()[0]


def inspected(containers: dict[str, Container], text: str) -> set[str]:
    """The containers of which `docker inspect` shows the text."""
    return {name for name, container in containers.items() if text in json.dumps(container.attrs)}


def logged(containers: dict[str, Container], text: str) -> set[str]:
    """The containers whose log holds the text."""
    return {name for name, container in containers.items() if text.encode() in container.logs()}


def running(host: Host, text: str) -> bool:
    """Whether the arguments of a process hold the text."""
    return text in host.check_output("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' || true")


def stored(host: Host, text: str) -> set[str]:
    """The files of the host, but for the secret ones, that hold the text."""
    found = host.run("grep -rlF -e %s /etc /srv /tmp /var/log /var/cache /root", text).stdout.splitlines()
    return {path for path in found if "/secrets/" not in path}


@pytest.mark.parametrize("secret", PASSWORDS, indirect=True)
def test_no_password_shows(host: Host, containers: dict[str, Container], secret: str) -> None:
    assert len(secret) == 32
    assert not inspected(containers, secret)
    assert not logged(containers, secret)
    assert not running(host, secret)
    assert not stored(host, secret)


def test_a_password_that_shows_is_found(host: Host, containers: dict[str, Container]) -> None:
    """The searches above find what is there: an environment, a log line, an argument and a file."""
    assert "monailabel" in inspected(containers, "run_monailabelinits.sh")
    assert "monailabel" in logged(containers, "start_server")
    assert running(host, "monailabel.main")
    assert "/etc/endolab/cvat/compose.yml" in stored(host, "CVAT_POSTGRES_PASSWORD_FILE")


def test_the_loop_knows_its_password_from_a_file_alone(host: Host, variables: dict[str, Any]) -> None:
    environment = host.check_output("cat /proc/$(pgrep -of '^python3 -m monailabel.main')/environ | tr '\\0' '\\n'")
    assert "ENDOLAB_CVAT_PASSWORD_FILE=/run/endolab/secrets/password" in environment
    assert str(variables["cvat_service_password"]).split()[0] not in environment


def test_the_script_is_free_of_them(host: Host, variables: dict[str, Any]) -> None:
    script = host.file("/srv/endolab/datasets/run_monailabelinits.sh").content_string
    assert str(variables["cvat_service_password"]).split()[0] not in script
    assert "/run/endolab" in script
