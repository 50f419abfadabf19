"""Serves a bundle on loopback, read-only: as a registry what its OCI layout holds, and its other files as they are.

Usage: bundle_server.py PORT DIRECTORY
"""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME = "org.opencontainers.image.ref.name"


def kinds(layout: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Of an OCI layout: the digest of each name, and the media type of each manifest, by its digest."""
    names, types = {}, {}
    waiting = json.loads((layout / "index.json").read_text(encoding="utf-8"))["manifests"]
    while waiting:
        descriptor = waiting.pop()
        types[descriptor["digest"]] = descriptor["mediaType"]
        if NAME in descriptor.get("annotations", {}):
            names[descriptor["annotations"][NAME]] = descriptor["digest"]
        blob = layout / "blobs" / descriptor["digest"].replace(":", "/")
        if blob.is_file():  # of other architectures there is the name alone
            waiting += json.loads(blob.read_text(encoding="utf-8")).get("manifests", [])
    return names, types


class Handler(SimpleHTTPRequestHandler):
    """Answers as a registry below /v2/, and with files elsewhere."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, names: dict[str, str], types: dict[str, str], directory: str) -> None:
        self.names, self.types, self.kind = names, types, ""
        super().__init__(*arguments, directory=directory)

    def send_head(self) -> Any:
        """A file, under whichever name it is asked for, or that there is none."""
        self.kind = ""
        if self.path.rstrip("/") == "/v2":
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if self.path.startswith("/v2/"):
            image, _, reference = self.path.removeprefix("/v2/").rpartition("/")
            image, _, what = image.rpartition("/")
            digest = reference if ":" in reference else self.names.get(f"{image}:{reference}", "")
            self.kind = self.types.get(digest, "") if what == "manifests" else "application/octet-stream"
            if not digest or not self.kind:
                self.send_error(HTTPStatus.NOT_FOUND, "manifest unknown")
                return None
            self.path = f"/images/blobs/{digest.replace(':', '/')}"
        return super().send_head()

    def guess_type(self, path: Any) -> str:
        return self.kind or super().guess_type(path)

    def end_headers(self) -> None:
        if self.kind:
            self.send_header("Docker-Content-Digest", self.path.removeprefix("/images/blobs/").replace("/", ":"))
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)


def serve(port: int, directory: Path) -> ThreadingHTTPServer:
    """A server that listens."""
    names, types = kinds(directory / "images")
    return ThreadingHTTPServer(
        ("127.0.0.1", port), partial(Handler, names=names, types=types, directory=str(directory))
    )


def tell_systemd() -> None:
    """Says that it listens, where somebody waits for that."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect(address.replace("@", "\0", 1))
            notify.send(b"READY=1")


if __name__ == "__main__":
    # Who asks who listens on its port is told that it is this, not some Python.
    Path("/proc/self/comm").write_text("endolab-bundle", encoding="utf-8")
    with serve(int(sys.argv[1]), Path(sys.argv[2])) as server:
        tell_systemd()
        server.serve_forever()
