"""What was at work when: spans of one clock, how much of it they fill, and the path through them that took the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Something at work; `start` and `end` are seconds from the beginning.

    part: what of the stack it belongs to.
    role: of a task, the role that it is in; empty outside of one.
    waits: of a task, whether it does nothing but wait for what was begun before.
    awaited_by: of what goes on beside the tasks, the roles whose tasks may wait for it.
    irreducible: whether it has to be, however well the rest is ordered.
    """

    name: str
    part: str
    start: float
    end: float
    role: str = ""
    waits: bool = False
    awaited_by: tuple[str, ...] = ()
    irreducible: bool = False

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Segment:
    """A piece of the critical path; `span` is None where nothing was at work but the controller."""

    span: Span | None
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def covered(spans: Iterable[Span]) -> float:
    """Seconds in which at least one of the spans was at work."""
    total, reached = 0.0, 0.0
    for span in sorted(spans, key=lambda each: each.start):
        total += max(0.0, span.end - max(span.start, reached))
        reached = max(reached, span.end)
    return total


def critical_path(tasks: list[Span], beside: list[Span], end: float) -> list[Segment]:
    """What the time from 0 to `end` was spent on; what is not on the path could take longer, and cost nothing.

    tasks: one after the other. beside: what goes on beside them.

    It is followed backwards: from a task to what ended last of that which it waited for, which may have begun long
    before the task, and from there to the task that began it; from a task that waited for nothing to the one before.
    """
    path: list[Segment] = []
    while end > 0:
        segment = _last(tasks, beside, end)
        path.append(segment)
        end = segment.start
    return path[::-1]


def _last(tasks: list[Span], beside: list[Span], now: float) -> Segment:
    """What led to `now`."""
    if ended := [span for span in beside if span.start < now == span.end]:
        first = min(ended, key=lambda span: span.start)
        return Segment(first, first.start, now)
    at_work = [task for task in tasks if task.start < now <= task.end]
    if not at_work:
        return Segment(None, max((task.end for task in tasks if task.end < now), default=0.0), now)
    task = at_work[-1]
    waited = [span for span in beside if task.start < span.end < now and (task.waits or task.role in span.awaited_by)]
    # What it waited for is the next piece, and ends as this one begins.
    return Segment(task, max((span.end for span in waited), default=task.start), now)
