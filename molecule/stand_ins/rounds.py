"""Lets a bot answer the demo's tasks, and shows how the loop goes round."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from annotator import Annotator
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

PROJECT = "MONAILabel"

# Seconds in which something must change; a training on two cores takes less than one minute of them.
PATIENCE = 600

# Seconds from one look at the loop to the next.
BEAT = 1.0

Status = dict[str, Any]


class StuckError(Exception):
    """The loop does not move; says what it shows."""


class Board:
    """What is seen live: an iteration a row, and below what the loop does just now."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.answered: dict[int, int] = {}
        self.trained: dict[int, Status] = {}

    def show(self, status: Status) -> None:
        self.trained.update({record["iteration"]: record for record in status["training"]})
        table = Table("iteration", "frames", "Dice on validation frames", "weights", box=None, padding=(0, 2))
        for iteration, frames in self.answered.items():
            table.add_row(str(iteration), str(frames), *outcome(self.trained.get(iteration)))
        self.live.update(Group(table, Spinner("dots", f" {self.doing(status)}")))

    @staticmethod
    def doing(status: Status) -> str:
        """What the loop does, or what is wrong and what to do."""
        if status["error"]:
            return f"{status['error']['what']}: {status['error']['remedy']}"
        counts = status["frames"]
        frames = f"{counts.get('labelled', 0)} of {counts.get('total', 0)} frames labelled"
        return f"iteration {status['iteration']}: {status['phase']}, {frames}"


def outcome(record: Status | None) -> tuple[str, str]:
    """What is told of a training."""
    if record is None:
        return "", ""
    if record["after"] is None or record["before"] is None:
        return "", record["why"]
    return f"{record['before']:.3f} → {record['after']:.3f}", "new" if record["promoted"] else "kept: not better"


def go_round(
    turns: int, loop: Callable[[], Status], poll: Callable[[], None], annotator: Annotator, console: Console
) -> int:
    """Answers `turns` tasks, or as many as there are frames for; returns how many, when the last is trained on.

    loop: what the server shows of its loop. poll: makes it look at CVAT at once. Raises StuckError.
    """
    with Live(console=console, refresh_per_second=4) as live:
        board = Board(live)
        seen, since = None, time.monotonic()
        while True:
            status = loop()
            board.show(status)
            new = status["phase"] == "annotating" and status["iteration"] not in board.answered
            if status["phase"] == "waiting for frames" or (new and len(board.answered) == turns):
                return len(board.answered)
            if new:
                annotator.work(PROJECT)
                board.answered[status["iteration"]] = status["task"]["frames"]
                poll()
            if seen != (seen := (status["phase"], status["iteration"])):
                since = time.monotonic()
            if time.monotonic() - since > PATIENCE:
                raise StuckError(f"nothing has changed for {PATIENCE} s; {board.doing(status)}")
            time.sleep(BEAT)
