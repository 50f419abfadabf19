"""Until when the certificate counts by which CVAT is reached."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

# Seconds until CVAT is asked for its certificate again, also where it has shown none, and that it may take.
FRESH = 3600
AGAIN = 60
TIMEOUT = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validity:
    """When a certificate begins and ends to count, in seconds of the Unix time."""

    begins: float
    ends: float


def validity(url: str) -> Validity:
    """That of the certificate shown at `url`; raises OSError where nobody shows one that is trusted, or ValueError."""
    address = urlsplit(url)
    assert address.hostname, "pydantic has let it in"
    with (
        socket.create_connection((address.hostname, address.port or 443), timeout=TIMEOUT) as connection,
        ssl.create_default_context().wrap_socket(connection, server_hostname=address.hostname) as shown,
    ):
        certificate = shown.getpeercert()
    assert certificate, "it has been verified"
    begins, ends = (ssl.cert_time_to_seconds(str(certificate[each])) for each in ("notBefore", "notAfter"))
    return Validity(begins, ends)


class Watched:
    """The certificate at `url`, seen FRESH seconds ago at most, or the last that could be seen."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: Validity | None = None
        self._until = 0.0

    def __call__(self) -> Validity | None:
        """None where there is none to see, as on a host's own loopback."""
        if self._url.startswith("https://") and time.monotonic() >= self._until:
            self._until = time.monotonic() + AGAIN
            try:
                self._seen = validity(self._url)
                self._until = time.monotonic() + FRESH
            except (OSError, ValueError) as error:
                logger.warning("the certificate of %s cannot be seen: %s", self._url, error)
        return self._seen
