"""Healthy means that the loop is alive."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from endolab_loop import health

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)


def status(**changes: Any) -> dict[str, Any]:
    before = (NOW - timedelta(seconds=5)).isoformat()
    return {"phase": "annotating", "interval": 60, "alive_at": before, "polled_at": before, "error": None, **changes}


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"polled_at": ago(239)},
        {"alive_at": ago(239)},
        {"phase": "scoring", "polled_at": ago(9000)},
        {"phase": "training", "polled_at": None},
    ],
)
def test_a_loop_that_shows_itself_and_sees_cvat_or_works_is_alive(changes: dict[str, Any]) -> None:
    assert health.ailment(status(**changes), NOW) is None


def test_a_thread_that_is_gone_is_seen_in_every_phase() -> None:
    for phase in ("annotating", "training", "retrying"):
        assert "has not shown itself" in (health.ailment(status(phase=phase, alive_at=ago(241)), NOW) or "")


def test_a_clock_that_was_set_back_hides_no_thread_that_is_gone() -> None:
    assert "has not shown itself" in (health.ailment(status(alive_at=ago(-86400)), NOW) or "")


def test_a_cvat_that_is_away_for_long_is_said_with_what_to_do() -> None:
    error = {"what": "CVAT does not answer", "remedy": "start it"}
    assert health.ailment(status(polled_at=ago(241), error=error), NOW) == "CVAT does not answer: start it"


def test_a_loop_that_has_never_seen_cvat_is_not_yet_well() -> None:
    assert health.ailment(status(polled_at=None), NOW) == "the loop has not seen CVAT yet: wait"


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/loop" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def check(studies: Path, url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, health.__file__, str(studies), url]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_check_reads_the_file_and_asks_the_server(tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir()
    file = tmp_path / health.STATUS
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert "no status yet" in check(tmp_path, url).stderr
        now = datetime.now(timezone.utc).isoformat()
        file.write_text(json.dumps(status(alive_at=now, polled_at=now)))
        done = check(tmp_path, url)
        assert (done.returncode, done.stdout) == (0, "annotating\n")
        file.write_text(json.dumps(status(alive_at=ago(99999), polled_at=now)))
        done = check(tmp_path, url)
        assert done.returncode == 1
        assert "has not shown itself" in done.stderr
        server.shutdown()
    file.write_text(json.dumps(status(alive_at=now, polled_at=now)))
    assert check(tmp_path, url).returncode == 1
