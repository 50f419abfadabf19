"""What the attacking host does: it runs there, on Python's own library, and says what came of it as JSON.

Usage: python3 attack.py scan HOST FIRST LAST | python3 attack.py ask REQUESTS
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import sys
from typing import Any

AT_ONCE = 500
PATIENCE = 2.0  # seconds for a port that says nothing; in one network an answer takes a thousandth


async def scan(host: str, first: int, last: int) -> list[int]:
    """The TCP ports, from the first to the last, on which something answers."""
    free = asyncio.Semaphore(AT_ONCE)

    async def knock(port: int) -> int | None:
        async with free:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), PATIENCE)
            except (OSError, asyncio.TimeoutError):
                return None
            writer.close()
            return port

    return [port for port in await asyncio.gather(*map(knock, range(first, last + 1))) if port is not None]


def context(request: dict[str, Any]) -> ssl.SSLContext:
    """TLS as the request wants it: `authority` (PEM) to trust, else nobody is asked for; `versions`; `ciphers`."""
    made = ssl.create_default_context(cadata=request.get("authority"))
    if "authority" not in request:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if "ciphers" in request:
        # This side must not be the one that refuses.
        made.set_ciphers(request["ciphers"] + ":@SECLEVEL=0")
    if "versions" in request:
        low, high = (ssl.TLSVersion[name] for name in request["versions"])
        made.minimum_version, made.maximum_version = low, high
    return made


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """One request as it stands, with nothing made right; its answer, or the `error` that there was instead."""
    host, port = request["host"], request.get("port", 443)
    try:
        with socket.create_connection((host, port), 30) as plain:
            name = request.get("server_name", host)
            peer = context(request).wrap_socket(plain, server_hostname=name) if request.get("tls", True) else plain
            body = request.get("body", "").encode()
            headers = {
                "Host": host,
                "Connection": "close",
                "Content-Length": str(len(body)),
                **request.get("headers", {}),
            }
            lines = [f"{request.get('method', 'GET')} {request['target']} HTTP/1.1"]
            lines += [f"{key}: {value}" for key, value in headers.items() if value is not None]
            peer.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            answer = http.client.HTTPResponse(peer, method=request.get("method", "GET"))
            answer.begin()
            return {
                "status": answer.status,
                "headers": [[key.lower(), value] for key, value in answer.getheaders()],
                "body": answer.read().decode("utf-8", "replace"),
                "tls": peer.version() if isinstance(peer, ssl.SSLSocket) else None,
            }
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "headers": [], "body": "", "error": str(error)}


if __name__ == "__main__":
    result: Any
    if sys.argv[1] == "scan":
        result = asyncio.run(scan(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        result = [ask(request) for request in json.loads(sys.argv[2])]
    json.dump(result, sys.stdout)
