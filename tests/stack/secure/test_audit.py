"""audit.yml: finds nothing on a lab as site.yml leaves it, and what is wrong afterwards."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from testinfra.host import Host

from tests.stack.common import healthy, wait_until
from tests.stack.secure.conftest import LAB

Play = Callable[..., subprocess.CompletedProcess[str]]
Audit = Callable[..., tuple[int, str, dict[str, Any]]]

SECRET = "/etc/endolab/cvat/secrets/postgres/password"
DJANGO = "docker exec -i cvat-server-1 bash -c '. /etc/cvat/init.d/passwords && python3 /opt/cvat/manage.py shell'"
RULE = "host all all 10.9.0.0/16 trust"
RELOAD = "psql -qAt -U cvat -d cvat -c 'select pg_reload_conf()'"


def django(*lines: str) -> str:
    """A shell's line that runs these in CVAT's server."""
    program = "\n".join(["from django.contrib.auth.models import User", *lines])
    return f"echo {shlex.quote(program)} | {DJANGO}"


def in_database(line: str) -> str:
    return f"docker exec cvat-db-1 sh -c {shlex.quote(line)}"


# What makes a finding, and takes it away again.
FAULTS = {
    "firewall-rules": ("nft add chain inet endolab stray", "nft delete chain inet endolab stray"),
    "firewall-at-boot": ("systemctl disable endolab-firewall", "systemctl enable endolab-firewall"),
    "docker-tcp": (
        "cp $(readlink -f /usr/bin/python3) /tmp/dockerd"
        " && systemd-run --unit=engine /tmp/dockerd -m http.server --bind 127.0.0.1 2375",
        "systemctl stop engine; rm /tmp/dockerd",
    ),
    "docker-group": ("groupadd --force docker && gpasswd -a games docker", "gpasswd -d games docker"),
    "containers": ("docker update --pids-limit -1 cvat-ui-1", "docker update --pids-limit 128 cvat-ui-1"),
    "containers-of-others": (
        "docker run --detach --name stray --privileged --entrypoint sleep"
        " $(docker inspect --format '{{.Config.Image}}' cvat-ui-1) infinity",
        "docker rm --force stray",
    ),
    "archives": ("systemctl stop endolab-backup.timer", "systemctl start endolab-backup.timer"),
    "files": (f"chmod g+r {SECRET}", f"chmod g-r {SECRET}"),
    "credentials": (
        # The journal would have its command for a description.
        f'systemd-run --unit=leak --description=leak sh -c ": $(cat {SECRET}); sleep infinity; :"',
        "systemctl stop leak",
    ),
    "accounts": (
        django("User.objects.filter(username='ann').update(is_active=False)"),
        django("User.objects.filter(username='ann').update(is_active=True)"),
    ),
    "administrators": (
        django("User.objects.create_superuser('eve', password='eve')"),
        django("User.objects.get(username='eve').delete()"),
    ),
    "database": (
        in_database(f"echo {RULE} >> $PGDATA/pg_hba.conf && {RELOAD}"),
        in_database(f"sed -i '/^{RULE.replace('/', '[/]')}$/d' $PGDATA/pg_hba.conf && {RELOAD}"),
    ),
    "queues": (
        'docker exec cvat-redis-1 sh -c \'REDISCLI_AUTH=$(sed -n "s/^requirepass //p" /run/secrets/redis.conf)'
        " redis-cli acl setuser default nopass'",
        "docker restart cvat-redis-1",
    ),
}
WITHOUT_THE_EDGE = {"certificate", "redirect", "hsts", "registration", "login"}


@pytest.fixture
def audit(play: Play, tmp_path: Path) -> Audit:
    """Audits the lab: the exit code, what was said, and the report."""

    def run(*arguments: str) -> tuple[int, str, dict[str, Any]]:
        done = play("playbooks/audit.yml", "-e", f"audit_json={tmp_path}/report.json", *arguments)
        report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        return done.returncode, done.stdout, dict(report[LAB])

    return run


@contextmanager
def fault(host: Host, begin: str, end: str) -> Iterator[None]:
    host.check_output(begin.replace("%", "%%"))
    try:
        yield
    finally:
        host.check_output(end.replace("%", "%%"))


def test_nothing_is_found_but_what_the_lab_lives_with(audit: Audit) -> None:
    status, said, report = audit()
    assert (status, report["findings"]) == (0, {})
    assert list(report["accepted"]) == ["docker-registries"]
    assert f"{LAB}: 0 to mend, 1 accepted, 26 held" in said
    assert (
        "accepted (the stand-in for a registry, in a network of this machine alone): docker-registries: images" in said
    )


def test_everything_that_is_wrong_is_found_at_once(audit: Audit, host: Host, engine: docker.DockerClient) -> None:
    with ExitStack() as faults:
        for begin, end in FAULTS.values():
            faults.enter_context(fault(host, begin, end))
        status, said, report = audit("-e", '{"audit_accepted": {}}')
    assert status == 2
    assert set(report["findings"]) == {*FAULTS, "docker-registries"}
    for name, sentence in report["findings"].items():
        assert f"{name}: {sentence}\n" in said
    wait_until(lambda: len(healthy(engine)) == len(engine.containers.list()), 120, "every container healthy")


def test_a_lab_without_its_edge_and_firewall_is_found(audit: Audit, host: Host, engine: docker.DockerClient) -> None:
    with (
        fault(host, "docker stop endolab-edge", "docker start endolab-edge"),
        fault(host, "systemd-run --unit=stray python3 -m http.server 12345", "systemctl stop stray"),
    ):
        _, _, report = audit("-e", '{"firewall_enabled": false}')
    assert set(report["findings"]) == {"firewall-on", "listeners", *WITHOUT_THE_EDGE}
    assert "python3 on port 12345" in report["findings"]["listeners"]
    assert "refused" in report["findings"]["certificate"]
    wait_until(lambda: "endolab-edge" in healthy(engine), 60, "the edge is back")


def test_what_nothing_is_found_by_cannot_be_accepted(play: Play) -> None:
    done = play("playbooks/audit.yml", "-e", '{"audit_accepted": {"docker-groups": "us"}}')
    assert done.returncode == 2
    assert "audit_accepted names docker-groups" in done.stdout
