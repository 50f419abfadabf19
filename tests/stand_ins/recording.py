"""Recorded exchanges with a real CVAT, and how a live reply differs from a recorded one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "recordings" / "cvat-2.73.0"

# In the order in which they were made: each builds on what those before it left behind.
SUBJECTS = (
    "server",
    "auth",
    "register",
    "sdk_project",
    "sdk_task",
    "sdk_annotate",
    "sdk_complete",
    "sdk_export",
    "multipart_upload",
    "paging",
    "errors",
    "users",
    "cleanup",
    "tokens",
    "password",
    "organization",
    "session_cookie",
)

HEADERS = ("allow", "content-disposition", "content-type", "location", "www-authenticate", "x-frame-options")
UNFINISHED = ("queued", "started")

# Secrets are new each time, and the description is CVAT's own text.
TEXT_ONLY = {"key", "value", "invitation", "description"}
# What an unfinished request shows depends on the moment at which it is asked for.
OF_THE_MOMENT = {"status", "message", "started_date", "finished_date", "expiry_date", "result_url"}

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
STAMP = re.compile(r"\d{4}(_\d\d){5}")
BYTES = re.compile(r"<\d+ bytes>")


@dataclass(frozen=True)
class Reply:
    """What a server answered: the status, the recorded selection of headers, and the body (bytes where not JSON)."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Exchange:
    """One recorded call with its reply; `number` is its place in the recording of the subject."""

    subject: str
    number: int
    request: dict[str, Any]
    reply: Reply

    def __str__(self) -> str:
        return f"{self.subject}-{self.number:02} {self.request['method']} {self.request['path'][:60]}"

    @property
    def unfinished(self) -> bool:
        """Whether the reply shows background work that goes on."""
        return self.polled and self.reply.body["status"] in UNFINISHED

    @property
    def polled(self) -> bool:
        """Whether the call asks how background work is going."""
        return self.reply.status == 200 and str(self.request["path"]).startswith("/api/requests/")


def recorded() -> Iterator[Exchange]:
    """Every exchange, in order."""
    for subject in SUBJECTS:
        exchanges = json.loads((FOLDER / f"{subject}.json").read_text(encoding="utf-8"))
        for number, exchange in enumerate(exchanges):
            yield Exchange(subject, number, exchange["request"], Reply(**exchange["response"]))


def differences(exchange: Exchange, live: Reply) -> list[str]:
    """Where the live reply is not what was recorded; one line each, none where it is."""
    reply = exchange.reply
    found = [] if reply.status == live.status else [f"status: {reply.status} recorded, {live.status} live"]
    found += _compare("headers", _selected(reply.headers), _selected(live.headers))
    ignored = OF_THE_MOMENT if exchange.unfinished else set()
    return found + _compare("body", _without(ignored, reply.body), _without(ignored, live.body))


def _selected(headers: dict[str, str]) -> dict[str, str]:
    return {name: STAMP.sub("STAMP", headers[name]) for name in HEADERS if name in headers}


def _without(names: set[str], body: Any) -> Any:
    return {key: value for key, value in body.items() if key not in names} if isinstance(body, dict) else body


def _compare(where: str, recorded: Any, live: Any) -> list[str]:
    """Compares JSON recursively; 1 and 1.0 differ, as they do for a strict client."""
    if isinstance(recorded, dict) and isinstance(live, dict):
        lines = [f"{where}.{key}: missing" for key in recorded.keys() - live.keys()]
        lines += [f"{where}.{key}: not recorded" for key in live.keys() - recorded.keys()]
        for key in recorded.keys() & live.keys():
            lines += _compare(f"{where}.{key}", recorded[key], live[key])
        return lines
    if isinstance(recorded, list) and isinstance(live, list):
        lines = [] if len(recorded) == len(live) else [f"{where}: {len(recorded)} items recorded, {len(live)} live"]
        for index, (one, other) in enumerate(zip(recorded, live, strict=False)):
            lines += _compare(f"{where}[{index}]", one, other)
        return lines
    return (
        [] if _alike(where.rpartition(".")[2], recorded, live) else [f"{where}: {recorded!r} recorded, {live!r} live"]
    )


def _alike(key: str, recorded: Any, live: Any) -> bool:
    if isinstance(recorded, str) and BYTES.fullmatch(recorded):
        return isinstance(live, bytes) and len(live) > 0
    if type(recorded) is not type(live):
        return False
    if isinstance(recorded, str):
        if DATE.fullmatch(recorded):
            return DATE.fullmatch(live) is not None
        if key in TEXT_ONLY:
            return bool(recorded) == bool(live)
    return bool(recorded == live)
