"""/api/server, /api/auth/rules and what is not served any more."""

from __future__ import annotations

import io
import shutil
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from fastapi import APIRouter
from redis import Redis
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from .errors import Refused
from .http import Address, CvatResponse, Known, database
from .rendering import FORMATS

router = APIRouter()

ABOUT = (
    "Stands in for CVAT in Endolab's tests: its REST contract on a real database, without its pages and its algorithms."
)


@router.get("/api/server/about")
def about(url: Address) -> Any:
    return {
        "name": "Computer Vision Annotation Tool",
        "description": ABOUT,
        "version": settings.VERSION,
        "logo_url": url("/static/logo.svg"),
        "subtitle": "Open Data Annotation Platform",
    }


def ping_queues() -> None:
    Redis(**settings.QUEUES).ping()


def ping_media() -> None:
    Redis(**settings.MEDIA).ping()


def ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def measure_disk() -> None:
    usage = shutil.disk_usage(settings.DATA)
    percent = 100 * (usage.total - usage.free) / usage.total
    if percent >= settings.DISK_USAGE_MAX:
        raise OSError(f"{percent:.1f}% of the disk is used")


def measure_memory() -> None:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    if free < 100 * 1024:
        raise OSError(f"{free // 1024} MiB of memory are free")


def ask_opa() -> None:
    with urllib.request.urlopen(f"{settings.OPA_URL}/health?bundles", timeout=5):
        pass


PARTS: dict[str, Callable[[], None]] = {
    "Cache backend: default": ping_queues,
    "Cache backend: media": ping_media,
    "DatabaseBackend": ask_database,
    "DatabaseBackend[default]": ask_database,
    "DiskUsage": measure_disk,
    "MemoryUsage": measure_memory,
    "OPAHealthCheck": ask_opa,
}


def health() -> dict[str, str]:
    """How each part is: "working", or what is wrong."""
    found = {}
    for name, probe in PARTS.items():
        try:
            probe()
            found[name] = "working"
        except Exception as fault:  # whatever is wrong is the answer
            found[name] = f"unavailable: {fault}"
    return found


@router.get("/api/server/health")
@database
def show_health() -> Any:
    found = health()
    return JSONResponse(found, 200 if set(found.values()) == {"working"} else 500)


@router.get("/api/server/annotation/formats")
@database
def formats(_: Known) -> Any:
    def described(name: str) -> dict[str, Any]:
        kind, version = name.rsplit(" ", 1)
        return {"name": kind + " " + version, "ext": "ZIP", "version": version, "enabled": True, "dimension": "2d"}

    return {"importers": [], "exporters": [described(name) for name in FORMATS]}


@router.get("/api/auth/rules")
def rules() -> Response:
    """The bundle that OPA polls; the stand-in decides by itself, so it holds no rule."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        content = b"package cvat\n"
        member = tarfile.TarInfo("cvat.rego")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return Response(out.getvalue(), media_type="application/x-tar")


def no_nuclio(path: str) -> CvatResponse:
    why = (
        f"HTTPConnectionPool(host='nuclio', port=8070): Max retries exceeded with url: /api/functions{path} (Caused by"
        " NewConnectionError(\"HTTPConnection(host='nuclio', port=8070): Failed to establish a new connection:"
        ' [Errno 111] Connection refused"))'
    )
    return CvatResponse(why, 503)


@router.get("/api/lambda/functions")
@database
def functions(_: Known) -> Any:
    return no_nuclio("")


@router.get("/api/lambda/requests")
@database
def list_calls(_: Known) -> Any:
    return []


@router.post("/api/lambda/requests")
async def call_function(http: HttpRequest, _: Known) -> Any:
    return no_nuclio(f"/{(await http.json()).get('function', '')}")


def gone() -> Refused:
    return Refused(410, "<h1>Gone</h1><p>This endpoint is no longer supported.</p>", html=True)
