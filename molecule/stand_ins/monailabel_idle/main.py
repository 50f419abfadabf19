"""Stands in for MONAI Label's server with Endolab's app, on a host whose loop has nothing to do.

It takes the arguments of the real one, answers /info/ and /loop, and keeps the loop's status beside the frames, by
which the app's health check judges. It has no model, scores nothing, and never asks CVAT.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Seconds from one look at CVAT to the next, as the app has it unless told otherwise.
INTERVAL = 60

INFO = {"name": "idle", "models": {"tooltracking": {}}}


def status() -> dict[str, Any]:
    """What the loop says of itself when each frame has been labelled."""
    now = datetime.now(timezone.utc).isoformat()
    return {"phase": "waiting for frames", "interval": INTERVAL, "alive_at": now, "polled_at": now, "error": None}


def write_status(studies: Path) -> None:
    path = studies / "loop" / "status.json"
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(status()), encoding="utf-8")
    new.replace(path)


def idle(studies: Path) -> None:
    while True:
        write_status(studies)
        time.sleep(INTERVAL)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = {"/info/": INFO, "/loop": {**status(), "healthy": True, "ailment": None}}.get(self.path)
        body = json.dumps(found).encode()
        self.send_response(200 if found else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="monailabel.main")
    start = parser.add_subparsers(required=True).add_parser("start_server")
    start.add_argument("--app", required=True)
    start.add_argument("--studies", type=Path, required=True)
    start.add_argument("--conf", nargs=2, action="append")
    start.add_argument("--host", default="0.0.0.0")
    start.add_argument("--port", type=int, default=8000)
    return parser.parse_args(words)


def main() -> None:
    given = arguments(sys.argv[1:])
    threading.Thread(target=idle, args=(given.studies,), daemon=True).start()
    ThreadingHTTPServer((given.host, given.port), Answer).serve_forever()


if __name__ == "__main__":
    main()
