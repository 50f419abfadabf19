"""The module cvat_users."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.endolab.active_learning.plugins.modules import cvat_users

Run = Callable[..., dict[str, Any]]

PASSWORDS = {"admin": "First1Of2Them3", "monailabel": "Second4Of5Them6", "second": "Third7Of8Them9"}
LOGINS = [{"username": name, "password": password} for name, password in PASSWORDS.items()]


@pytest.fixture
def cvat(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a CVAT answers that lets in who is of PASSWORDS, and tells of one user a page."""
    monkeypatch.setattr(cvat_users, "USERS_A_PAGE", 1)

    class Cvat(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, login = self.headers.get("Authorization", "").partition(" ")
            name, _, password = base64.b64decode(login).decode().partition(":")
            allowed = kind == "Basic" and PASSWORDS.get(name) == password
            page = int(parse_qs(urlsplit(self.path).query).get("page", ["1"])[0])
            users = [{"id": number, "username": each} for number, each in enumerate(PASSWORDS)]
            several = {"next": "another" if page < len(users) else None, "results": users[page - 1 : page]}
            body = json.dumps({"username": name} if self.path == "/api/users/self" else several).encode()
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Cvat) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_all_users_are_told_also_those_of_later_pages(cvat: str, run: Run) -> None:
    said = run(cvat_users, url=cvat, logins=LOGINS, check=True)
    assert [user["username"] for user in said["users"]] == list(PASSWORDS)
    assert said["refused"] == []
    assert not said["changed"]


def test_no_proxy_of_the_hosts_learns_passwords(cvat: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert run(cvat_users, url=cvat, logins=LOGINS)["refused"] == []


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_whoever_is_not_let_in_is_named(cvat: str, run: Run, wrong: int) -> None:
    logins = [{**login, "password": "Wrong0"} if at == wrong else login for at, login in enumerate(LOGINS)]
    said = run(cvat_users, url=cvat, logins=logins)
    assert said["refused"] == [LOGINS[wrong]["username"]]
    assert bool(said["users"]) == (wrong != 0)


def test_a_cvat_that_cannot_be_reached_lets_nobody_in(run: Run) -> None:
    said = run(cvat_users, url="http://127.0.0.1:9", logins=LOGINS)
    assert (said["users"], said["refused"]) == ([], list(PASSWORDS))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\n<"])
def test_nor_does_one_that_is_just_restarting(run: Run, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            for _ in LOGINS:
                peer, _ = server.accept()
                peer.recv(1 << 16)
                peer.sendall(answer)
                peer.close()

        threading.Thread(target=hang_up, daemon=True).start()
        said = run(cvat_users, url=f"http://127.0.0.1:{server.getsockname()[1]}", logins=LOGINS)
    assert (said["users"], said["refused"]) == ([], list(PASSWORDS))


def test_no_password_is_said(cvat: str, run: Run) -> None:
    said = str(run(cvat_users, url=cvat, logins=LOGINS))
    assert not [password for password in PASSWORDS.values() if password in said]
