"""Lists as the real server gives them: filtered, newest first (labels: oldest first), in pages of ten."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from starlette.requests import Request as HttpRequest

from .errors import Refused
from .replies import Url

PAGE_SIZE = 10
PAGE_SIZE_MAX = 500

# What `search` looks at and what may be filtered by, for each model.
FIELDS: dict[str, dict[str, str]] = {
    "Project": {"id": "id", "name": "name", "owner": "owner__username", "assignee": "assignee__username"},
    "Task": {
        "id": "id",
        "name": "name",
        "project_id": "project_id",
        "project_name": "project__name",
        "subset": "subset",
        "owner": "owner__username",
        "assignee": "assignee__username",
    },
    "Job": {
        "id": "id",
        "task_id": "task_id",
        "task_name": "task__name",
        "project_id": "task__project_id",
        "state": "state",
        "stage": "stage",
        "assignee": "assignee__username",
    },
    "User": {"id": "id", "username": "username", "is_active": "is_active"},
    "Organization": {"id": "id", "slug": "slug", "name": "name", "owner": "owner__username"},
    "Label": {"id": "id", "name": "name"},
    "Membership": {"id": "id", "role": "role", "user": "user__username"},
    "AccessToken": {"id": "id", "name": "name"},
}
SEARCHED = {"name", "slug", "username", "owner", "assignee", "task_name", "project_name", "subset"}


def condition(rule: Any, fields: dict[str, str]) -> Q:
    """A Django condition for a JSON-logic rule of the operators that CVAT's clients use."""
    ((operator, operands),) = rule.items()
    if operator in ("and", "or"):
        result = Q()
        for operand in operands:
            result = result & condition(operand, fields) if operator == "and" else result | condition(operand, fields)
        return result
    if operator == "!":
        return ~condition(operands[0] if isinstance(operands, list) else operands, fields)
    if operator == "in":  # a text in a field, or a field in a list
        left, right = operands
        if isinstance(right, dict):
            return Q(**{f"{fields[right['var']]}__icontains": left})
        return Q(**{f"{fields[left['var']]}__in": right})
    lookup = {"==": "", "<": "__lt", "<=": "__lte", ">": "__gt", ">=": "__gte"}[operator]
    return Q(**{f"{fields[operands[0]['var']]}{lookup}": operands[1]})


def filtered(items: QuerySet[Any], query: dict[str, str]) -> QuerySet[Any]:
    """The items that the call's `filter`, `search` and plain filters leave, in the order of its `sort`."""
    fields = FIELDS[items.model.__name__]
    for name, path in fields.items():
        if name in query:
            items = items.filter(**{path: query[name]})
    if query.get("search"):
        wanted = Q()
        for name in SEARCHED & set(fields):
            wanted |= Q(**{f"{fields[name]}__icontains": query["search"]})
        items = items.filter(wanted)
    if query.get("filter"):
        try:
            items = items.filter(condition(json.loads(query["filter"]), fields))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Refused(400, ["Invalid filter"]) from None
    sort = query.get("sort", "id" if items.model.__name__ == "Label" else "-id")
    name = sort.lstrip("-")
    return items.order_by(("-" if sort.startswith("-") else "") + fields.get(name, "id"))


def page(http: HttpRequest, url: Url, items: QuerySet[Any], write: Callable[[Any, Url], Any]) -> dict[str, Any]:
    """One page of the items, as the real server writes it."""
    query = dict(http.query_params)
    items = filtered(items, query)
    count = items.count()
    try:
        number, size = int(query.get("page", 1)), min(int(query.get("page_size", PAGE_SIZE)), PAGE_SIZE_MAX)
    except ValueError:
        number, size = 0, PAGE_SIZE
    last = max(1, -(-count // size))
    if not 1 <= number <= last:
        raise Refused(404, {"detail": "Invalid page."})

    def link(target: int) -> str | None:
        if not 1 <= target <= last:
            return None
        rest = {key: value for key, value in query.items() if key != "page"}
        text = urlencode(rest | ({"page": str(target)} if target > 1 else {}))
        return url(http.url.path.rstrip("/")) + (f"?{text}" if text else "")

    shown = items[(number - 1) * size : number * size]
    return {
        "count": count,
        "next": link(number + 1),
        "previous": link(number - 1),
        "results": [write(item, url) for item in shown],
    }
