"""Files from the network, on from where an earlier run was broken off, and in their place only when they are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError, digest

ATTEMPTS = 5  # at one file, each of which goes on where the one before was cut off
TIMEOUT = 60  # seconds without a byte
PIECE = 1 << 16  # bytes, of which one that is cut off is lost

Tell = Callable[[int], object]
# Asks a server with these headers; what it answers is read as it comes.
Ask = Callable[[dict[str, str]], requests.Response]


def plain(url: str) -> Ask:
    """Asks a server that wants no login."""
    return lambda headers: requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)


@dataclass(frozen=True)
class Wanted:
    """A file of the bundle: where it comes to lie, who has it, its size in bytes, and its sum, such as `sha256:…`."""

    path: Path
    origin: str
    ask: Ask
    size: int
    sum: str

    @property
    def partial(self) -> Path:
        """Where it lies until it is whole."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def missing(self) -> int:
        """How many bytes have to come still."""
        if self.path.exists():
            return 0
        return self.size - (self.partial.stat().st_size if self.partial.exists() else 0)

    def right(self, path: Path, tell: Tell = lambda _: None) -> bool:
        """Whether what lies at `path` is this file."""
        algorithm, _, expected = self.sum.partition(":")
        return path.is_file() and path.stat().st_size == self.size and digest(path, algorithm, tell) == expected


def fetch(wanted: Wanted, tell: Tell) -> None:
    """Brings a file to its place, where it is not there yet; `tell` hears of each byte once.

    Raises BundleError where the server does not give it, or gives another.
    """
    if wanted.right(wanted.path):
        tell(wanted.size)
        return
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    partial = wanted.partial
    done = partial.stat().st_size if partial.exists() else 0
    tell(min(done, wanted.size))
    fault = ""
    for _ in range(ATTEMPTS):
        if done >= wanted.size:
            break
        try:
            done = _append(wanted, partial, done, tell)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            done = partial.stat().st_size if partial.exists() else 0
            fault = f" ({error})"
    else:
        if done < wanted.size:
            raise BundleError(
                f"{wanted.origin} was cut off {ATTEMPTS} times{fault}. Run this again: it goes on from there."
            )
    if not wanted.right(partial):
        partial.unlink()
        raise BundleError(
            f"{wanted.origin} is not what it should be: {wanted.size} bytes with the sum {wanted.sum} were expected."
            " What came was thrown away. Run this again; where that does not help, somebody has changed it."
        )
    partial.rename(wanted.path)


def _append(wanted: Wanted, partial: Path, done: int, tell: Tell) -> int:
    """Asks for what is missing, and returns how much is there then."""
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={done}-"} if done else {})}
    with wanted.ask(headers) as answer:
        if not answer.ok:
            raise BundleError(f"{wanted.origin} cannot be fetched: {answer.status_code} {answer.reason}.")
        if answer.status_code != requests.codes.partial_content:
            tell(-done)  # from its beginning, as this server knows no other way
            done = 0
        with partial.open("ab" if done else "wb") as file:
            for block in answer.iter_content(PIECE):
                file.write(block)
                tell(len(block))
        return partial.stat().st_size
