"""The loop on one page, for people: what it does, what it has asked for and why, what it has learnt, what is wrong.

GET /loop/page                       the page, which needs no JavaScript
GET /loop/frames/{frame}/picture     a frame of the batch, small
GET /loop/frames/{frame}/heat        where on it the model was unsure

A request reads small files; it asks neither the model nor CVAT.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from fastapi import Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from . import gpus, health, history, room
from .gpus import Gpu
from .loop import Lab, Loop
from .pictures import SHOWN

TEMPLATE = Path(__file__).with_suffix(".html")


def add_page(server: Any, loop: Loop, lab: Lab, gpus_now: Callable[[], list[Gpu]]) -> None:
    """Adds the page to the FastAPI application `server`; `lab` is not the loop's own, which runs in another thread."""

    def page(request: Request) -> HTMLResponse:
        # Behind the edge CVAT is found at the same address, and the one that the loop has is of the host's loopback.
        there = "" if "x-forwarded-host" in request.headers and _is_loopback(loop.cvat.url) else loop.cvat.url
        html = _template().render(view(loop, lab, gpus_now(), datetime.now(timezone.utc)), cvat=there)
        return HTMLResponse(html, headers={"Content-Security-Policy": policy(), "Cache-Control": "no-store"})

    def picture(frame: str) -> Response:
        return _file(frame, loop.pictures.thumbnail)

    def heat(frame: str) -> Response:
        return _file(frame, loop.pictures.heat_map)

    def _file(frame: str, where: Callable[[str], Path]) -> Response:
        batch = history.last(loop.directory)
        if not (batch and frame in batch.chosen and where(frame).is_file()):
            return Response(status_code=404)
        return FileResponse(where(frame), headers={"Cache-Control": "private, no-cache"})

    for path, answer, summary in (
        ("/loop/page", page, "What the loop does, for people"),
        ("/loop/frames/{frame}/picture", picture, "A frame of the batch, small"),
        ("/loop/frames/{frame}/heat", heat, "Where on a frame of the batch the model was unsure"),
    ):
        server.add_api_route(path, answer, methods=["GET"], summary=summary, tags=["Loop"], response_class=Response)


def view(loop: Loop, lab: Lab, gpus_now: list[Gpu], at: datetime) -> dict[str, Any]:
    """What the page shows."""
    status, known = dict(loop.status), lab.frames()
    turns, trainings = history.iterations(loop.directory), history.trainings(loop.directory)
    batch = turns[-1] if turns else None
    places = {turn.number: place for place, turn in enumerate(turns)}
    models: dict[str, list[tuple[int, float]]] = {}
    for record in trainings:
        value, place = history.reached(record), places.get(int(record["iteration"]))
        if value is not None and place is not None:
            models.setdefault(record["model"], []).append((place, value))
    return {
        "at": at,
        "project": loop.conf.cvat_project,
        "status": status,
        "ailment": health.ailment(status, at),
        "turns": [
            {
                "place": place,
                "number": turn.number,
                "at": turn.at,
                "asked": len(turn.chosen),
                "labelled": sum(frame in known and known[frame].labelled for frame in turn.chosen),
                "trainings": [record for record in trainings if int(record["iteration"]) == turn.number],
            }
            for place, turn in enumerate(turns)
        ],
        "models": models,
        "metrics": sorted({record["metric"] for record in trainings if record["metric"]}),
        "batch": batch,
        "shown": [
            {
                "name": frame,
                "rank": rank,
                "score": score,
                "picture": loop.pictures.thumbnail(frame).is_file(),
                "heat": loop.pictures.heat_map(frame).is_file(),
            }
            for rank, (frame, score) in enumerate(list(batch.chosen.items() if batch else ())[:SHOWN], start=1)
        ],
        "gpus": gpus_now,
        "gpus_gone": gpus.given() - len(gpus_now),
        "disks": room.left(loop.written),
    }


@cache
def policy() -> str:
    """The page's Content-Security-Policy: its own style and pictures, and nothing else."""
    style = re.search(r"<style>(.*?)</style>", TEMPLATE.read_text(encoding="utf-8"), re.DOTALL)
    assert style, "the template has a style"
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"{nothing}; img-src 'self'; style-src 'sha256-{digest}'"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"reached": history.reached, "ago": ago}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def ago(moment: str, at: datetime) -> str:
    """How long before `at` that was, in its largest unit."""
    seconds = int((at - datetime.fromisoformat(moment)).total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost")
