"""The GPUs that the container sees, as nvidia-smi, which comes with the driver, knows them."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Seconds until the driver is asked again, and that it may take to answer.
FRESH = 15
TIMEOUT = 5

MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """A GPU; used and total: bytes of its memory, None where the driver does not say."""

    index: str
    name: str
    used: int | None
    total: int | None


def given(devices: Path = Path("/dev")) -> int:
    """How many GPUs the container was started with."""
    return len(list(devices.glob("nvidia[0-9]*")))


def read() -> list[Gpu]:
    """The GPUs that work now."""
    command = ["nvidia-smi", "--query-gpu=index,name,memory.used,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    # A driver may put a warning between the lines.
    lines = [line.split(", ") for line in said.splitlines() if line.count(", ") == 3]
    return [Gpu(index, name, _bytes(used), _bytes(total)) for index, name, used, total in lines]


class Fresh:
    """What `ask` has answered, FRESH seconds old at most, so that nobody who looks often keeps the driver busy.

    While it does not answer, there is nothing after TIMEOUT, and it is not asked again: a program that waits for a
    driver that hangs may be one that cannot be killed.
    """

    def __init__(self, ask: Callable[[], list[Gpu]] = read) -> None:
        self._ask = ask
        self._answer: list[Gpu] = []
        self._until = 0.0
        self._asking = threading.Lock()

    def __call__(self) -> list[Gpu]:
        if time.monotonic() >= self._until and self._asking.acquire(blocking=False):
            asked = threading.Thread(target=self._look, daemon=True)
            asked.start()
            asked.join(TIMEOUT)
            if asked.is_alive():
                self._answer = []
        return self._answer

    def _look(self) -> None:
        try:
            self._answer, self._until = self._ask(), time.monotonic() + FRESH
        finally:
            self._asking.release()


def _bytes(text: str) -> int | None:
    number, _, unit = text.partition(" ")
    return int(number) * MIB if unit == "MiB" else None
