"""Somebody else's CVAT is asked before the loop begins, and what is wrong with it ends in a sentence."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.certificates import certificate, over_tls
from tests.unit.playbooks.test_audit import AUDIT
from tests.unit.roles.test_checks import CREDENTIALS, HOST, ROLES, ROOT, evaluate, of_file, refusals, variables_of

URL = "https://cvat.example.org"
GROUPS: dict[str, Any] = {"groups": {"monailabel": ["gpu1", "gpu2"]}, "group_names": ["monailabel"]}
TABLES = ["firewall", "docker_engine", "nvidia_container_toolkit", "backup", "hop", "monailabel_host", "monailabel"]


def known(name: str, host: str = "gpu1", **settings: Any) -> Any:
    """A variable of a host, or more of an expression; see `rendered`."""
    return rendered(f"{{{{ {name} }}}}", host, **settings)


def rendered(template: str, host: str = "gpu1", **settings: Any) -> Any:
    """A template on a host in an inventory that has no groups for CVAT and the edge, nor credentials for them."""
    names = ("cvat_service_username", "cvat_service_password")
    account = {key: CREDENTIALS[key] for key in names}
    variables = {
        **{**variables_of(ROLES), **of_file(AUDIT), **GROUPS, **account, "monailabel_cvat_url": URL, **settings},
        "inventory_hostname": host,
        "hostvars": {"gpu1": {"restore_from": ""}, "gpu2": {"restore_from": ""}},
        "ansible_play_hosts_all": ["gpu1", "gpu2"],
        "ansible_facts": {"endolab_host": HOST},
    }
    return evaluate(template, variables)


def test_there_is_no_other_end_and_nobody_is_waited_for() -> None:
    assert known("__hop_peers") == known("__hop_hosts") == known("__hop_ports") == known("__run_needed") == []
    assert known("__firewall_doors | map(attribute='port') | map('int')") == [22]


def test_all_loops_are_of_one_lab() -> None:
    for host in ("gpu1", "gpu2"):
        assert known("__routes | map(attribute='host')", host) == ["gpu1", "gpu2"]


def test_archives_are_of_a_lab_with_the_name_of_that_cvat_and_of_none_of_its_versions() -> None:
    settings = known("__backup_host_settings", __backup_settings={})
    assert (settings["lab"], settings["versions"]["cvat"], settings["database"]) == ("cvat.example.org", "", None)
    chosen = {"stdout": json.dumps({"at": "2026-11-27T02:30:00+00:00"})}
    assert known("__backup_belong_together", __backup_checked=chosen)


def test_annotators_are_those_of_the_inventory() -> None:
    assert known("__monailabel_annotators") == {"present": {}, "left": []}
    assert known("__monailabel_annotators.present", monailabel_annotators={"ann": 7}) == {"ann": 7}


def test_an_audit_looks_for_the_credentials_that_there_are() -> None:
    assert list(known("__audit_credentials")) == ["cvat_service_password", "backup_password", "edge_metrics_token"]
    assert known("__audit_services") == ["monailabel"]
    assert known("__audit_checks | map(attribute='id')")[-1] == "credentials", "none of CVAT's or the edge's"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "https://[::1]:443"])
def test_an_address_of_the_hosts_own_leads_to_endolabs_cvat(url: str) -> None:
    assert not known("__monailabel_cvat_is_foreign", monailabel_cvat_url=url)


@pytest.mark.parametrize("url", [URL, "http://cvat:8080", "https://localhost.example.org", "https://10.127.0.1"])
def test_any_other_address_leads_to_somebody_elses(url: str) -> None:
    assert known("__monailabel_cvat_is_foreign", monailabel_cvat_url=url)


def refused(**settings: Any) -> list[str]:
    return refusals(HOST, [f"__{name}_checks" for name in TABLES], **GROUPS, monailabel_cvat_url=URL, **settings)


def test_a_host_with_nothing_but_monai_label_is_let_through() -> None:
    assert refused() == []


def test_an_authority_is_a_certificate_on_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    assert refused(monailabel_cvat_ca=str(file)) == ["the authority of CVAT's certificate is one"]
    file.write_text("nothing", encoding="utf-8")
    assert refused(monailabel_cvat_ca=str(file)) == ["the authority of CVAT's certificate is one"]
    file.write_text(certificate(days=(-9, -2)), encoding="utf-8")
    assert refused(monailabel_cvat_ca=str(file)) == ["the authority of CVAT's certificate is one"]
    file.write_text(certificate(), encoding="utf-8")
    assert refused(monailabel_cvat_ca=str(file)) == []


def test_an_authority_is_found_from_where_the_playbook_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = certificate()
    (tmp_path / "ca.pem").write_text(written, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert known("__monailabel_cvat_ca_pem", monailabel_cvat_ca="ca.pem") == written


def test_another_authority_makes_another_container(tmp_path: Path) -> None:
    server = yaml.safe_load((ROOT / "roles/monailabel/tasks/server.yml").read_text(encoding="utf-8"))
    label = server[0]["block"][0]["community.docker.docker_container"]["labels"]["endolab.script"]
    made = []
    for number in (1, 2):
        file = tmp_path / "ca.pem"
        file.write_text(certificate(f"cvat{number}.example.org"), encoding="utf-8")
        made.append(rendered(label, monailabel_cvat_ca=str(file), __monailabel_script=""))
    assert made[0] != made[1]


def test_another_version_of_cvat_makes_another_pair_to_judge() -> None:
    pulled = {"image": {"Id": "sha256:1"}}
    pairs = {
        known("__monailabel_judged_pair", __monailabel_pulled=pulled, monailabel_cvat_version=version)
        for version in ("2.72.0", "2.73.0")
    }
    assert len(pairs) == 2


@pytest.mark.parametrize(("url", "foreign"), [(URL, True), ("http://127.0.0.1:8080", False)], ids=["foreign", "own"])
def test_only_somebody_elses_cvat_is_asked_and_before_the_server_starts(url: str, foreign: bool) -> None:
    tasks = yaml.safe_load((ROOT / "roles/monailabel/tasks/instance.yml").read_text(encoding="utf-8"))
    asks, starts = tasks[-2:]
    assert asks["ansible.builtin.include_tasks"] == "foreign_cvat.yml"
    assert starts["ansible.builtin.import_tasks"] == "server.yml"
    assert known(asks["when"], monailabel_cvat_url=url) is foreign


@pytest.mark.parametrize("file", ["verify_instance", "foreign_cvat"])
def test_whoever_asks_from_the_host_trusts_the_authority(file: str) -> None:
    tasks = yaml.safe_load((ROOT / f"roles/monailabel/tasks/{file}.yml").read_text(encoding="utf-8"))
    asked = [task["ansible.builtin.uri"] for task in tasks if "ansible.builtin.uri" in task]
    (ask,) = [each for each in asked if each["url"].startswith("{{ monailabel_cvat_url }}")]
    written = rendered(ask["ca_path"], monailabel_cvat_ca="ca.pem")
    assert written == "/etc/endolab/monailabel/cvat_ca.pem"
    settings = yaml.safe_load((ROOT / "roles/monailabel/tasks/settings.yml").read_text(encoding="utf-8"))
    paths = [each["path"] for each in settings[0]["endolab.active_learning.files"]["files"]]
    assert written in [rendered(path) for path in paths]


def test_python_in_the_container_trusts_the_authority() -> None:
    assert known("__monailabel_environment", monailabel_cvat_ca="ca.pem")["SSL_CERT_FILE"] == "/run/endolab/cvat_ca.pem"
    assert "SSL_CERT_FILE" not in known("__monailabel_environment")


LOGIN = "Basic " + base64.b64encode("lab:gehäuse".encode()).decode()


class Cvat(BaseHTTPRequestHandler):
    """As CVAT 2.73.0 answers; at `localhost` as one of a version that nobody has tested."""

    def do_GET(self) -> None:
        host = self.headers["Host"].partition(":")[0]
        version = "9.9.9" if host == "localhost" else "2.73.0"
        known = self.headers["Authorization"] == LOGIN
        self.send_response(200 if known or self.path == "/api/server/about" else 401)
        self.send_header("Content-Type", "application/vnd.cvat+json")
        self.end_headers()
        self.wfile.write(json.dumps({"version": version}).encode())

    def log_message(self, *_: object) -> None:
        pass


class Redirect(Cvat):
    """As something else answers, which leads to where CVAT is."""

    def do_GET(self) -> None:
        self.send_response(301)
        self.send_header("Location", URL)
        self.end_headers()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


@pytest.fixture(scope="module")
def servers(files: Path) -> Iterator[dict[str, int]]:
    """The ports of both, and one where nobody listens."""
    cvat, redirect, nobody = (HTTPServer(("127.0.0.1", 0), each) for each in (Cvat, Redirect, Cvat))
    nobody.server_close()
    over_tls(cvat, files, "127.0.0.1", "localhost")
    for server in (cvat, redirect):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"cvat": cvat.server_port, "redirect": redirect.server_port, "nobody": nobody.server_port}
    for server in (cvat, redirect):
        server.shutdown()
        server.server_close()


# Of each host what is special about it, and what it is told; nothing where all is well.
TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "well": ({}, ""),
    "untrusted": (
        {"ca": None},
        "does not trust the certificate of CVAT at https://127.0.0.1:{cvat} ([SSL: CERTIFICATE_VERIFY_FAILED]",
    ),
    "unreachable": (
        {"monailabel_cvat_url": "https://127.0.0.1:{nobody}"},
        "unreachable does not reach CVAT at https://127.0.0.1:{nobody} ([Errno 111] Connection refused). Mend",
    ),
    "stranger": (
        {"monailabel_cvat_url": "http://127.0.0.1:{redirect}"},
        f"does not do so as CVAT does (status 301 and 301, to be found at {URL}). See that CVAT is well there",
    ),
    "refused": (
        {"cvat_service_password": "wrong"},
        "CVAT at https://127.0.0.1:{cvat} does not let lab in. Write the account that it has for the loop into",
    ),
    "older": (
        {"monailabel_cvat_version": "2.72.0"},
        "is 2.73.0, and monailabel_cvat_version is 2.72.0. Set it to that version, which has been tested.",
    ),
    "untested": (
        {"monailabel_cvat_url": "https://localhost:{cvat}"},
        "is 9.9.9, and monailabel_cvat_version is 2.73.0. That has not been tested: set monailabel_allow_untested",
    ),
    "allowed": ({"monailabel_cvat_url": "https://localhost:{cvat}", "monailabel_allow_untested": True}, ""),
}


@pytest.fixture(scope="module")
def said(files: Path, servers: dict[str, int]) -> str:
    """What the role says when each of the hosts asks."""
    usual = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "monailabel_cvat_url": "https://127.0.0.1:{cvat}",
        "cvat_service_username": "lab",
        "cvat_service_password": "gehäuse",
        "ca": str(files / "ca.pem"),
    }
    hosts = {
        name: {
            key: value.format(**servers) if isinstance(value, str) else value
            for key, value in {**usual, **own}.items()
            if value is not None
        }
        for name, (own, _) in TOLD.items()
    }
    inventory = {"monailabel": {"hosts": hosts}}
    (files / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    ask = {"name": "endolab.active_learning.monailabel", "tasks_from": "foreign_cvat"}
    task = {"name": "It is asked", "ansible.builtin.import_role": ask}
    play = {"name": "Ask", "hosts": "monailabel", "gather_facts": False, "tasks": [task]}
    (files / "ask.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    (files / "on_host.yml").write_text('__monailabel_cvat_ca_on_host: "{{ ca | default(omit) }}"\n', encoding="utf-8")
    shared = [*sorted((ROOT / "playbooks/group_vars/all").glob("*.yml")), files / "on_host.yml"]
    given = [word for each in shared for word in ("-e", f"@{each}")]
    done = subprocess.run(
        ["ansible-playbook", "-i", files / "hosts.yml", files / "ask.yml", *given],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=False,
    )
    return str(done.stdout)


@pytest.mark.parametrize("host", TOLD)
def test_what_is_wrong_with_it_is_said(host: str, said: str, servers: dict[str, int]) -> None:
    (told,) = re.findall(rf"^fatal: \[{host}\]: (.*)$", said, re.M) or [""]
    sentence = TOLD[host][1].format(**servers)
    assert sentence in told, said
    assert bool(told) is bool(sentence), said
    assert f"{host} " in said.partition("PLAY RECAP")[2]


def test_no_password_is_said(said: str) -> None:
    assert "TASK [" in said
    for secret in ("gehäuse", json.dumps("gehäuse").strip('"'), LOGIN.removeprefix("Basic ")):
        assert secret not in said
