"""Makes ports on the loopback of a container visible on the loopback of this machine.

Usage: relay.py CONTAINER_ID PORT... It needs the machine's network and process list, CAP_SYS_ADMIN and CAP_SYS_PTRACE.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
CHUNK = 65536
READY = Path("/run/relay-ready")


def network_of(container: str) -> Path:
    """The network namespace of the running container with this full id; a restart gives it another.

    Raises ConnectionRefusedError where it does not run.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if container not in (process / "cgroup").read_text():
                continue
            status = (process / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # Process 1 of exactly one namespace below this one: not of a container inside the container.
        numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        if len(numbers) == 2 and numbers[1] == "1":
            return process / "ns" / "net"
    raise ConnectionRefusedError(f"container {container[:12]} does not run")


async def connect(container: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection made on the loopback of `container`. Raises OSError where nothing answers there."""
    descriptor = os.open(network_of(container), os.O_RDONLY)
    try:
        # A socket stays in the namespace that it was made in, so the listening ones are not moved by this.
        os.setns(descriptor, os.CLONE_NEWNET)  # type: ignore[attr-defined] # its image has Python 3.13
    finally:
        os.close(descriptor)
    connection = socket.socket()
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (LOOPBACK, port))
    except OSError:
        connection.close()
        raise
    return await asyncio.open_connection(sock=connection)


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copies until the end of `source`, and hands that end on."""
    try:
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()
    except OSError:
        target.close()


async def listen(container: str, port: int) -> asyncio.Server:
    """Relays one port from now on. Raises OSError where another program has it."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await connect(container, port)
        except OSError as error:
            print(f"port {port}: {error}", file=sys.stderr)
            writer.close()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        far_writer.close()
        writer.close()

    return await asyncio.start_server(relay, LOOPBACK, port)


async def main(container: str, ports: list[int]) -> None:
    """Relays all `ports`, and writes READY once it does."""
    READY.unlink(missing_ok=True)
    servers = [await listen(container, port) for port in ports]
    READY.touch()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], [int(port) for port in sys.argv[2:]]))
    except OSError as error:
        sys.exit(str(error))
