"""What happens on the server, told to Vector, which hands it on to ClickHouse."""

from __future__ import annotations

import json
import logging
import urllib.request
from datetime import datetime, timezone
from typing import Any

from django.conf import settings

from .access import Caller
from .models import Project, Task

LOG = logging.getLogger(__name__)
TIMEOUT = 2
# A DateTime of ClickHouse, in the one form that every version reads.
DATE = "%Y-%m-%d %H:%M:%S"

# The table of events, with types that ClickHouse has had since 2018.
COLUMNS = {
    "scope": "String",
    "obj_name": "Nullable(String)",
    "obj_id": "Nullable(UInt64)",
    "obj_val": "Nullable(String)",
    "source": "String",
    "timestamp": "DateTime('UTC')",
    "count": "Nullable(UInt16)",
    "duration": "UInt32",
    "project_id": "Nullable(UInt64)",
    "task_id": "Nullable(UInt64)",
    "job_id": "Nullable(UInt64)",
    "user_id": "Nullable(UInt64)",
    "user_name": "Nullable(String)",
    "user_email": "Nullable(String)",
    "org_id": "Nullable(UInt64)",
    "org_slug": "Nullable(String)",
    "payload": "Nullable(String)",
}


def row(event: dict[str, Any], by: Caller, source: str) -> dict[str, Any]:
    """The event as a row of the table, with its time in UTC and whose it is."""
    filled = {
        **event,
        "source": source,
        "timestamp": datetime.fromisoformat(event["timestamp"]).astimezone(timezone.utc).strftime(DATE),
        "user_id": by.user.id,
        "user_name": by.user.username,
        "user_email": by.user.email,
    }
    if isinstance(event.get("payload"), (dict, list)):
        filled["payload"] = json.dumps(event["payload"])
    return {name: value for name, value in filled.items() if name in COLUMNS and value is not None}


def send(rows: list[dict[str, Any]]) -> None:
    """Sends rows to Vector; one that is away costs a line in the log, and never a user's call."""
    call = urllib.request.Request(settings.LOG_SERVER, json.dumps(rows).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(call, timeout=TIMEOUT):
            pass
    except OSError as fault:
        LOG.warning("%d events are lost: %s", len(rows), fault)


def created(item: Project | Task, by: Caller) -> None:
    """Tells of a new project or task, where events are kept."""
    if not settings.ANALYTICS:
        return
    kind = type(item).__name__.lower()
    organization = item.organization
    event = {
        "scope": f"create:{kind}",
        "obj_name": item.name,
        "obj_id": item.id,
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "project_id": item.project_id if isinstance(item, Task) else item.id,
        "task_id": item.id if isinstance(item, Task) else None,
        "org_id": organization.id if organization else None,
        "org_slug": organization.slug if organization else None,
    }
    send([row(event, by, "server")])
