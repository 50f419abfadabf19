"""A small internet on loopback: a registry with an image, and files that come in pieces."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bundle_server
import pytest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"  # Docker's kind, which must stay what it is
NAME = "org.opencontainers.image.ref.name"


class Layout:
    """An OCI layout that images are put into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index: list[dict[str, Any]] = []

    def blob(self, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        path = self.root / "images" / "blobs" / "sha256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def manifest(self, config: bytes, *layers: bytes) -> dict[str, Any]:
        body = {"mediaType": MANIFEST, "config": self.blob(config), "layers": [self.blob(layer) for layer in layers]}
        return {"mediaType": MANIFEST, **self.blob(json.dumps(body).encode())}

    def image(self, name: str, descriptor: dict[str, Any]) -> str:
        """Gives a manifest or an index its name; returns its digest."""
        self.index.append({**descriptor, "annotations": {NAME: name}})
        (self.root / "images" / "index.json").write_text(json.dumps({"manifests": self.index}), encoding="utf-8")
        return str(descriptor["digest"])

    def several(self, **manifests: dict[str, Any]) -> dict[str, Any]:
        """An index of manifests by their architectures."""
        entries = [
            {**manifest, "platform": {"os": "linux", "architecture": architecture}}
            for architecture, manifest in manifests.items()
        ]
        return {"mediaType": INDEX, **self.blob(json.dumps({"mediaType": INDEX, "manifests": entries}).encode())}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The registry's own; `postgres:15` for two architectures, and `cvat/ui:v2`, which shares a layer with it."""
    layout = Layout(tmp_path / "registry")
    amd64 = layout.manifest(b"config of amd64", b"common layer", b"layer of amd64")
    layout.image(
        "postgres:15", layout.several(amd64=amd64, arm64=layout.manifest(b"config of arm64", b"layer of arm64"))
    )
    layout.image("cvat/ui:v2", layout.manifest(b"config of ui", b"common layer", b"layer of ui"))
    return layout


@contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[str]:
    """The server's address, while it runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def registry(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address; the server of bundles is one."""
    monkeypatch.setattr(bundle_server.Handler, "log_message", lambda *_: None)
    with served(bundle_server.serve(0, layout.root)) as address:
        yield address


class Guarded(bundle_server.Handler):
    """A registry that wants a token, each of which is good for so many requests."""

    good_for: int
    left: dict[str, int]
    basic: list[str | None]

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            self.basic.append(self.headers.get("Authorization"))
            token = f"token-{len(self.basic)}"
            self.left[token] = self.good_for
            body = json.dumps({"token": token}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif self.let_in():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self.let_in():
            super().do_HEAD()

    def let_in(self) -> bool:
        self.kind = ""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.left.get(token, 0) > 0:
            self.left[token] -= 1
            return True
        self.send_response(401)
        realm = f"http://{self.headers['Host']}/token"
        self.send_header("Www-Authenticate", f'Bearer realm="{realm}",service="registry",scope="repository:x:pull"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def guarded(layout: Layout) -> Iterator[Callable[[int], tuple[str, list[str | None]]]]:
    """Serves the registry's images to who has a token; returns its address, and what each token was asked for with."""
    with ExitStack() as stack:

        def start(good_for: int) -> tuple[str, list[str | None]]:
            basic: list[str | None] = []
            handler = type("Handler", (Guarded,), {"good_for": good_for, "left": {}, "basic": basic})
            names, types = bundle_server.kinds(layout.root / "images")
            serve = partial(handler, names=names, types=types, directory=str(layout.root))
            return stack.enter_context(served(ThreadingHTTPServer(("127.0.0.1", 0), serve))), basic

        yield start


class Pieces(BaseHTTPRequestHandler):
    """Gives of each file no more than so many bytes at a time."""

    files: dict[str, bytes]
    piece: int
    ranges: bool
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range", ""))
        data = self.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        begin = int(self.headers["Range"][6:-1]) if self.ranges and self.headers.get("Range") else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin : begin + self.piece])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def pieces() -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """Serves files in pieces; returns the address, and the list of the ranges that are asked for."""
    with ExitStack() as stack:

        def start(files: dict[str, bytes], piece: int = 1 << 30, ranges: bool = True) -> tuple[str, list[str]]:
            asked: list[str] = []
            handler = type("Handler", (Pieces,), {"files": files, "piece": piece, "ranges": ranges, "asked": asked})
            address = stack.enter_context(served(ThreadingHTTPServer(("127.0.0.1", 0), handler)))
            return f"http://{address}", asked

        yield start
