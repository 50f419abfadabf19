"""Pictures of results, as small SVG files."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

# Endolab's is blue, what it is compared with is not.
COLOURS = {
    "endolab": "#2e75b6",
    "stack": "#2e75b6",
    "upstream": "#c0504d",
    "random": "#7f7f7f",
    "floor": "#a6a6a6",
    "docker role": "#7f7f7f",
    "yardstick": "#a6a6a6",
    "path": "#c0504d",
    "goal": "#7f7f7f",
}

WIDTH, LEFT, BAR, GAP = 760, 260, 18, 16
HEIGHT, MARGIN = 360, 60
GANTT_LEFT, LETTERS = 300, 40  # as many as fit left of its bars
NEAR, STEPS = (
    0.1,
    (1, 2, 5, 10, 20, 30, 60, 120, 300),
)  # seconds between bars that are drawn as one, and between marks of the axis


def svg(width: int, height: int, marks: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    body = "\n".join(marks)
    return f'{head} font-size="13">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def bars(title: str, groups: dict[str, dict[str, float]], unit: str) -> str:
    """A group of bars for each case, each as long as its share of the group's longest: cases differ by tenfold."""
    marks, y = [text(10, 22, title)], 44
    for name, values in groups.items():
        longest = max(values.values())
        marks.append(text(LEFT - 80, y + 1.5 * BAR, name, "end"))
        for way, value in values.items():
            length = (WIDTH - LEFT - 80) * value / longest
            marks.append(text(LEFT - 8, y + BAR - 4, way, "end"))
            marks.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{COLOURS[way]}"/>')
            marks.append(text(LEFT + length + 6, y + BAR - 4, f"{value:.2f} {unit}"))
            y += BAR
        y += GAP
    return svg(WIDTH, y, marks)


def lines(title: str, curves: dict[str, list[tuple[float, float]]], x_title: str) -> str:
    """A line for each curve, over axes that begin at the least value."""
    xs = [x for curve in curves.values() for x, _ in curve]
    ys = [y for curve in curves.values() for _, y in curve]
    low, high = min(ys), max(ys)
    spread = (high - low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - min(xs)) / ((max(xs) - min(xs)) or 1)
        return MARGIN + across * (WIDTH - 2.5 * MARGIN), HEIGHT - MARGIN - (y - low) / spread * (HEIGHT - 2 * MARGIN)

    marks = [text(10, 22, title), text(WIDTH / 2, HEIGHT - 15, x_title, "middle")]
    marks += [text(place(x, low)[0], HEIGHT - MARGIN + 20, f"{x:g}", "middle") for x in sorted(set(xs))]
    marks += [text(MARGIN - 10, place(0, y)[1] + 4, f"{y:.2f}", "end") for y in (low, high)]
    for number, (way, curve) in enumerate(curves.items()):
        style = f'stroke="{COLOURS[way]}" stroke-width="2.5"'
        for one, other in pairwise(curve):
            (x1, y1), (x2, y2) = place(*one), place(*other)
            marks.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')
        legend = 40 + 20 * number
        marks.append(f'<line x1="{MARGIN + 20}" y1="{legend}" x2="{MARGIN + 50}" y2="{legend}" {style}/>')
        marks.append(text(MARGIN + 58, legend + 4, way))
    return svg(WIDTH, HEIGHT, marks)


@dataclass
class Strip:
    """A line of a Gantt picture: what was at work from when to when, and when it was on the critical path."""

    name: str
    bars: list[tuple[float, float, str]] = field(default_factory=list)
    path: list[tuple[float, float]] = field(default_factory=list)

    def add(self, start: float, end: float, colour: str) -> None:
        """Adds a bar, or makes the last one longer where that ends as this begins."""
        if self.bars and colour == self.bars[-1][2] and start - self.bars[-1][1] < NEAR:
            start, end = self.bars[-1][0], max(end, self.bars[-1][1])
            self.bars.pop()
        self.bars.append((start, end, colour))


def gantt(title: str, groups: dict[str, list[Strip]], seconds: float, legend: dict[str, str]) -> str:
    """Strips over one axis of seconds, below the names of their groups; `legend` says what each colour stands for."""

    def place(at: float) -> float:
        return GANTT_LEFT + (WIDTH - GANTT_LEFT - 60) * at / seconds

    marks, across, y = [text(10, 22, title)], 10.0, 34
    for colour, words in legend.items():
        marks += [_bar(across, y, 14, 10, colour), text(across + 20, y + 10, words)]
        across += 40 + 7 * len(words)
    y += 34
    top, bottom = y, y + BAR * sum(len(strips) + 1 for strips in groups.values())
    step = next((each for each in STEPS if seconds / each <= 10), STEPS[-1])
    for at in range(0, int(seconds) + 1, step):
        line = f'x1="{place(at):.1f}" x2="{place(at):.1f}" y1="{top}" y2="{bottom}" stroke="#dddddd"'
        marks += [f"<line {line}/>", text(place(at), top - 6, f"{at} s", "middle")]
    for group, strips in groups.items():
        marks.append(f'<text x="10" y="{y + BAR - 4}" font-weight="bold">{escape(group)}</text>')
        y += BAR
        for strip in strips:
            name = strip.name if len(strip.name) <= LETTERS else f"{strip.name[: LETTERS - 1]}\u2026"
            marks.append(text(GANTT_LEFT - 8, y + BAR - 5, name, "end"))
            marks += [
                _bar(place(start), y + 2, place(end) - place(start), BAR - 6, how) for start, end, how in strip.bars
            ]
            marks += [
                _bar(place(start), y + BAR - 4, place(end) - place(start), 3, "path") for start, end in strip.path
            ]
            worked, last = sum(end - start for start, end, _ in strip.bars), max(end for _, end, _ in strip.bars)
            marks.append(text(place(last) + 4, y + BAR - 5, f"{worked:.1f}"))
            y += BAR
    return svg(WIDTH, y + 10, marks)


def _bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{max(width, 0.5):.1f}" height="{height}" fill="{COLOURS[colour]}"/>'
