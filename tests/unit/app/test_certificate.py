"""Until when the certificate counts by which CVAT is reached."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from endolab_loop import certificate
from endolab_loop.certificate import Watched

from tests.certificates import over_tls


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with a certificate of 30 days that is trusted here."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(over_tls(server, tmp_path, "127.0.0.1")))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_its_days_are_seen(url: str) -> None:
    found = Watched(url)()
    assert found
    assert (found.ends - time.time()) / 86400 == pytest.approx(30, abs=0.1)
    assert (time.time() - found.begins) / 86400 == pytest.approx(1, abs=0.1)


def test_one_that_is_not_trusted_is_none(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with caplog.at_level(logging.WARNING):
        assert Watched(url)() is None
    assert "cannot be seen" in caplog.text


def test_what_was_seen_counts_while_cvat_is_away_and_is_not_asked_for_each_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(url)
    seen = watched()
    asked = list[str]()

    def away(address: str) -> None:
        asked.append(address)
        raise OSError

    monkeypatch.setattr(certificate, "validity", away)
    assert watched() == seen
    assert not asked
    later = time.monotonic() + certificate.FRESH
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert (watched(), watched()) == (seen, seen)
    assert len(asked) == 1
    later += 60
    assert watched() == seen
    assert len(asked) == 2, "it may be back in a minute"


def test_a_name_that_cannot_be_asked_for_shows_none() -> None:
    assert Watched(f"https://{'a' * 64}.example")() is None


def test_on_loopback_there_is_none() -> None:
    assert Watched("http://127.0.0.1:8080")() is None
