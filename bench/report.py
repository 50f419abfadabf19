"""Rows of figures beside those of the last committed result, as a table."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One figure of a result.

    goal: the most that it may be, or the least where `more` is better; None where there is no goal.
    compared: whether it says something beside another run's; seconds on a busy machine do not.
    """

    name: str
    value: float
    goal: float | None = None
    more: bool = False
    compared: bool = True

    def met(self) -> bool | None:
        """Whether the goal is met."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more else self.value <= self.goal


def table(title: str, rows: list[Row], before: dict[str, float], date: str | None) -> Table:
    """The rows; `before` are the figures of the last committed result, of `date`."""
    made = Table("figure", "now", "goal", "met", f"committed {date}" if date else "committed", "change", title=title)
    for row in rows:
        made.add_row(row.name, number(row.value), goal(row), word(row.met()), *beside(row, before))
    return made


def beside(row: Row, before: dict[str, float]) -> tuple[str, str]:
    """What the figure was, and by how much it has changed since."""
    if row.name not in before:
        return "", ""
    then = before[row.name]
    change = f"{row.value / then - 1:+.0%}" if row.compared and then else ""
    return number(then), change


def goal(row: Row) -> str:
    return "" if row.goal is None else f"{'>=' if row.more else '<='} {number(row.goal)}"


def word(met: bool | None) -> str:
    return {None: "", True: "yes", False: "NO"}[met]


def number(value: float) -> str:
    """Three digits that count, or a whole number."""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
