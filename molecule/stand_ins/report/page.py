"""Writes the report: what the loop asked for and why, what it was told, and what the model has learnt from it."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

import jinja2
from report import pictures
from report.history import Iteration
from report.study import TEST_FRAMES, Study

TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Card:
    """A chosen frame. rank: 1 for the one the model was least sure of. The others are pictures."""

    name: str
    rank: int
    score: float
    heat: str
    before: str
    label: str
    after: str


def cards(turn: Iteration, studies: Path, measured: Path) -> list[Card]:
    """The frames of an iteration that people have labelled."""
    found = []
    for rank, (name, score) in enumerate(turn.chosen.items(), start=1):
        label = studies / "labels" / "final" / f"{name}.png"
        if not label.exists():  # an annotator has deleted the frame from its task
            continue
        frame = pictures.read(next(studies.glob(f"{name}.*")), "RGB")
        heat, before, after = (
            pictures.read(measured / str(turn.number) / f"{name}-{kind}.png", "L")
            for kind in ("heat", "before", "after")
        )
        found.append(
            Card(
                name,
                rank,
                score,
                pictures.uri(pictures.heated(frame, heat)),
                pictures.uri(pictures.outlined(frame, before > 0, pictures.RED)),
                pictures.uri(pictures.outlined(frame, pictures.read(label, "L") > 0, pictures.GREEN)),
                pictures.uri(pictures.outlined(frame, after > 0, pictures.RED)),
            )
        )
    return found


def render(study: Study, frames: int) -> str:
    """The report on a lab of so many frames as one HTML file that needs nothing else."""
    turns = [(turn, cards(turn, study.studies, study.out)) for turn in study.turns()]
    curves = json.loads((study.out / "measured.json").read_text(encoding="utf-8"))
    labelled = [0]
    for _, frames_of_turn in turns:
        labelled.append(labelled[-1] + len(frames_of_turn))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["median"] = statistics.median
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        turns=turns,
        labelled=labelled,
        mine=curves["loop"],
        random=curves["random"],
        mean=[statistics.mean(values) for values in zip(*curves["random"], strict=True)],
        total=frames,
        test_frames=TEST_FRAMES,
    )
