#!/usr/bin/env python3
"""Stands in for Grafana: the titles of its dashboards, and the events that its ClickHouse data source finds."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

PROVISIONING = Path(os.environ["GF_PATHS_PROVISIONING"])
QUERY = "SELECT scope, count() AS events FROM events GROUP BY scope ORDER BY scope FORMAT JSON"
TIMEOUT = 10


def provisioned(kind: str) -> Iterator[dict[str, Any]]:
    """The items of that kind in the provisioning files: `datasources`, or the `providers` of dashboards."""
    folder = PROVISIONING / ("dashboards" if kind == "providers" else kind)
    for file in sorted(folder.glob("*.y*ml")):
        yield from yaml.safe_load(file.read_text(encoding="utf-8"))[kind]


def titles() -> list[str]:
    """What the dashboards are called."""
    folders = [Path(provider["options"]["path"]) for provider in provisioned("providers")]
    files = sorted(file for folder in folders for file in folder.rglob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8"))["title"] for file in files]


def resolved(value: str) -> str:
    """The value, with what it names as $__file{…} in its place."""
    return re.sub(r"\$__file\{(.+?)\}", lambda found: Path(found[1]).read_text(encoding="utf-8").strip(), value)


def scopes() -> list[tuple[str, int]]:
    """How many events of each scope ClickHouse has.

    Raises OSError where it cannot be reached or refuses.
    """
    source = next(item for item in provisioned("datasources") if item["type"] == "grafana-clickhouse-datasource")
    settings = source["jsonData"]
    login = f"{settings['username']}:{resolved(source['secureJsonData']['password'])}"
    parameters = urlencode({"query": QUERY, "database": settings["defaultDatabase"]})
    call = urllib.request.Request(
        f"{settings['protocol']}://{settings['host']}:{settings['port']}/?{parameters}",
        headers={"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"},
    )
    with urllib.request.urlopen(call, timeout=TIMEOUT) as reply:
        return [(row["scope"], int(row["events"])) for row in json.load(reply)["data"]]


def page() -> tuple[int, str]:
    """Status and text of the one page."""
    lines = [f"dashboard: {title}" for title in titles()]
    try:
        lines += [f"events of {scope}: {number}" for scope, number in scopes()]
    except OSError as fault:
        why = fault.read().decode() if isinstance(fault, urllib.error.HTTPError) else str(fault)
        return 502, "\n".join([*lines, f"ClickHouse: {why.strip()}", ""])
    return 200, "\n".join([*lines, ""])


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/health":
            self.answer(200, '{"database": "ok", "version": "10.1.2"}', "application/json")
        elif path != "/":
            self.answer(404, "not found\n")
        elif os.environ.get("GF_AUTH_ANONYMOUS_ENABLED") != "true":
            self.answer(401, "nobody is let in without a login\n")
        else:
            self.answer(*page())

    def answer(self, status: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("0.0.0.0", 3000), Answer).serve_forever()
