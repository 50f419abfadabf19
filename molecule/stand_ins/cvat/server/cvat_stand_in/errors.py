"""Refusals, worded as the real server words them."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """A reply other than success: its status, and its body (JSON, or HTML where the real server says so)."""

    def __init__(self, status: int, body: Any, html: bool = False) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.html = html


def forbidden() -> Refused:
    return Refused(403, {"detail": "You do not have permission to perform this action."})


def missing(kind: str) -> Refused:
    return Refused(404, {"detail": f"No {kind} matches the given query."})


def invalid(field: str, *why: str) -> Refused:
    return Refused(400, {field: list(why)})
