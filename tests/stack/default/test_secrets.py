"""Secrets: every password is in a file for its reader alone; scenario secure looks for them everywhere else."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host


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


@pytest.mark.parametrize("uid", [1000, 70, 999])
def test_the_hosts_own_users_of_the_same_number_cannot_read_them(host: Host, uid: int) -> None:
    found = host.run("setpriv --reuid %s --clear-groups find /etc/endolab/cvat/secrets -type f", str(uid))
    assert found.stdout == ""
    assert "Permission denied" in found.stderr


def test_the_loop_knows_its_password_from_a_file_alone(host: Host, variables: dict[str, Any]) -> None:
    environment = host.check_output("cat /proc/$(pgrep -of '^python3 -m monailabel.main')/environ | tr '\\0' '\\n'")
    assert "ENDOLAB_CVAT_PASSWORD_FILE=/run/endolab/secrets/password" in environment
    assert str(variables["cvat_service_password"]).split()[0] not in environment


def test_the_script_is_free_of_them(host: Host, variables: dict[str, Any]) -> None:
    script = host.file("/srv/endolab/datasets/run_monailabelinits.sh").content_string
    assert str(variables["cvat_service_password"]).split()[0] not in script
    assert "/run/endolab" in script
