"""Docker's engine, asked over its socket: a host that is looked at may lack Docker's library, or Docker."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

SOCKET = "/var/run/docker.sock"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over Docker's socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(SOCKET)


def ask_docker(path: str) -> Any:
    """What the engine answers; None where none does."""
    connection = UnixConnection("docker")
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
