#!/usr/bin/env python3
"""Stands in for OPA: `run --server` fetches a bundle and is healthy once it has it; `eval --fail` asks an address."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

LOADED = threading.Event()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        healthy = path == "/health" and ("bundles" not in query or LOADED.is_set())
        self.send_response(200 if healthy else 500 if path == "/health" else 404)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}\n")

    def log_message(self, *_: object) -> None:
        pass


def poll(url: str, seconds: float) -> None:
    """Fetches the bundle again and again; healthy since the first one that is whole."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                tarfile.open(fileobj=BytesIO(reply.read()), mode="r:gz").close()
            LOADED.set()
        except (OSError, tarfile.TarError) as fault:
            print(f"bundle at {url}: {fault}", file=sys.stderr, flush=True)
        threading.Event().wait(seconds)


def serve(address: str, settings: dict[str, str]) -> None:
    name = next(key.split(".")[1] for key in settings if re.fullmatch(r"bundles\.\w+\.resource", key))
    service = settings[f"bundles.{name}.service"]
    url = settings[f"services.{service}.url"] + settings[f"bundles.{name}.resource"]
    seconds = float(settings[f"bundles.{name}.polling.min_delay_seconds"])
    threading.Thread(target=poll, args=(url, seconds), daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", int(address.rpartition(":")[2])), Answer).serve_forever()


def evaluate(query: str) -> int:
    """Exit status of the one form of query that health checks use: an address, and the status that it must answer."""
    found = re.search(r'"url": "([^"]+)".*status_code == (\d+)', query)
    if not found:
        print(f"this stand-in does not understand the query {query}", file=sys.stderr)
        return 2
    try:
        with urllib.request.urlopen(found[1], timeout=5) as reply:
            status = reply.status
    except urllib.error.HTTPError as fault:
        status = fault.code
    except OSError as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0 if status == int(found[2]) else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="opa")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--server", action="store_true")
    run.add_argument("--addr", default=":8181")
    run.add_argument("--log-level")
    run.add_argument("--set", action="append", default=[])
    evaluation = commands.add_parser("eval")
    evaluation.add_argument("--fail", action="store_true")
    evaluation.add_argument("query")
    given = parser.parse_args()
    if given.command == "eval":
        return evaluate(given.query)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(given.addr, dict(setting.split("=", 1) for setting in given.set))
    return 0


if __name__ == "__main__":
    sys.exit(main())
