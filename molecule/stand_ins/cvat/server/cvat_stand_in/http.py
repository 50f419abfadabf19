"""What the routes share: replies, addresses, bodies, and the database connection of the thread."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from django.conf import settings
from django.db import close_old_connections
from fastapi import Depends
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse

from .access import Caller, caller
from .errors import Refused, invalid
from .replies import Url

Reply = TypeVar("Reply")


class CvatResponse(JSONResponse):
    media_type = "application/vnd.cvat+json"


def database(function: Callable[..., Reply]) -> Callable[..., Reply]:
    """Gives back a connection that is broken or too old, before and after a call, as Django itself does."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Reply:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return wrapped


@database
def known(http: HttpRequest) -> Caller:
    return caller(http)


async def body(http: HttpRequest) -> Any:
    """The JSON that was sent; an empty object where nothing was."""
    content = await http.body()
    if not content or "json" not in http.headers.get("content-type", ""):
        return {}
    try:
        return json.loads(content)
    except ValueError as fault:
        raise Refused(400, {"detail": f"JSON parse error - {fault}"}) from None


def address(http: HttpRequest) -> Url:
    """Makes absolute addresses, from the names that the proxy in front was called by."""
    host = http.headers.get("x-forwarded-host", http.headers.get("host", ""))
    scheme = http.headers.get("x-forwarded-proto", http.url.scheme)
    base = settings.BASE_URL or f"{scheme}://{host}"
    return lambda path: f"{base}{path}"


Known = Annotated[Caller, Depends(known)]
Body = Annotated[Any, Depends(body)]
Address = Annotated[Url, Depends(address)]


def text(given: dict[str, Any], field: str, longest: int) -> str:
    """A required text field."""
    if field not in given:
        raise invalid(field, "This field is required.")
    if len(str(given[field])) > longest:
        raise invalid(field, f"Ensure this field has no more than {longest} characters.")
    return str(given[field])
