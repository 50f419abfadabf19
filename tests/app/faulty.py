"""A proxy in front of CVAT that breaks calls in the ways in which networks, servers and other proxies do."""

from __future__ import annotations

import contextlib
import enum
import http.client
import select
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

When = Callable[[str, str], bool]

# Headers of one hop, which the proxy makes itself.
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Fault(enum.Enum):
    """What happens to a call."""

    REFUSED = enum.auto()  # the connection is closed before an answer
    HANG = enum.auto()  # no answer comes
    RESET = enum.auto()  # the connection is reset in the middle of the answer
    AFTER = enum.auto()  # CVAT has done it, and its answer is lost
    ERROR_500 = enum.auto()
    UNAVAILABLE_503 = enum.auto()
    UNAUTHORISED = enum.auto()  # a session that has ended
    NOT_CVAT = enum.auto()  # another server says 404
    GARBAGE = enum.auto()  # another server says something


def always(_method: str, _path: str) -> bool:
    return True


class Faulty:
    """The proxy as a context manager; `url` is where it answers, `requests` what it has been asked."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault | None = None
        self.when: When = always
        self.healed = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.faulty = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Faulty:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.heal()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def break_with(self, fault: Fault, when: When = always) -> None:
        """From now on calls for which `when` (method, path) holds meet `fault`."""
        self.healed.clear()
        self.fault, self.when = fault, when

    def heal(self) -> None:
        """Passes every call on again; hung calls end."""
        self.fault = None
        self.healed.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for them
    faulty: Faulty

    def __init__(self, *arguments: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Ends the connections that clients keep for their next call."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            # Clients leave in the middle of things here, and CVAT may be down.
            self.close_connection = True

    def pass_on(self) -> None:
        faulty = self.server.faulty
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        faulty.requests.append((self.command, self.path))
        fault = faulty.fault if faulty.fault and faulty.when(self.command, self.path) else None
        if fault is Fault.HANG:
            self._hang(faulty.healed)
        if fault in (Fault.HANG, Fault.REFUSED):
            self._drop()
        elif fault is Fault.ERROR_500:
            self._say(500, b"<h1>Server Error (500)</h1>", "text/html")
        elif fault is Fault.UNAVAILABLE_503:
            self._say(503, b"<h1>Service Unavailable</h1>", "text/html")
        elif fault is Fault.UNAUTHORISED:
            self._say(401, b'{"detail":"Authentication credentials were not provided."}', "application/vnd.cvat+json")
        elif fault is Fault.NOT_CVAT:
            self._say(404, b"<h1>Not Found</h1>", "text/html")
        elif fault is Fault.GARBAGE:
            self._say(200, b"<h1>It works!</h1>", "text/html")
        else:
            self._ask(faulty.target, content, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = pass_on

    def _ask(self, target: str, content: bytes, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection(target, timeout=60)
        # The client's own Host, so that the addresses in an answer lead back through the proxy.
        connection.request(self.command, self.path, body=content or None, headers=dict(self.headers.items()))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if fault is Fault.AFTER:
            self._drop()
            return
        self.send_response_only(answer.status)  # Date and Server are CVAT's own
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("content-length", str(len(body) + (fault is Fault.RESET)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if fault is Fault.RESET:
            self.wfile.flush()
            self._drop(reset=True)

    def _say(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang(self, healed: threading.Event) -> None:
        """Until this is healed or the client has left."""
        while not healed.wait(0.05):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def _drop(self, reset: bool = False) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            with contextlib.suppress(OSError):  # the client may have been faster
                self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass
