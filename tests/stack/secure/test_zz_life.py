"""What changes the stack, last: another rule for MONAI Label, people who come and go, CVAT away."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import healthy, login, wait_until
from tests.stack.secure.conftest import LAB, Attacker, Session

Play = Callable[..., subprocess.CompletedProcess[str]]

# Answers each request with its headers, as JSON.
ECHO = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Access-Control-Allow-Origin', '*')
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', 8999), Handler).serve_forever()
"""


@pytest.fixture
def echo(host: Host, variables: dict[str, Any], play: Play) -> Iterator[None]:
    """Something in MONAI Label's place that shows what reaches it, for members of an organization alone."""
    host.check_output("systemd-run --unit=echo python3 -c %s", ECHO)
    host.check_output(
        "curl -fsS -u %s -H 'Content-Type: application/json' -d %s http://127.0.0.1:8081/api/organizations",
        login(variables, "service"),
        '{"slug": "lab"}',
    )
    there = {"host": variables["inventory_hostname"], "name": "", "port": 8999, "path": "/monailabel"}
    in_cvat = {"project": "MONAILabel", "task_prefix": "ActiveLearning_Iteration"}
    settings = {"__routes": [{**there, **in_cvat}], "edge_monailabel_organization": "lab"}
    done = play("site.yml", "-e", json.dumps(settings))
    assert done.returncode == 0, done.stdout
    yield
    host.check_output("systemctl stop echo")
    assert play("site.yml").returncode == 0


@pytest.mark.long
def test_an_organizations_members_alone_may_use_it_and_no_login_reaches_it(
    echo: None, attacker: Attacker, log_in: Callable[[str], Session], variables: dict[str, Any]
) -> None:
    member = log_in(variables["cvat_service_username"])
    answer = attacker.one("/monailabel/x", headers={**member.headers, "Origin": f"https://{LAB}", "X-Marker": "passes"})
    assert answer.status == 200, answer
    assert answer.header("access-control-allow-origin") == ""
    reached = {key.lower(): value for key, value in json.loads(answer.body).items()}
    assert reached["x-marker"] == "passes"
    assert not {"cookie", "authorization", "origin"} & set(reached)

    basic = base64.b64encode(login(variables, "service").encode()).decode()
    answer = attacker.one("/monailabel/x", headers={"Authorization": f"Basic {basic}"})
    assert answer.status == 200
    assert basic not in answer.body

    assert attacker.one("/monailabel/x").status == 401
    for name, status in (("ann", 403), ("admin", 200)):
        session = log_in(name)
        assert attacker.one("/monailabel/x", headers=session.headers).status == status
        # Naming no organization, or another one, leads no further.
        for other in ("", "lab", "other"):
            headers = {**session.headers, "X-Organization": other}
            assert attacker.one("/monailabel/x?org=&org_id=1", headers=headers).status == status


def test_people_come_and_go(
    play: Play, attacker: Attacker, log_in: Callable[[str], Session], passwords: dict[str, str]
) -> None:
    """Who leaves loses session, token and the jobs he has not done; who has changed his password keeps it."""
    ann = log_in("ann")
    changed = {"old_password": passwords["ben"], "new_password1": "ben's own one", "new_password2": "ben's own one"}
    ben = log_in("ben")
    headers = {**ben.headers, "X-CSRFToken": ben.cookies["csrftoken"]}
    assert attacker.post("/api/auth/password/change", changed, **headers).status == 200

    users = [
        {"username": "ann", "password": passwords["ann"], "active": False},
        {"username": "ben", "password": passwords["ben"], "group": "user"},
        {"username": "dora", "password": "dora's first one"},
    ]
    done = play("site.yml", "-e", json.dumps({"cvat_users": users}))
    assert done.returncode == 0, done.stdout
    assert attacker.one("/monailabel/info/", headers=ann.headers).status == 401
    assert attacker.one("/api/users/self", headers={"Authorization": f"Token {ann.token}"}).status == 401
    assert attacker.post("/api/auth/login", {"username": "ben", "password": "ben's own one"}).status == 200
    answer = attacker.post("/api/auth/login", {"username": "dora", "password": "dora's first one"})
    dora = {"Authorization": f"Token {json.loads(answer.body)['key']}"}

    def jobs() -> int:
        return int(json.loads(attacker.one("/api/jobs", headers=dora).body)["count"])

    wait_until(lambda: jobs() == 5, 120, "ann's jobs are dora's")

    # Who is no longer named stays as she is.
    assert attacker.post("/api/auth/login", {"username": "cora", "password": passwords["cora"]}).status == 400
    done = play("site.yml", "--check")
    assert "Accounts: ann" in done.stdout
    assert play("site.yml").returncode == 0
    assert attacker.post("/api/auth/login", {"username": "ben", "password": "ben's own one"}).status == 200


def test_without_cvat_monailabel_is_closed(
    attacker: Attacker, log_in: Callable[[str], Session], containers: dict[str, Container], engine: docker.DockerClient
) -> None:
    session = log_in("admin")
    assert attacker.one("/monailabel/info/", headers=session.headers).status == 200
    containers["cvat-server-1"].stop()
    assert attacker.one("/monailabel/info/", headers=session.headers).status == 502
    containers["cvat-server-1"].start()
    wait_until(lambda: "cvat-server-1" in healthy(engine), 120, "CVAT healthy")
    assert attacker.one("/monailabel/info/", headers=session.headers).status == 200
