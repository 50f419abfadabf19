"""How far a work is that takes minutes: a line every few seconds, with bytes and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from rich import filesize
from rich.progress import Progress as Samples

PERIOD = 5.0  # seconds between two lines


class Progress:
    """Of one work: what it is, how many bytes it has, and who hears the lines."""

    def __init__(self, work: str, total: int, say: Callable[[str], object], period: float = PERIOD) -> None:
        self.work, self.say, self.period = work, say, period
        # Only its arithmetic: nothing is drawn, as what runs below Ansible has no terminal.
        self.samples = Samples(speed_estimate_period=60)
        self.samples.add_task(work, total=total)
        (self.task,) = self.samples.tasks
        self.said = time.monotonic()

    def advance(self, size: int) -> None:
        """So many bytes more are done."""
        self.samples.advance(self.task.id, size)
        if time.monotonic() - self.said >= self.period:
            self.said = time.monotonic()
            self.say(self.line())

    def line(self) -> str:
        """Such as "Fetching images: 3.2 GB of 21.4 GB, 0:04:10 left"."""
        total = int(self.task.total or 0)
        done = f"{self.work}: {filesize.decimal(int(self.task.completed))} of {filesize.decimal(total)}"
        left = self.task.time_remaining
        return done if left is None else f"{done}, {timedelta(seconds=int(left))} left"
