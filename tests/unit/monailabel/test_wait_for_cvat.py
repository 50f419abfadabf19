"""wait_for_cvat.py says once what keeps CVAT away, and returns when CVAT knows the account."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.certificates import over_tls

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "monailabel" / "files" / "wait_for_cvat.py"
LOGIN = "Basic " + base64.b64encode("lab:gehäuse".encode("latin-1")).decode()


class Cvat(HTTPServer):
    """Answers /api/users/self with the `answers` in turn, then as CVAT does: 200 to LOGIN, 401 to others."""

    answers: list[int]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers = []


class Answer(BaseHTTPRequestHandler):
    server: Cvat

    def do_GET(self) -> None:
        code = 200 if self.path == "/api/users/self" and self.headers["Authorization"] == LOGIN else 401
        self.send_response(self.server.answers.pop(0) if self.server.answers else code)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cvat() -> Iterator[Cvat]:
    with serving(Cvat()) as server:
        yield server


@contextlib.contextmanager
def serving(server: Cvat) -> Iterator[Cvat]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def start(url: str, password: str = "gehäuse", **environment: str) -> subprocess.Popen[str]:
    """The script, in a container whose CVAT is at `url`."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        env={
            **os.environ,
            "MONAI_LABEL_DATASTORE_URL": url,
            "MONAI_LABEL_DATASTORE_USERNAME": "lab",
            "MONAI_LABEL_DATASTORE_PASSWORD": password,
            "WAIT_INTERVAL_SECONDS": "0.1",
            **environment,
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_cvat_that_knows_the_account_ends_the_wait(cvat: Cvat) -> None:
    _, said = start(f"http://127.0.0.1:{cvat.server_port}").communicate(timeout=20)
    assert said == f"CVAT at http://127.0.0.1:{cvat.server_port} knows user 'lab'\n"


def test_each_obstacle_is_said_once(cvat: Cvat) -> None:
    url = f"http://127.0.0.1:{cvat.server_port}"
    cvat.answers = [502, 502, 502, 401, 401]
    _, said = start(url).communicate(timeout=20)
    assert said.splitlines() == [
        f"waiting: CVAT at {url} answers 502 Bad Gateway",
        f"waiting: CVAT at {url} refuses user 'lab': mend the vaulted password and run site.yml again",
        f"CVAT at {url} knows user 'lab'",
    ]


def test_a_wrong_password_keeps_it_waiting(cvat: Cvat) -> None:
    waiting = start(f"http://127.0.0.1:{cvat.server_port}", password="wrong")
    assert waiting.stderr is not None
    assert "refuses user 'lab'" in waiting.stderr.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=1)
    waiting.kill()
    waiting.communicate()


def test_a_cvat_is_trusted_by_the_authority_that_the_container_has(tmp_path: Path) -> None:
    server = Cvat()
    authority = over_tls(server, tmp_path, "127.0.0.1")
    url = f"https://127.0.0.1:{server.server_port}"
    with serving(server):
        _, said = start(url, SSL_CERT_FILE=str(authority)).communicate(timeout=20)
        assert said == f"CVAT at {url} knows user 'lab'\n"
        waiting = start(url)
        assert waiting.stderr is not None
        assert "is not there yet (<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED]" in waiting.stderr.readline()
        waiting.kill()
        waiting.communicate()


def test_a_cvat_that_is_not_there_is_waited_for() -> None:
    server = HTTPServer(("127.0.0.1", 0), Answer)  # takes a free port, and leaves it
    server.server_close()
    waiting = start(f"http://127.0.0.1:{server.server_port}")
    assert waiting.stderr is not None
    assert "is not there yet" in waiting.stderr.readline()
    assert waiting.poll() is None
    waiting.kill()
    waiting.communicate()
