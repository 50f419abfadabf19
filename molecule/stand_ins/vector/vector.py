#!/usr/bin/env python3
"""Stands in for Vector: one source of type http_server, one sink of type clickhouse, and the API's health."""

from __future__ import annotations

import base64
import json
import signal
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import tomllib

CONFIGURATION = Path("/etc/vector/vector.toml")
TIMEOUT = 10


class Sink:
    """The table in ClickHouse that a sink's settings name."""

    def __init__(self, settings: dict[str, Any]) -> None:
        query = f'INSERT INTO "{settings["database"]}"."{settings["table"]}" FORMAT JSONEachRow'
        skip = int(settings.get("skip_unknown_fields", False))
        parameters = urlencode({"query": query, "input_format_skip_unknown_fields": skip})
        self.url = f"{settings['endpoint'].rstrip('/')}/?{parameters}"
        self.headers = {}
        if "auth" in settings:
            login = f"{settings['auth']['user']}:{settings['auth']['password']}"
            self.headers["authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"

    def insert(self, events: list[dict[str, Any]]) -> None:
        """Raises OSError where ClickHouse cannot be reached or refuses."""
        rows = "\n".join(map(json.dumps, events)).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url, rows, self.headers), timeout=TIMEOUT):
            pass


class Handler(BaseHTTPRequestHandler):
    def answer(self, status: int, text: str = "") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Health(Handler):
    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, '{"ok":true}')
        else:
            self.answer(404)


class Source(Handler):
    sink: Sink

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/":
            self.answer(404)
            return
        try:
            events = objects(content)
        except ValueError as fault:
            self.answer(400, str(fault))
            return
        try:
            self.sink.insert(events)
        except OSError as fault:
            why = fault.read().decode() if isinstance(fault, urllib.error.HTTPError) else str(fault)
            print(f"ClickHouse did not take {len(events)} events: {why.strip()}", file=sys.stderr, flush=True)
            self.answer(503)
            return
        self.answer(200)


def objects(content: bytes) -> list[dict[str, Any]]:
    """The events of a body: an object, or a list of objects.

    Raises ValueError for any other body.
    """
    found = json.loads(content)
    events = found if isinstance(found, list) else [found]
    if not all(isinstance(event, dict) for event in events):
        raise ValueError("an event is a JSON object")
    return events


def server(address: str, handler: type[Handler]) -> ThreadingHTTPServer:
    host, _, port = address.rpartition(":")
    return ThreadingHTTPServer((host, int(port)), handler)


def of_type(parts: dict[str, dict[str, Any]], wanted: str) -> dict[str, Any]:
    """The settings of the part that has this type."""
    return next(settings for settings in parts.values() if settings["type"] == wanted)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))
    Source.sink = Sink(of_type(settings["sinks"], "clickhouse"))
    if settings.get("api", {}).get("enabled"):
        health = server(settings["api"]["address"], Health)
        threading.Thread(target=health.serve_forever, daemon=True).start()
    server(of_type(settings["sources"], "http_server")["address"], Source).serve_forever()


if __name__ == "__main__":
    main()
