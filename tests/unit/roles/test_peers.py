"""The edge and MONAI Labels on other hosts know each other, also one that a run does not reach."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.unit.roles.test_checks import ROLES, evaluate, variables_of

MEMORY = "/etc/endolab/hop/peers.json"
MET = {name: {"__hop_own": f"{name}'s\n", "ansible_facts": {"endolab_host": {"addresses": [name]}}} for name in "ab"}


KEY, CERTIFICATE = "/etc/endolab/hop/secrets/key.pem", "/etc/endolab/hop/certificate.pem"
MADE: dict[str, dict[str, Any]] = {
    KEY: {"uid": 0, "mode": "0600", "written": "1700000000000000000"},
    CERTIFICATE: {"mode": "0644", "written": "1700000000000000001", "sha256": hashlib.sha256(b"own\n").hexdigest()},
}


def known(
    name: str,
    met: dict[str, Any],
    memory: dict[str, Any] | None = None,
    gpus: str = "ab",
    files: dict[str, dict[str, Any]] | None = None,
) -> Any:
    """A variable of the edge's host, which has met these in this run and remembers those of the one before."""
    texts = {MEMORY: "" if memory is None else json.dumps(memory)}
    variables: dict[str, Any] = {
        "inventory_hostname": "edge",
        "groups": {"cvat": ["edge"], "edge": ["edge"], "monailabel": list(gpus)},
        "hostvars": {**{name: {} for name in "abc"}, "edge": {"__hop_own": "own\n"}, **met},
        "ansible_facts": {"endolab_host": {"texts": texts, "files": files or {}}},
        "__hop_own": "own\n",
    }
    return evaluate(f"{{{{ {name} }}}}", {**variables_of(ROLES), **variables})


def test_those_that_are_met_are_known() -> None:
    assert known("__hop_peers_pem", MET) == "a's\nb's\n"
    assert known("__firewall_peer_addresses", MET) == ["a", "b"]
    assert known("__hop_certificates", MET) == "own\na's\nb's\n"


def test_one_that_is_not_reached_stays_known() -> None:
    memory = {"certificates": {"a": "old\n", "b": "b's\n"}, "addresses": {"a": ["old"], "b": ["b"]}}
    met = {"a": MET["a"]}
    assert known("__hop_peers_pem", met, memory) == "a's\nb's\n"
    assert known("__firewall_peer_addresses", met, memory) == ["a", "b"]


def test_one_that_is_refused_stays_known_at_its_new_address() -> None:
    memory = {"certificates": {"a": "a's\n"}, "addresses": {"a": ["old"]}}
    met = {"a": {"ansible_facts": MET["a"]["ansible_facts"]}}
    assert known("__hop_peers_pem", met, memory) == "a's\n"
    assert known("__firewall_peer_addresses", met, memory) == ["a"]


def test_one_that_is_no_peer_any_more_is_forgotten() -> None:
    memory = {"certificates": {"b": "b's\n"}, "addresses": {"b": ["b"]}}
    assert known("__hop_peers_pem", MET, memory, gpus="a") == "a's\n"
    assert known("__firewall_peer_addresses", MET, memory, gpus="a") == ["a"]


def test_an_edge_that_knows_nobody_lets_nobody_in() -> None:
    assert known("__hop_peers_pem", {}) == "own\n"
    doors = "__firewall_doors | map(attribute='port') | map('int') | list"
    assert 8443 in known(doors, MET)
    assert 8443 not in known(doors, {})


def test_a_key_and_its_certificate_are_made_once() -> None:
    assert known("__hop_made", MET, {"own": "own\n"}, files=MADE)


@pytest.mark.parametrize(
    ("memory", "files"),
    [
        ({"own": "own\n"}, {}),
        ({"own": "own\n"}, {CERTIFICATE: MADE[CERTIFICATE]}),
        ({"own": "own\n"}, {KEY: MADE[KEY]}),
        ({"own": "another\n"}, MADE),
        ({}, MADE),
        (None, MADE),
        ({"own": "own\n"}, {**MADE, KEY: {**MADE[KEY], "written": "1700000000000000002"}}),
        ({"own": "own\n"}, {**MADE, KEY: {**MADE[KEY], "mode": "0644"}}),
    ],
    ids=["nothing", "no key", "no certificate", "another certificate", "forgotten", "unknown", "newer key", "open key"],
)
def test_they_are_looked_at_where_somebody_may_have_touched_them(
    memory: dict[str, Any] | None, files: dict[str, dict[str, Any]]
) -> None:
    assert not known("__hop_made", MET, memory, files=files)
