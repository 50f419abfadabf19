"""The module image_digests: what the engine has pulled, and what registries have."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any, ClassVar

import pytest
from ansible_collections.endolab.active_learning.plugins.module_utils import docker_socket
from ansible_collections.endolab.active_learning.plugins.modules import image_digests

Run = Callable[..., dict[str, Any]]

A, B = "sha256:" + 64 * "a", "sha256:" + 64 * "b"
PULLED = {"RepoDigests": [f"elsewhere.lab/caddy@{B}", f"registry.lab/caddy@{A}"]}
ANSWERS: dict[str, tuple[int, Any]] = {
    "/version": (200, {"ApiVersion": "1.41", "Version": "28.5.2"}),
    "/images/registry.lab/caddy:2/json": (200, PULLED),
    "/images/elsewhere.lab/caddy:2/json": (200, PULLED),
    "/images/registry.lab/built:1/json": (200, {"RepoDigests": []}),
    "/distribution/registry.lab/caddy:2/json": (200, {"Descriptor": {"digest": B}}),
    f"/distribution/registry.lab/caddy@{A}/json": (200, {"Descriptor": {"digest": A}}),
}
MISSING = (404, {"message": "manifest unknown"})


class Engine(BaseHTTPRequestHandler):
    """As much of Docker's engine as is asked here; it remembers with which credentials."""

    credentials: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        path = self.path.removeprefix("/v1.41").replace("%3A", ":").replace("%40", "@")
        if path.startswith("/distribution"):
            self.credentials.append(self.headers["X-Registry-Auth"])
        status, answer = ANSWERS.get(path, MISSING)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "the socket"

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Engine]]:
    """An engine that answers on a socket, for one with no credentials yet."""
    place = str(tmp_path / "docker.sock")
    for module in (docker_socket, image_digests):
        monkeypatch.setattr(module, "SOCKET", place)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(Engine, "credentials", [])
    with ThreadingUnixStreamServer(place, Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield Engine
        server.shutdown()


def test_what_is_pulled_has_the_digest_of_its_own_registry(run: Run, engine: type[Engine]) -> None:
    names = ["registry.lab/caddy:2", "elsewhere.lab/caddy:2", "registry.lab/built:1", "registry.lab/nothing:1"]
    done = run(image_digests, names=names)
    assert done["digests"] == {"registry.lab/caddy:2": A, "elsewhere.lab/caddy:2": B}
    assert done["manageable"] is True
    assert done["changed"] is False
    assert engine.credentials == []


def test_a_registry_says_what_it_has_now_and_whether_it_has_a_digest(run: Run, engine: type[Engine]) -> None:
    names = ["registry.lab/caddy:2", f"registry.lab/caddy@{A}"]
    assert run(image_digests, names=names, source="registry")["digests"] == dict(zip(names, [B, A], strict=True))
    assert engine.credentials == [None, None]


def test_a_registry_is_asked_with_the_credentials_of_the_host(run: Run, engine: type[Engine], tmp_path: Path) -> None:
    config = {"auths": {"registry.lab": {"auth": "YW5uOnNlY3JldA=="}}}  # ann:secret
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = run(image_digests, names=["registry.lab/caddy:2"], source="registry")
    assert done["digests"] == {"registry.lab/caddy:2": B}
    assert engine.credentials != [None]
    assert "secret" not in json.dumps(done)


def test_all_that_cannot_be_had_is_named(run: Run, engine: type[Engine]) -> None:
    names = ["registry.lab/one:1", "registry.lab/caddy:2", f"registry.lab/two@{B}"]
    done = run(image_digests, names=names, source="registry")
    assert done["failed"] is True
    assert done["msg"] == (
        f"These images cannot be had: registry.lab/one:1 (manifest unknown), registry.lab/two@{B} (manifest unknown)."
    )


def test_without_an_engine_nothing_is_pulled_and_no_registry_is_asked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_socket, "SOCKET", str(tmp_path / "none.sock"))
    done = run(image_digests, names=["caddy:2"])
    assert (done["manageable"], done["digests"]) == (False, {})
    done = run(image_digests, names=["caddy:2"], source="registry")
    assert done["failed"] is True
    assert "so that no registry can be asked" in done["msg"]
