"""Who vouches for the edge: an ACME authority of the lab's own, or whoever signed the lab's own certificate."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from tests.certificates import KEY, certificate, pem
from tests.stack.common import wait_until
from tests.stack.secure.conftest import LAB, Attacker

Play = Callable[..., subprocess.CompletedProcess[str]]

NAME = "lab.endolab.test"

# An ACME authority on the lab's host itself, where it finds the edge by NAME.
AUTHORITY = """{
	admin off
	auto_https disable_redirects
	http_port 14080
	https_port 14000
	skip_install_trust
}
https://localhost:14000 {
	tls internal
	acme_server
}
"""


@pytest.fixture
def changed(play: Play) -> Iterator[Callable[..., None]]:
    """Runs site.yml with other settings; afterwards the edge is what it was."""

    def run(**settings: str) -> None:
        done = play("site.yml", "-e", json.dumps(settings))
        assert done.returncode == 0, done.stdout

    yield run
    done = play("site.yml")
    assert done.returncode == 0, done.stdout


@pytest.fixture
def root(host: Host, tmp_path: Path) -> Iterator[Path]:
    """The root certificate of an ACME authority that runs."""
    image = host.check_output("docker inspect --format '{{.Config.Image}}' endolab-edge")
    hosts = host.check_output("cat /etc/hosts")
    host.check_output("echo 127.0.0.1 %s >> /etc/hosts", NAME)
    host.check_output("mkdir -p /srv/authority && echo %s > /srv/authority/Caddyfile", AUTHORITY)
    host.check_output(
        "docker run --detach --name authority --network host --volume /srv/authority:/etc/caddy:ro %s"
        " caddy run --config /etc/caddy/Caddyfile --adapter caddyfile",
        image,
    )
    path = "/data/caddy/pki/authorities/local/root.crt"
    wait_until(lambda: host.run("docker exec authority cat %s", path).rc == 0, 30, "the authority's root")
    (tmp_path / "root.pem").write_text(host.check_output("docker exec authority cat %s", path) + "\n", encoding="utf-8")
    yield tmp_path / "root.pem"
    host.check_output("docker rm --force --volumes authority")
    host.check_output("rm -r /srv/authority")
    host.check_output("echo %s > /etc/hosts", hosts)


@pytest.mark.long
def test_an_acme_authority_vouches_for_it(
    changed: Callable[..., None], root: Path, attacker: Attacker, play: Play
) -> None:
    settings = {
        "edge_name": NAME,
        "edge_certificate": "acme",
        "edge_acme_directory": "https://localhost:14000/acme/local/directory",
        "edge_acme_root_file": str(root),
    }
    changed(**settings)
    trusted = {
        "authority": root.read_text(encoding="utf-8"),
        "server_name": NAME,
        "headers": {"Host": NAME},
    }
    wait_until(lambda: attacker.one("/api/server/about", **trusted).status == 200, 60, "a certificate")
    assert attacker.one("/", **{**trusted, "server_name": LAB}).status == 0
    audit = play("playbooks/audit.yml", "-e", json.dumps(settings))
    # The authority gives certificates for hours only.
    assert "the certificate ends in 0 days" in audit.stdout


def test_the_labs_own_certificate_vouches_for_it(
    changed: Callable[..., None], tmp_path: Path, attacker: Attacker, play: Play
) -> None:
    made = certificate(LAB, days=(-1, 60))
    (tmp_path / "certificate.pem").write_text(made, encoding="utf-8")
    (tmp_path / "key.pem").write_text(pem(KEY), encoding="utf-8")
    settings = {
        "edge_certificate": "file",
        "edge_certificate_file": f"{tmp_path}/certificate.pem",
        "edge_certificate_key_file": f"{tmp_path}/key.pem",
    }
    changed(**settings)
    assert attacker.one("/api/server/about", authority=made).status == 200
    audit = play("playbooks/audit.yml", "-e", json.dumps(settings))
    assert audit.returncode == 0, audit.stdout


def test_no_secret_stays_that_the_edge_is_not_told_any_more(
    changed: Callable[..., None], host: Host, attacker: Attacker
) -> None:
    """After the test before this one, whose key is not asked for any more."""
    secrets = "ls /etc/endolab/edge/secrets"
    assert host.check_output(secrets) == "unknown_prometheus"
    changed(edge_metrics_token="")
    assert host.check_output(secrets) == ""
    assert attacker.one("/monailabel/metrics").status == 401
