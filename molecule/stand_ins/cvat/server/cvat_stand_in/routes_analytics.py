"""/api/events, and /analytics, which says whom the proxy may let through to Grafana."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from . import events
from .errors import forbidden, invalid
from .http import Body, CvatResponse, Known, database

router = APIRouter()


@router.post("/api/events")
@database
def take(by: Known, given: Body) -> Any:
    if "events" not in given:
        raise invalid("events", "This field is required.")
    try:
        rows = [events.row(event, by, "client") for event in given["events"]]
    except (KeyError, TypeError, ValueError) as fault:
        raise invalid("events", f"An event is not valid: {fault}") from None
    events.send(rows)
    return CvatResponse(given, 201)


@router.get("/analytics")
@router.get("/analytics/{page:path}")
@database
def may_look(by: Known) -> Response:
    if not by.user.is_superuser:
        raise forbidden()
    return Response()
