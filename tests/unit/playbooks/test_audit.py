"""The table of audit.yml: nothing is found on a good host, and every check finds what it is for."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.roles.test_checks import CREDENTIALS, HOST, ROLES, ROOT, of_file, trusted, variables_of

AUDIT = ROOT / "playbooks/vars/audit.yml"
RUNS = {"enabled": True, "active": True}
UNITS = {"endolab-firewall.service": RUNS, "endolab-backup.timer": RUNS}
ANSWERS = [{"status": 200}, {"status": 200, "strict_transport_security": "max-age=1"}, {"status": 403}, {"status": 401}]
KNOWN = [
    {"id": 1, "username": "admin", "groups": ["admin"], "is_active": True, "is_superuser": True},
    {"id": 2, "username": "monailabel", "groups": ["user"], "is_active": True, "is_superuser": False},
]
GOOD: dict[str, Any] = {
    "inventory_hostname": "gpu1",
    "groups": {group: ["gpu1"] for group in ("cvat", "edge", "monailabel")},
    "hostvars": {"gpu1": {}},
    "ansible_facts": {"endolab_host": {**HOST, "units": UNITS}},
    "__firewall_looked": {"changed": False},
    "backup_repository": "/mnt/backup",
    "__backup_looked": {"stdout": '{"last": null, "fault": null}'},
    "__edge_answers": {"results": ANSWERS},
    "__edge_redirect": {"status": 308, "location": "https://gpu1/"},
    "__cvat_logins": {"users": KNOWN, "refused": []},
    "__cvat_database_rules": {"rc": 0, "stdout": ""},
    "__cvat_queue_logins": {
        "results": [{"item": [name, "1"], "stdout": "NOAUTH Authentication required."} for name in ("redis", "kvrocks")]
    },
    "__audit_seen": {
        "listeners": [
            {"port": 22, "address": "::", "loopback": False, "process": "sshd", "container": None},
            {"port": 443, "address": "::", "loopback": False, "process": "caddy", "container": "endolab-edge"},
            {"port": 111, "address": "::", "loopback": False, "process": "rpcbind", "container": None},
            {
                "port": 8081,
                "address": "127.0.0.1",
                "loopback": True,
                "process": "dockerd",
                "container": "cvat-server-1",
            },
        ],
        "containers": [{"name": name, "own": name == "monailabel", "beyond": []} for name in ("monailabel", "other")],
        "networks": {f"cvat_{name}": name != "outside" for name in ("database", "queues", "cache", "rules", "outside")},
        "daemon": {
            "LiveRestoreEnabled": True,
            "ExperimentalBuild": False,
            "Debug": False,
            "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"],
            "RegistryConfig": {
                "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"],
                "IndexConfigs": {"docker.io": {"Secure": True}},
            },
        },
        "administrators": [],
        "open_files": [],
        "shown": [
            "environment cvat-worker_import-1 cvat_redis_password",
            "environment cvat-server-1 cvat_clickhouse_password",
            "environment cvat-grafana-1 cvat_clickhouse_password",
            "argument cvat-worker_utils-1 cvat_redis_password",
            "environment restic backup_environment.AWS_SECRET_ACCESS_KEY",
        ],
        "door": {"fault": "", "days": 0, "old": []},
    },
}
SEEN = GOOD["__audit_seen"]
STRANGER = {"port": 8000, "address": "0.0.0.0", "loopback": False, "process": "python3", "container": "monailabel"}
ENGINE = {"port": 2375, "address": "127.0.0.1", "loopback": True, "process": "dockerd", "container": None}

# For each finding what makes it, and a word that the sentence must hold.
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "firewall-on": (
        {"firewall_enabled": False, "__audit_seen": {**SEEN, "listeners": SEEN["listeners"][:2]}},
        "firewall_enabled",
    ),
    "firewall-rules": ({"__firewall_looked": {"changed": True}}, "site.yml"),
    "firewall-at-boot": (
        {
            "ansible_facts": {
                "endolab_host": {**HOST, "units": {**UNITS, "endolab-firewall.service": {"enabled": False}}}
            }
        },
        "endolab-firewall.service",
    ),
    "listeners": ({"__audit_seen": {**SEEN, "listeners": [STRANGER]}}, "python3 on port 8000"),
    "docker-answers": ({"__audit_seen": {**SEEN, "daemon": {}}}, "journalctl -u docker"),
    "docker-tcp": ({"__audit_seen": {**SEEN, "listeners": [ENGINE]}}, "DOCKER_HOST"),
    "docker-group": ({"__audit_seen": {**SEEN, "administrators": ["ann", "ben"]}}, "ann and ben"),
    "docker-registries": (
        {"__audit_seen": {**SEEN, "daemon": {"RegistryConfig": {"InsecureRegistryCIDRs": ["10.0.0.0/8"]}}}},
        "10.0.0.0/8",
    ),
    "docker-live-restore": ({"__audit_seen": {**SEEN, "daemon": {"LiveRestoreEnabled": False}}}, "live-restore"),
    "docker-seccomp": (
        {"__audit_seen": {**SEEN, "daemon": {"SecurityOptions": ["name=seccomp,profile=unconfined"]}}},
        "seccomp-profile",
    ),
    "docker-experimental": ({"__audit_seen": {**SEEN, "daemon": {"Debug": True}}}, "debug"),
    "containers": (
        {
            "__audit_seen": {
                **SEEN,
                "containers": [{"name": "cvat-ui-1", "own": True, "beyond": ["root", "privileged"]}],
            }
        },
        "cvat-ui-1 (root, privileged)",
    ),
    "containers-of-others": (
        {"__audit_seen": {**SEEN, "containers": [{"name": "other", "own": False, "beyond": ["privileged"]}]}},
        "other (privileged)",
    ),
    "files": ({"__audit_seen": {**SEEN, "open_files": [{"path": "/a", "mode": "0666"}]}}, "/a with mode 0666"),
    "archives": ({"backup_repository": ""}, "backup_repository"),
    "credentials": (
        {"__audit_seen": {**SEEN, "shown": ["argument sh cvat_admin_password"]}},
        "cvat_admin_password (argument of sh)",
    ),
    "accounts": ({"__cvat_logins": {"users": KNOWN, "refused": ["monailabel"]}}, "monailabel"),
    "administrators": (
        {"__cvat_logins": {"users": [*KNOWN, {**KNOWN[0], "username": "eve"}], "refused": []}},
        "eve",
    ),
    "database": ({"__cvat_database_rules": {"rc": 0, "stdout": "trust from all"}}, "trust from all"),
    "queues": ({"__cvat_queue_logins": {"results": [{"item": ["redis", "1"], "stdout": "PONG"}]}}, "redis answers"),
    "networks": ({"__audit_seen": {**SEEN, "networks": {**SEEN["networks"], "cvat_cache": False}}}, "cvat_cache"),
    "certificate": ({"__audit_seen": {**SEEN, "door": {**SEEN["door"], "fault": "it has expired"}}}, "it has expired"),
    "tls": ({"__audit_seen": {**SEEN, "door": {**SEEN["door"], "old": ["TLSv1.1"]}}}, "TLSv1.1"),
    "redirect": ({"__edge_redirect": {"status": 200}}, "200"),
    "hsts": ({"__edge_answers": {"results": [ANSWERS[0], ANSWERS[0], *ANSWERS[2:]]}}, "plain http"),
    "registration": ({"__edge_answers": {"results": [*ANSWERS[:2], ANSWERS[0], ANSWERS[3]]}}, "200 instead of 403"),
    "login": (
        {
            "__edge_answers": {
                "results": [*ANSWERS[:3], {"status": 200, "item": "https://127.0.0.1:443/monailabel/info/"}]
            }
        },
        "https://gpu1/monailabel/info/ can be had without a login",
    ),
}


def found(**settings: Any) -> dict[str, str]:
    variables = trusted({**variables_of(ROLES), **of_file(AUDIT), **CREDENTIALS, **GOOD, **settings})
    # As playbooks/tasks/host.yml does.
    variables["__monailabel_places"] = Templar(loader=DataLoader(), variables=variables).template(
        variables["__monailabel_laid_out"]
    )
    templar = Templar(loader=DataLoader(), variables=variables)
    for check in templar.template(variables["__audit_checks"]):
        assert isinstance(check["that"], bool), check
    assert isinstance(templar.template(variables["__audit_text"]), str)
    return dict(templar.template(variables["__audit_findings"]))


def found_by(name: str, **settings: Any) -> dict[str, Any]:
    """A variable of the audit's, with these settings."""
    variables = trusted({**variables_of(ROLES), **of_file(AUDIT), **CREDENTIALS, **GOOD, **settings})
    return dict(Templar(loader=DataLoader(), variables=variables).template(variables[name]))


def test_nothing_is_found_on_a_good_host() -> None:
    assert found() == {}


def test_every_check_finds_what_it_is_for() -> None:
    for name, (settings, word) in BAD.items():
        findings = found(**settings)
        assert list(findings) == [name]
        assert word in findings[name]
        assert "\n" not in findings[name]
    without = found(firewall_enabled=False)
    assert "rpcbind on port 111" in without["listeners"]
    keys = {"AWS_SECRET_ACCESS_KEY": "k", "AWS_DEFAULT_REGION": "eu"}
    users = [{"username": "ann", "password": "p"}, {"username": "ben"}]
    looked_for = found_by("__audit_credentials", backup_environment=keys, cvat_users=users, edge_metrics_token="t")
    own = {"backup_environment.AWS_SECRET_ACCESS_KEY": "k", "cvat_users.ann": "p", "edge_metrics_token": "t"}
    assert own.items() <= looked_for.items()
    assert "eu" not in looked_for.values()
    by_group = {"users": [*KNOWN, {**KNOWN[1], "username": "eve", "groups": ["admin"]}], "refused": []}
    assert found(__cvat_logins=by_group)["administrators"].startswith("eve may do everything")
    stopped = {**HOST, "units": {**UNITS, "endolab-backup.timer": {"enabled": True, "active": False}}}
    assert "endolab-backup.timer" in found(ansible_facts={"endolab_host": stopped})["archives"]
    failed = {"stdout": '{"last": null, "fault": "the disk is full"}'}
    assert "the disk is full" in found(__backup_looked=failed)["archives"]
    assert found(audit_accepted={"tls": "an old microscope"}, **BAD["tls"][0]) == {}


def test_nothing_is_found_where_nothing_is_told_apart() -> None:
    """A host without CVAT and without the edge, whose Docker is down, has one finding."""
    groups = {"cvat": ["other"], "edge": ["other"], "monailabel": ["gpu1"]}
    nothing: dict[str, Any] = {
        name: [] for name in ("containers", "administrators", "open_files", "shown", "listeners")
    }
    seen = {**nothing, "networks": {}, "daemon": {}, "door": {}}
    assert list(found(groups=groups, __audit_seen=seen)) == ["docker-answers"]


def test_its_document_lists_every_finding() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \| ", (ROOT / "docs/audit.md").read_text(encoding="utf-8"), re.M)
    assert listed == list(BAD)
    table = json.dumps(of_file(AUDIT))
    assert sorted(listed) == sorted(re.findall(r'"id": "([a-z-]+)"', table))
