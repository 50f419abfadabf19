"""Nobody registers himself, by whatever path; the administrator's users are there, and see what is theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

from tests.stack.common import cvat, wait_until
from tests.stack.secure.conftest import LAB, Attacker, Session

# Each leads to /api/auth/register for some program on the way, or looks as if it did.
TRICKS = [
    "/api/auth/register",
    "/api/auth/register/",
    "/api/auth/register//",
    "//api/auth/register",
    "///api/auth/register",
    "/api//auth/register",
    "/api/auth//register",
    "/./api/auth/register",
    "/api/./auth/./register",
    "/api/auth/register/.",
    "/api/auth/register/./",
    "/api/x/../auth/register",
    "/api/auth/x/../register",
    "/static/../api/auth/register",
    "/monailabel/../api/auth/register",
    "/api/auth/register/../register",
    "/api/auth/register/x/..",
    "/%2e/api/auth/register",
    "/api/%2e/auth/register",
    "/api/x/%2e%2e/auth/register",
    "/api/x%2f..%2fauth/register",
    "/API/AUTH/REGISTER",
    "/api/auth/Register",
    "/Api/Auth/rEGISTER/",
    "/%61pi/auth/register",
    "/api/auth/%72egister",
    "/api/auth/registe%72",
    "/%61%70%69/%61%75%74%68/%72%65%67%69%73%74%65%72",
    "/api%2fauth%2fregister",
    "/api%2Fauth%2Fregister%2F",
    "/api/auth%2fregister",
    "/api/auth/register%2f",
    "/api/auth/%2572egister",
    "/api/auth/%252e/register",
    "/api/auth/register%00",
    "/api/auth/register%00.json",
    "/api/auth/register%20",
    "/api/auth/register%0a",
    "/api/auth/register%09",
    "/api/auth/register.",
    "/api/auth/register..",
    "/api/auth/register./",
    "/api/auth/register;",
    "/api/auth/register;x=y",
    "/api;x/auth/register",
    "/api/auth/register?next=/",
    "/api/auth/register/?x",
    "/api/auth/register#x",
    "\\api\\auth\\register",
    "/api\\auth\\register",
    "/api/auth/\\register",
    "/edge-health/../api/auth/register",
    f"https://{LAB}/api/auth/register",
    f"http://{LAB}:8080/api/auth/register",
    "http://127.0.0.1:8081/api/auth/register",
]
HEADERS = [
    {"X-Original-URL": "/api/auth/register"},
    {"X-Rewrite-URL": "/api/auth/register"},
    {"X-Forwarded-Uri": "/api/auth/register", "X-Forwarded-Method": "POST"},
    {"X-Forwarded-Prefix": "/api/auth/register"},
    {"X-HTTP-Method-Override": "POST"},
    {"Forwarded": f"for=127.0.0.1;host={LAB};proto=http"},
    {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"},
]


def form(name: str) -> dict[str, Any]:
    """Whatever CVAT wants of somebody who registers."""
    password = "a password for nobody"
    return {"username": name, "email": f"{name}@example.org", "password1": password, "password2": password}


def usernames(host: Host, variables: dict[str, Any]) -> set[str]:
    return {user["username"] for user in cvat(host, variables, "users?page_size=500")["results"]}


def registration(name: str, target: str, headers: dict[str, str] | None = None, method: str = "POST") -> dict[str, Any]:
    """A request that sends the form."""
    headers = {"Content-Type": "application/json", **(headers or {})}
    return {"target": target, "method": method, "body": json.dumps(form(name)), "headers": headers}


REQUESTS = {
    "paths": [registration(f"path{number}", target) for number, target in enumerate(TRICKS)],
    "headers": [
        registration(f"header{number}", target, headers)
        for target in ("/api/auth/register", "/api/server/about")
        for number, headers in enumerate(HEADERS)
    ],
    "methods": [
        registration(f"method{method}", "/api/auth/register", method=method)
        for method in ("PUT", "PATCH", "post", "GET", "OPTIONS")
    ],
}


@pytest.mark.parametrize("tricks", REQUESTS.values(), ids=REQUESTS)
def test_tricks_are_refused(attacker: Attacker, tricks: list[dict[str, Any]]) -> None:
    answers = zip(tricks, attacker.ask(*tricks), strict=True)
    assert [(trick, answer) for trick, answer in answers if 0 < answer.status < 400 or '"key"' in answer.body] == []


def test_nobody_has_registered(host: Host, variables: dict[str, Any], passwords: dict[str, str]) -> None:
    assert usernames(host, variables) == set(passwords)


def test_who_registers_past_the_door_is_seen(host: Host, variables: dict[str, Any]) -> None:
    """CVAT itself takes the form, and the test above would find it."""
    body = json.dumps(form("mallory"))
    host.check_output(
        "curl -fsS -H 'Content-Type: application/json' -d %s http://127.0.0.1:8081/api/auth/register", body
    )
    try:
        assert "mallory" in usernames(host, variables)
    finally:
        shell = "from django.contrib.auth.models import User; User.objects.get(username='mallory').delete()"
        manage = '. /etc/cvat/init.d/passwords && echo "$1" | python3 /opt/cvat/manage.py shell'
        host.check_output("docker exec cvat-server-1 bash -c %s - %s", manage, shell)


def test_the_users_are_those_of_the_inventory(host: Host, variables: dict[str, Any]) -> None:
    users = {user["username"]: user for user in cvat(host, variables, "users?page_size=500")["results"]}
    found = {name: (users[name]["groups"], users[name]["is_active"]) for name in ("ann", "ben", "cora", "admin")}
    assert found == {
        "ann": (["worker"], True),
        "ben": (["user"], True),
        "cora": (["worker"], False),
        "admin": (["admin"], True),
    }


def test_who_is_not_active_does_not_get_in(attacker: Attacker, passwords: dict[str, str]) -> None:
    assert attacker.post("/api/auth/login", {"username": "cora", "password": passwords["cora"]}).status == 400


def test_the_annotators_find_the_loops_task_and_jobs_of_their_own(
    attacker: Attacker, log_in: Callable[[str], Session]
) -> None:
    def seen(session: Session, what: str) -> list[Any]:
        found: list[Any] = json.loads(attacker.one(f"/api/{what}?page_size=500", headers=session.headers).body)[
            "results"
        ]
        return found

    ann, ben = log_in("ann"), log_in("ben")
    wait_until(lambda: any("Iteration_1" in task["name"] for task in seen(ann, "tasks")), 240, "the first task")
    jobs = [{job["id"] for job in seen(who, "jobs")} for who in (ann, ben)]
    assert [len(each) for each in jobs] == [5, 5]
    assert jobs[0].isdisjoint(jobs[1])
    assert [task["id"] for task in seen(ann, "tasks")] == [task["id"] for task in seen(ben, "tasks")]
