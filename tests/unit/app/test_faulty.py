"""The proxy that breaks calls breaks them as it says, and is no more than a proxy otherwise."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.app.faulty import Fault, Faulty

ANSWERS = {
    Fault.ERROR_500: (500, "text/html"),
    Fault.UNAVAILABLE_503: (503, "text/html"),
    Fault.UNAUTHORISED: (401, "application/vnd.cvat+json"),
    Fault.NOT_CVAT: (404, "text/html"),
    Fault.GARBAGE: (200, "text/html"),
}
BREAKS = {
    Fault.REFUSED: "closed connection without response",
    Fault.AFTER: "closed connection without response",
    Fault.RESET: "reset by peer",
    Fault.HANG: "timed out",
}


class _Handler(BaseHTTPRequestHandler):
    """Says what it has been asked."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.done.append((self.command, self.path, body))  # type: ignore[attr-defined]
        said = f"{self.headers['host']} {self.headers['x-asked']}".encode()
        self.send_response(201 if self.command == "POST" else 200)
        self.send_header("content-length", str(len(said)))
        for cookie in ("csrftoken=1", "sessionid=2"):
            self.send_header("set-cookie", cookie)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, *_: Any) -> None:
        pass


class Target(ThreadingHTTPServer):
    """What stands behind the proxy; `done` is what it has been asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.done: list[tuple[str, str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(target: Target) -> Iterator[Faulty]:
    with Faulty(target.url) as proxy:
        yield proxy


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False  # no proxy of this machine stands between
        yield session


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE"])
def test_a_call_is_passed_on_as_it_is(proxy: Faulty, target: Target, client: requests.Session, method: str) -> None:
    path = "/api/tasks?a=1&b=%20%2F"
    answer = client.request(method, proxy.url + path, data=b"\0body", headers={"x-asked": "this"}, timeout=10)
    assert target.done == [(method, path, b"\0body")]
    assert proxy.requests == [(method, path)]
    assert answer.status_code == (201 if method == "POST" else 200)
    assert answer.text == ("" if method == "HEAD" else f"{proxy.url.removeprefix('http://')} this")
    assert answer.cookies.get_dict() == {"csrftoken": "1", "sessionid": "2"}
    assert answer.headers["date"].count("GMT") == 1


def test_every_fault_is_tested() -> None:
    assert {*ANSWERS, *BREAKS} == set(Fault)


@pytest.mark.parametrize("fault", ANSWERS, ids=lambda fault: fault.name.lower())
def test_an_answer_of_another(proxy: Faulty, target: Target, client: requests.Session, fault: Fault) -> None:
    proxy.break_with(fault)
    answer = client.post(f"{proxy.url}/api/tasks", data=b"body", timeout=10)
    assert (answer.status_code, answer.headers["content-type"]) == ANSWERS[fault]
    assert answer.content
    assert target.done == []


@pytest.mark.parametrize("fault", BREAKS, ids=lambda fault: fault.name.lower())
def test_no_answer(proxy: Faulty, target: Target, client: requests.Session, fault: Fault) -> None:
    proxy.break_with(fault)
    with pytest.raises(requests.RequestException, match=BREAKS[fault]):
        client.post(f"{proxy.url}/api/tasks", data=b"body", timeout=0.3 if fault is Fault.HANG else 10)
    # Of what is lost only after CVAT has heard it, CVAT has done all.
    assert len(target.done) == (fault in (Fault.AFTER, Fault.RESET))


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_client_goes_on_where_it_is_healed(proxy: Faulty, client: requests.Session, fault: Fault) -> None:
    proxy.break_with(fault, lambda method, path: method == "GET" and path == "/broken")
    assert client.get(f"{proxy.url}/whole", timeout=10).ok
    assert client.post(f"{proxy.url}/broken", timeout=10).ok
    try:
        broken = client.get(f"{proxy.url}/broken", timeout=0.3).headers["content-type"]
    except requests.RequestException:
        broken = "no answer"
    assert broken in ("no answer", *dict(ANSWERS.values()).values())
    proxy.heal()
    assert client.get(f"{proxy.url}/broken", timeout=10).ok


def test_hung_calls_end_when_it_is_healed(proxy: Faulty) -> None:
    proxy.break_with(Fault.HANG)
    with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: cvat\r\n\r\n")
        assert within(5, lambda: bool(proxy.requests))
        proxy.heal()
        assert connection.recv(1) == b""


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_nothing_is_left_running(target: Target, client: requests.Session, fault: Fault) -> None:
    """Though the client keeps its connection, and another waits for an answer."""
    before = set(threading.enumerate())
    with Faulty(target.url) as proxy:
        assert client.get(proxy.url, timeout=10).ok
        proxy.break_with(fault)
        waiting = socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=10)
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: cvat\r\n\r\n")
        assert within(5, lambda: len(proxy.requests) == 2)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    waiting.close()
    assert within(5, lambda: set(threading.enumerate()) <= before)  # the target's own take a moment
    with pytest.raises(requests.ConnectionError):
        client.get(proxy.url, timeout=10)


def test_a_hung_call_ends_when_its_client_leaves(proxy: Faulty) -> None:
    proxy.break_with(Fault.HANG)
    before = threading.active_count()
    with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: cvat\r\n\r\n")
        assert within(5, lambda: bool(proxy.requests))
        assert threading.active_count() == before + 1
    assert within(5, lambda: threading.active_count() == before)


def test_a_target_that_is_down_is_no_answer(client: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    with Faulty(address) as proxy, pytest.raises(requests.ConnectionError, match="without response"):
        client.get(proxy.url, timeout=10)
