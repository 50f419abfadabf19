"""rotate.yml: other credentials while the loop turns, also when broken off. Late: the lab has others afterwards."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import ask, healthy, wait_until
from tests.stack.conftest import ROOT
from tests.stack.secure.conftest import CREDENTIALS, Vault

# Where a run is broken off: the vault is written and no host has been touched; the secrets are there and nobody has
# read them; CVAT knows the new password of MONAI Label's account, and MONAI Label the old one.
MOMENTS = [
    "They take the place of those in the inventory",
    "The services are up",
    "The credentials are there, for the container alone",
]


def started(containers: dict[str, Container]) -> dict[str, str]:
    for container in containers.values():
        container.reload()
    return {name: container.attrs["State"]["StartedAt"] for name, container in containers.items()}


def loop(host: Host) -> dict[str, Any]:
    return dict(json.loads(host.check_output("curl -fsS http://127.0.0.1:8000/loop")))


def polled_after(host: Host, before: dict[str, Any]) -> bool:
    """Whether the loop has looked at CVAT since; asks it to. Two looks within one second cannot be told apart."""
    host.check_output("curl -fsS -X POST http://127.0.0.1:8000/loop")
    return bool(loop(host)["next_try"] != before["next_try"])


def polls(host: Host, times: int) -> None:
    """The loop looks at CVAT several times, and nothing is wrong with any of them."""
    for _ in range(times):
        before = loop(host)
        assert before["error"] is None, before
        wait_until(lambda before=before: polled_after(host, before), 30, "a poll")  # type: ignore[misc]
    assert loop(host)["error"] is None


def test_what_cannot_be_changed_is_refused(vault: Vault, tmp_path: Path) -> None:
    before = vault.file.read_bytes()
    for arguments, sentence in (
        (["-e", "rotate=cvat_redis_pasword"], "rotate names cvat_redis_pasword. Write some of cvat_admin_password"),
        (["-e", f"vault_file={tmp_path}/nothing"], f"{tmp_path}/nothing cannot be read with the password in"),
        (["-e", f"vault_password_file={ROOT}/README.md"], "cannot be read with the password in"),
        (["-e", "cvat_redis_password=another"], "cvat_redis_password of the inventory is not what"),
    ):
        done = vault.play("playbooks/rotate.yml", *arguments)
        assert done.returncode != 0
        assert sentence in re.sub(r"\s+", " ", done.stdout)
    assert vault.file.read_bytes() == before


def test_check_mode_leaves_the_vault_as_it_is(vault: Vault, containers: dict[str, Container]) -> None:
    before = vault.file.read_bytes(), started(containers)
    done = vault.play("playbooks/rotate.yml", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert (vault.file.read_bytes(), started(containers)) == before


@pytest.mark.long
def test_one_is_changed_and_those_alone_start_anew_who_use_it(vault: Vault, engine: docker.DockerClient) -> None:
    old, before = vault.credentials(), started({str(each.name): each for each in engine.containers.list()})
    done = vault.play("playbooks/rotate.yml", "-e", "rotate=cvat_kvrocks_password")
    assert done.returncode == 0, done.stdout
    new, after = vault.credentials(), started({str(each.name): each for each in engine.containers.list()})
    assert {name for name in CREDENTIALS if old[name] != new[name]} == {"cvat_kvrocks_password"}
    assert vault.text().startswith("# of the lab\n")
    users = {name for name in before if name.startswith("cvat-worker_")} | {"cvat-kvrocks-1", "cvat-server-1"}
    assert {name for name in before if before[name] != after.get(name)} == users


def test_all_are_changed_while_the_loop_turns(vault: Vault, host: Host, variables: dict[str, Any]) -> None:
    """rotate.yml itself fails where an old value still opens anything."""
    old = vault.credentials()
    token = json.loads(
        host.check_output(
            "curl -fsS -H 'Content-Type: application/json' -d %s http://127.0.0.1:8081/api/auth/login",
            json.dumps({"username": "admin", "password": old["cvat_admin_password"]}),
        )
    )["key"]
    done = vault.play("playbooks/rotate.yml", "-vvv", "--diff")
    assert done.returncode == 0, done.stdout
    new = vault.credentials()
    assert not set(old.values()) & set(new.values())
    for who in ("admin", "service"):
        assert ask(host, {**variables, **new}, who, "/api/users/self") == 200
        assert ask(host, {**variables, **old}, who, "/api/users/self") == 401
    by_token = f"curl -s -o /dev/null -w '%{{http_code}}' -H 'Authorization: Token {token}' http://127.0.0.1:8081/api/users/self"
    assert host.run(by_token).stdout == "401"
    polls(host, 3)
    assert set(re.findall(r"changed=(\d+)", vault.play("site.yml").stdout)) == {"0"}


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("again", ["site.yml", "playbooks/rotate.yml"])
def test_what_was_broken_off_is_finished(
    vault: Vault, host: Host, variables: dict[str, Any], engine: docker.DockerClient, moment: str, again: str
) -> None:
    old = vault.credentials()
    vault.play_until(moment, "playbooks/rotate.yml")
    assert not set(old.values()) & set(vault.credentials().values())
    done = vault.play(again)
    assert done.returncode == 0, done.stdout
    new = vault.credentials()
    for who in ("admin", "service"):
        assert ask(host, {**variables, **new}, who, "/api/users/self") == 200
        assert ask(host, {**variables, **old}, who, "/api/users/self") == 401
    for service, login, refusal in (
        ("redis", "read REDISCLI_AUTH; export REDISCLI_AUTH; redis-cli ping", "WRONGPASS"),
        ("kvrocks", "read REDISCLI_AUTH; export REDISCLI_AUTH; redis-cli -p 6666 ping", "WRONGPASS|invalid password"),
        (
            "db",
            "read PGPASSWORD; export PGPASSWORD; psql -h $(hostname) -U cvat -d cvat -c ''",
            "authentication failed",
        ),
    ):
        name = "cvat_postgres_password" if service == "db" else f"cvat_{service}_password"
        attempt = f"docker exec -i cvat-{service}-1 sh -c {shlex.quote(login)} 2>&1"
        assert re.search(refusal, host.run("echo %s | " + attempt.replace("%", "%%"), old[name]).stdout)
        assert not re.search(refusal, host.check_output("echo %s | " + attempt.replace("%", "%%"), new[name]))
    written = float(host.check_output("stat --format=%.Y /etc/endolab/cvat/secrets/backend/postgres_password"))
    for name, at in started({str(each.name): each for each in engine.containers.list()}).items():
        if name.startswith(("cvat-server", "cvat-worker")):
            assert datetime.fromisoformat(at[:26].rstrip("Z") + "+00:00").timestamp() > written, name
    wait_until(lambda: len(healthy(engine)) == len(engine.containers.list()), 120, "every container healthy")
    host.check_output("curl -fsS -X POST http://127.0.0.1:8000/loop")
    wait_until(lambda: loop(host)["error"] is None, 60, "the loop turns")
    polls(host, 2)
