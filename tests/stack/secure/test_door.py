"""The one door: what listens, its TLS, its headers, its names, and what it writes down."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.secure.conftest import LAB, Attacker, Session

# What TLS 1.2 has that is weak: no forward secrecy, CBC, no encryption, nobody who vouches.
WEAK = ["kRSA", "AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "aNULL", "NULL", "DES-CBC3-SHA"]


def test_nothing_answers_but_the_door(attacker: Attacker) -> None:
    """Of all ports, and ssh; test_zz_firewall.py shows that the scan finds what is open."""
    assert attacker.scan(1, 65535) == [22, 80, 443]


def test_its_certificate_is_vouched_for_by_the_fetched_root(attacker: Attacker, authority: str) -> None:
    assert attacker.one("/api/server/about", authority=authority).status == 200


def test_nobody_else_is_vouched_for(attacker: Attacker, authority: str) -> None:
    answer = attacker.one("/", authority=authority, server_name="another.example.org")
    assert answer.status == 0
    assert "alert" in answer.error


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_present_versions_of_tls_are_spoken(attacker: Attacker, version: str) -> None:
    answer = attacker.one("/api/server/about", versions=[version, version])
    assert (answer.status, answer.tls) == (200, version.replace("_", "."))


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_versions_of_tls_are_refused(attacker: Attacker, version: str) -> None:
    answer = attacker.one("/", versions=[version, version], ciphers="ALL")
    assert "alert protocol version" in answer.error, answer


def test_a_strong_cipher_is_taken(attacker: Attacker) -> None:
    versions = ["TLSv1_2", "TLSv1_2"]
    assert attacker.one("/api/server/about", versions=versions, ciphers="ECDHE+AESGCM").status == 200


@pytest.mark.parametrize("ciphers", WEAK)
def test_weak_ciphers_are_refused(attacker: Attacker, ciphers: str) -> None:
    answer = attacker.one("/", versions=["TLSv1_2", "TLSv1_2"], ciphers=ciphers)
    assert "alert handshake failure" in answer.error or "No cipher can be selected" in answer.error, answer


@pytest.mark.parametrize("name", [LAB, "192.0.2.1", "another.example.org"])
def test_plain_http_is_only_sent_to_tls(attacker: Attacker, name: str) -> None:
    targets = ["/", "/api/users/self", "//x?y=z", "/api/auth/register"]
    plain = [{"target": target, "port": 80, "tls": False, "headers": {"Host": name}} for target in targets]
    for target, answer in zip(targets, attacker.ask(*plain), strict=True):
        assert (answer.status, answer.body) == (308, "")
        assert answer.header("location") == f"https://{LAB}{target}"


@pytest.mark.parametrize("name", ["another.example.org", "127.0.0.1:8080", "cvat-server:8080", "", "localhost"])
def test_nothing_is_told_to_those_who_come_by_another_name(attacker: Attacker, name: str) -> None:
    targets = ["/", "/api/users/self", "/api/auth/register", "/monailabel/info/"]
    for answer in attacker.ask(*({"target": target, "headers": {"Host": name}} for target in targets)):
        assert answer.status in {400, 421}
        assert "CVAT" not in answer.body


def test_browsers_are_told_what_not_to_do(attacker: Attacker) -> None:
    targets = ["/", "/api/server/about", "/api/users/self", "/monailabel/info/", "/admin"]
    for answer in attacker.ask(*({"target": target} for target in targets)):
        assert answer.header("strict-transport-security") == "max-age=31536000"
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("x-frame-options") in {"DENY", "SAMEORIGIN"}
        assert answer.header("referrer-policy") == "strict-origin-when-cross-origin"
        assert answer.header("content-security-policy") == "frame-ancestors 'self'"
        assert answer.header("server") == ""


def test_a_login_is_sent_back_over_tls_alone(attacker: Attacker, passwords: dict[str, str]) -> None:
    answer = attacker.post("/api/auth/login", {"username": "ann", "password": passwords["ann"]})
    assert len(answer.headers["set-cookie"]) == 2
    for cookie in answer.headers["set-cookie"]:
        assert "secure" in [part.strip().lower() for part in cookie.split(";")]


def test_an_upload_that_fits_passes_and_one_that_does_not_is_refused(host: Host) -> None:
    """Of 20 MB by its size, and of 1 GB and a byte by what it claims to be."""
    url = f"https://{LAB}/api/auth/login"
    curl = f"curl -sk -o /dev/null -w '%{{http_code}}' --resolve {LAB}:443:127.0.0.1 -H 'Content-Type: text/plain'"
    host.check_output("head -c 20000000 /dev/zero > /tmp/large")
    assert host.check_output(f"{curl} --data-binary @/tmp/large {url}") == "400"
    host.check_output("truncate -s 1000000001 /tmp/huge")
    assert host.check_output(f"{curl} -T /tmp/huge -X POST {url}") in {"413", "502"}  # so says an older Caddy
    host.check_output("rm /tmp/large /tmp/huge")


def test_the_log_has_who_asked_what_and_no_login(
    attacker: Attacker,
    containers: dict[str, Container],
    passwords: dict[str, str],
    log_in: Callable[[str], Session],
) -> None:
    session = log_in("ann")
    basic = base64.b64encode(f"ann:{passwords['ann']}".encode()).decode()
    marker = "/api/users/self?seen=here&sign=SIGNATURE-IN-A-LINK"
    attacker.one(marker, headers=session.headers)
    attacker.one("/api/users/self", headers={"Authorization": f"Token {session.token}"})
    attacker.one("/api/users/self", headers={"Authorization": f"Basic {basic}"})
    logged = containers["endolab-edge"].logs().decode()
    assert "seen=here" in logged
    assert '"status":200' in logged
    for secret in [*session.cookies.values(), session.token, basic, passwords["ann"], "SIGNATURE-IN-A-LINK"]:
        assert secret not in logged
