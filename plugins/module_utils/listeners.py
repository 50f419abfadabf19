"""Who listens on a host, of the tables in /proc."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.endolab.active_learning.plugins.module_utils.docker_socket import ask_docker
from ansible_collections.endolab.active_learning.plugins.module_utils.text import read

LISTEN = "0A"  # a socket's state in /proc/net/tcp


def address(field: str) -> tuple[str, int]:
    """Address and port in a field of /proc/net/tcp or tcp6, whose 32-bit words have the host's byte order."""
    words, port = field.split(":")
    packed = b"".join(bytes.fromhex(words[i : i + 8])[::-1] for i in range(0, len(words), 8))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed), int(port, 16)


def container_of(process: Path) -> str | None:
    """The id of the container that a process runs in, of its directory in /proc."""
    ids = re.findall(r"[/-]([0-9a-f]{64})", read(process / "cgroup"))
    return ids[-1] if ids else None


def owners(inodes: set[str]) -> dict[str, tuple[str, str | None]]:
    """For each socket's inode the name of its process, and the id of the container that this runs in."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        for inode in sockets_of(process) & inodes:
            found[inode] = (read(process / "comm").strip(), container_of(process))
    return found


def sockets_of(process: Path) -> set[str]:
    """The inodes of a process's sockets; none where it has ended meanwhile."""
    found = set()
    with contextlib.suppress(OSError):
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # one that is closed meanwhile
                found.add(str(link.readlink()))
    return {target[len("socket:[") : -1] for target in found if target.startswith("socket:[")}


def containers() -> tuple[dict[str, str], dict[int, str]]:
    """The names of the running containers by their ids, and by the ports that they publish."""
    by_id, by_port = {}, {}
    for container in ask_docker("/containers/json") or []:
        name = by_id[container["Id"]] = container["Names"][0].lstrip("/")
        by_port.update({port["PublicPort"]: name for port in container["Ports"] if "PublicPort" in port})
    return by_id, by_port


def listeners(wanted: Callable[[int], bool] = lambda port: True) -> list[dict[str, Any]]:
    """Who listens on which port at which address; a container's published port is held by a process of Docker's."""
    sockets = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in read(table).splitlines()[1:]:
            fields = line.split()
            where, port = address(fields[1])
            if fields[3] == LISTEN and wanted(port):
                sockets.append((port, where, fields[9]))
    processes = owners({inode for _, _, inode in sockets}) if sockets else {}
    by_id, by_port = containers() if sockets else ({}, {})
    found = []
    for port, where, inode in sockets:
        process, container = processes.get(inode, ("an unknown process", None))
        name = by_id.get(container, container) if container else by_port.get(port)
        found.append({"port": port, "address": where, "process": process, "container": name})
    return found
