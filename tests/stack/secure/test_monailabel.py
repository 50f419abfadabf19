"""MONAI Label is there for those whom CVAT knows, for nobody else, and not all of it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

from tests.stack.secure.conftest import LAB, Answer, Attacker, Session

INFO = "/monailabel/info/"
TRICKS = [
    "/monailabel",
    "/monailabel/",
    "//monailabel/info/",
    "/monailabel//info/",
    "/./monailabel/info/",
    "/monailabel/./info/",
    "/monailabel/../monailabel/info/",
    "/api/../monailabel/info/",
    "/static/..%2fmonailabel/info/",
    "/monailabel/%2e%2e/monailabel/info/",
    "/%6donailabel/info/",
    "/monailabe%6c/info/",
    "/MONAILABEL/info/",
    "/Monailabel/info/",
    "/monailabel%2finfo%2f",
    "/monailabel%2Finfo/",
    "/monailabel;/info/",
    "/monailabel./info/",
    "/monailabel%00/info/",
    "/monailabel/info/?x=/api/auth/login",
    "/monailabel/info",
    "/monailabel/logs/",
    "/monailabel/model/tooltracking",
    "/monailabel/datastore/",
    "/monailabel/datastore/image?image=frame_0001",
    "/monailabel/loop",
    "/monailabel/loop/page",
    "/monailabel/loop/frames/frame_0001/picture",
    "/monailabel/metrics",
    "/monailabel/metrics/",
    "/monailabel//metrics",
    "/monailabel/%6Detrics",
    "/monailabel/METRICS",
    "/monailabel/loop/../metrics",
    "/monailabel/proxy/dicom/%2e%2e/%2e%2e/metrics",
    "/monailabel/proxy/dicom/..%2f..%2Fmetrics",
    "/monailabel/proxy/dicom/%2E%2E/%2e./info/",
    "/monailabel/openapi.json",
    "/monailabel/docs",
    "/monailabel/static/x",
    "/monailabel/api/auth/login",
    "/monailabel/api/users/self",
    "/info/",
    "/loop",
    "/metrics",
    f"https://{LAB}/monailabel/info/",
    "http://127.0.0.1:8000/info/",
]
FORGED: list[dict[str, str]] = [
    {"X-Forwarded-User": "admin", "X-Remote-User": "admin", "Remote-User": "admin"},
    {"X-Auth-Request-User": "admin", "X-Authenticated-User": "admin", "X-User": "1"},
    {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-Uri": "/api/server/about", "X-Forwarded-Method": "OPTIONS"},
    {"X-Forwarded-Host": "127.0.0.1:8081", "X-Forwarded-Proto": "http"},
    {"X-Original-URL": "/api/server/about", "X-Rewrite-URL": "/api/server/about"},
    {"Authorization": "Basic " + base64.b64encode(b"admin:admin").decode()},
    {"Authorization": "Token 0000000000000000000000000000000000000000"},
    {"Authorization": "Bearer x"},
    {"Authorization": ""},
    {"Cookie": "sessionid=00000000000000000000000000000000"},
    {"Cookie": "sessionid="},
    {"X-Organization": ""},
    {"Connection": "close, X-Forwarded-Uri, Authorization, Cookie"},
    {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"},
]


@pytest.fixture(scope="module")
def known(host: Host) -> str:
    """What only MONAI Label says."""
    return str(json.loads(host.check_output("curl -fsS http://127.0.0.1:8000/info/"))["description"])


@pytest.fixture(scope="module")
def ann(log_in: Callable[[str], Session]) -> Session:
    return log_in("ann")


def test_an_annotators_session_opens_it_until_he_logs_out(
    attacker: Attacker, known: str, log_in: Callable[[str], Session]
) -> None:
    assert attacker.one(INFO).status == 401
    session = log_in("ann")
    answer = attacker.one(INFO, headers=session.headers)
    assert (answer.status, json.loads(answer.body)["description"]) == (200, known)
    assert attacker.post("/api/auth/logout", {}, **session.headers).status == 200
    answer = attacker.one(INFO, headers=session.headers)
    assert answer.status == 401
    assert known not in answer.body


def test_so_do_a_token_and_a_password(attacker: Attacker, ann: Session, passwords: dict[str, str]) -> None:
    basic = base64.b64encode(f"ben:{passwords['ben']}".encode()).decode()
    for authorization in (f"Token {ann.token}", f"Basic {basic}"):
        assert attacker.one(INFO, headers={"Authorization": authorization}).status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "DELETE"])
def test_no_path_leads_past_the_login(attacker: Attacker, known: str, method: str) -> None:
    """CVAT's pages may answer, or CVAT; MONAI Label does not."""
    answers = attacker.ask(*({"target": target, "method": method} for target in TRICKS))
    for target, answer in zip(TRICKS, answers, strict=True):
        assert known not in answer.body
        assert "MONAI" not in answer.body
        assert answer.header("access-control-allow-origin") == ""
        if target.startswith("/monailabel/"):
            assert answer.status == 401, target


def test_forged_headers_are_no_login(attacker: Attacker, known: str) -> None:
    for headers, answer in zip(
        FORGED, attacker.ask(*({"target": INFO, "headers": each} for each in FORGED)), strict=True
    ):
        assert answer.status == 401, (headers, answer)
        assert known not in answer.body


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "loop", 200),
        ("POST", "loop", 200),
        ("GET", "loop/tasks", 200),
        ("GET", "datastore/?output=stats", 200),
        ("POST", "activelearning/random", 200),
    ],
)
def test_people_may_look_and_ask(attacker: Attacker, ann: Session, method: str, target: str, status: int) -> None:
    answer = attacker.one(
        f"/monailabel/{target}", method=method, headers={**ann.headers, "Content-Type": "application/json"}, body="{}"
    )
    assert answer.status == status, answer


def test_people_see_the_loops_page_with_its_pictures(attacker: Attacker, ann: Session) -> None:
    page = attacker.one("/monailabel/loop/page", headers=ann.headers)
    assert page.status == 200
    assert page.header("content-security-policy").startswith("default-src 'none'; ")
    assert re.search(r'href="/tasks/\d+"', page.body), "at the address where people find CVAT"
    pictures = re.findall(r'src="(frames/[^"]+)"', page.body)
    assert pictures
    for picture in pictures[:4]:
        answer = attacker.one(f"/monailabel/loop/{picture}", headers=ann.headers)
        assert (answer.status, answer.header("content-type").partition("/")[0]) == (200, "image")


def test_the_loops_numbers_are_for_those_who_have_their_token(
    attacker: Attacker, ann: Session, variables: dict[str, Any]
) -> None:
    token = variables["edge_metrics_token"]
    logins = [{}, ann.headers, {"Authorization": f"Token {ann.token}"}]
    guesses = [{"Authorization": f"Bearer {guess}"} for guess in ("", token[:-1], f"{token}x", token.swapcase())]
    for headers in [*logins, *guesses]:
        answer = attacker.one("/monailabel/metrics", headers=headers)
        assert (answer.status, "endolab_" in answer.body) == (401, False), headers
    shown = {"Authorization": f"Bearer {token}"}
    answer = attacker.one("/monailabel/metrics", headers=shown)
    assert (answer.status, "endolab_loop_healthy{} 1.0" in answer.body) == (200, True)
    for path in ("loop", "proxy/dicom/x", "metrics/x", "proxy/dicom/%2e%2e/%2e%2e/info/"):
        assert attacker.one(f"/monailabel/{path}", headers=shown).status == 401, "it opens nothing else"
    for path in ("proxy/dicom/%2e%2e/%2E%2E/metrics", "proxy/dicom/..%2f..%2Fmetrics", "loop/%2e%2e/metrics"):
        answer = attacker.one(f"/monailabel/{path}", headers=shown)
        assert (answer.status, "endolab_loop_healthy{} 1.0" in answer.body) == (200, True), path


def asked(
    attacker: Attacker, session: Session, paths: list[tuple[str, str]]
) -> Iterator[tuple[dict[str, Any], Answer]]:
    """Each request of MONAI Label by its method and path, with the answer that somebody who is logged in gets."""
    requests = [
        {"target": f"/monailabel/{target}", "method": method, "headers": session.headers} for method, target in paths
    ]
    return zip(requests, attacker.ask(*requests), strict=True)


RESERVED = [
    ("PUT", "model/tooltracking"),
    ("DELETE", "model/tooltracking"),
    ("DELETE", "datastore/image?id=frame_0001"),
    ("PUT", "datastore/image?image=x"),
    ("PUT", "datastore/label?image=frame_0001"),
    ("DELETE", "datastore/label?id=frame_0001"),
    ("DELETE", "/datastore/image?id=frame_0001"),
    ("DELETE", "%64atastore/image?id=frame_0001"),
    ("POST", "train/tooltracking"),
    ("DELETE", "train/"),
    ("POST", "scoring/tooltracking_epistemic"),
    ("POST", "batch/infer/tooltracking"),
    ("POST", "reload"),
    ("POST", "infer/../reload"),
    ("POST", "loop/tasks/../../reload"),
    ("POST", "infer/%2e%2e/reload"),
    ("POST", "loop/tasks/..%2f..%2freload"),
    ("GET", "proxy/dicom/x"),
    ("GET", "%70roxy/dicom/x"),
    ("GET", "/proxy/dicom/x"),
    ("POST", "proxy/dicom/x"),
    ("PUT", "session/"),
]


@pytest.mark.parametrize("who", ["ann", "admin"])
def test_what_changes_the_lab_is_for_those_who_may_log_in_to_the_host(
    attacker: Attacker, log_in: Callable[[str], Session], who: str
) -> None:
    for request, answer in asked(attacker, log_in(who), RESERVED):
        assert (answer.status, "reserved" in answer.body) == (403, True), (request, answer)


# What Caddy judges by another path than MONAI Label would be given.
AMBIGUOUS = [
    ("GET", "proxy/dicom/%2e%2e/%2e%2e/info/"),
    ("GET", "proxy/dicom/..%2f..%2finfo/"),
    ("GET", "proxy/dicom/%2E./.%2E/info/"),
    ("GET", "proxy%2Fdicom/..%2F../info/"),
    ("POST", "reload/%2e%2e/infer/x"),
    ("POST", "batch/%2e%2e/loop"),
]


@pytest.mark.parametrize("who", ["ann", "admin"])
def test_nobody_asks_by_a_path_that_can_be_read_in_two_ways(
    attacker: Attacker, log_in: Callable[[str], Session], who: str
) -> None:
    for request, answer in asked(attacker, log_in(who), AMBIGUOUS):
        assert (answer.status, "%2e" in answer.body) == (400, True), (request, answer)


def test_a_question_may_hold_any_code(attacker: Attacker, ann: Session) -> None:
    assert attacker.one("/monailabel/loop?x=..%2f%2e", headers=ann.headers).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_sites_page_cannot_use_a_login(attacker: Attacker, ann: Session, method: str) -> None:
    for origin in ("https://evil.example.org", f"http://{LAB}", f"https://{LAB}.evil.org", "null"):
        answer = attacker.one("/monailabel/loop", method=method, headers={**ann.headers, "Origin": origin})
        assert answer.status == 403
        assert answer.header("access-control-allow-origin") == ""


def test_the_labs_own_pages_may(attacker: Attacker, ann: Session) -> None:
    answer = attacker.one("/monailabel/loop", headers={**ann.headers, "Origin": f"https://{LAB}"})
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == ""


def test_its_own_port_needs_no_login_and_only_the_host_reaches_it(host: Host, attacker: Attacker, known: str) -> None:
    assert host.check_output("ss -Hltn sport = 8000").split()[3] == "127.0.0.1:8000"
    assert known in host.check_output("curl -fsS http://127.0.0.1:8000/info/")
