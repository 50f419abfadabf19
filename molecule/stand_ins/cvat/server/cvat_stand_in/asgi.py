"""The HTTP side: what every call has in common, and the routes of the other modules."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import anyio.to_thread
import django
from django.conf import settings
from fastapi import FastAPI
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cvat_stand_in.settings")
django.setup()

from . import (  # noqa: E402 (they need Django's models)
    routes_accounts,
    routes_analytics,
    routes_organizations,
    routes_server,
    routes_tasks,
)
from .errors import Refused  # noqa: E402
from .http import CvatResponse  # noqa: E402

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
THREADS = 16  # each has a database connection of its own


async def lifespan(_: FastAPI):  # type: ignore[no-untyped-def]
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


app = FastAPI(openapi_url=None, redirect_slashes=False, default_response_class=CvatResponse, lifespan=lifespan)
ROUTERS = [module.router for module in (routes_server, routes_accounts, routes_organizations, routes_tasks)]
if settings.ANALYTICS:
    ROUTERS.append(routes_analytics.router)
for router in ROUTERS:
    app.include_router(router)


def allowed(http: HttpRequest) -> list[str]:
    """The methods of the call's path, as the real server lists them; none for a path that it does not have."""
    routes = [route for router in ROUTERS for route in router.routes if route.matches(http.scope)[0] != Match.NONE]
    if not routes:
        return []
    # The plainest path wins: /api/users/self also looks like the user of a number.
    path = min((route.path for route in routes), key=lambda path: (path.count("{"), -len(path)))
    found = {method for route in routes if route.path == path for method in route.methods}
    listed = [method for method in METHODS if method in found]
    return [*listed, *(["HEAD"] if found & {"GET", "HEAD"} else []), "OPTIONS"]


@app.exception_handler(Refused)
async def refuse(_: HttpRequest, why: Refused) -> Response:
    if why.html:
        return HTMLResponse(why.body, why.status)
    headers = {"www-authenticate": "Token"} if why.status == 401 else {}
    return CvatResponse(why.body, why.status, headers)


@app.middleware("http")
async def frame(http: HttpRequest, go_on: Callable[[HttpRequest], Awaitable[Response]]) -> Response:
    """Accepts paths with and without a slash at their end, and adds the headers that every reply has."""
    path = http.scope["path"]
    if len(path) > 1 and path.endswith("/"):
        http.scope["path"] = path.rstrip("/")
    methods = allowed(http)
    if not methods:
        why = "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>"
        return HTMLResponse(why, 404, {"x-frame-options": "DENY"})
    reply: Response
    if http.method == "OPTIONS":
        reply = CvatResponse({})
    elif http.method not in methods:
        reply = CvatResponse({"detail": f'Method "{http.method}" not allowed.'}, 405)
    else:
        reply = await go_on(http)
    if "content-disposition" not in reply.headers:
        reply.headers["x-frame-options"] = "DENY"
        if path.rstrip("/") != "/api/server/health":
            reply.headers["allow"] = ", ".join(methods)
    return reply
