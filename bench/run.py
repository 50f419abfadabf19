"""Measures what is to be fast, beside what it is compared with, in one run; `make bench` runs it.

Usage: python bench/run.py [-i INVENTORY] [PART...]     scoring without a part

Each part prints a table beside the last committed result, and leaves bench/results/PART.json and PART.svg.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "molecule" / "stand_ins")]

from in_monailabel import ProgramError  # noqa: E402
from rich.console import Console  # noqa: E402

from bench import figures, first_run, fleet, learning, report, results, scoring, second_run  # noqa: E402
from bench.results import Result  # noqa: E402


@dataclass(frozen=True)
class Part:
    """How a part is measured, which rows its table has, and its picture."""

    measure: Callable[[Callable[[str], None]], Result]
    rows: Callable[[Result], list[report.Row]]
    picture: Callable[[Result], str]


def scoring_picture(result: Result) -> str:
    groups = {f"{case['network']}, {case['weights']}": case["processor seconds"] for case in result["cases"]}
    return figures.bars("Processor seconds to score a frame of 736x480", groups, "s")


def learning_picture(result: Result) -> str:
    curves = {way: [(each["labels"], each["dice"]) for each in curve] for way, curve in result["curves"].items()}
    return figures.lines("Dice on frames that nobody has seen, mean over the pools", curves, "labels")


def second_run_picture(result: Result) -> str:
    walls = {name: summary["wall"] for name, summary in result["summary"].items()}
    title = f"Seconds of a second run, of a role for Docker alone, and of {second_run.YARDSTICK_TASKS} plain tasks"
    return figures.bars(title, {"": walls}, "s")


def first_run_picture(result: Result) -> str:
    legend = {"endolab": "at work", "floor": "irreducible", "path": "critical path"}
    return figures.gantt(
        "From a bare host to the first task in CVAT", first_run.strips(result), result["seconds"], legend
    )


def fleet_picture(result: Result) -> str:
    return figures.lines("Controller's processor seconds for a second run of site.yml", fleet.curves(result), "hosts")


def parts(inventories: list[str]) -> dict[str, Part]:
    return {
        "scoring": Part(scoring.measure, scoring.rows, scoring_picture),
        "learning": Part(learning.measure, learning.rows, learning_picture),
        "fleet": Part(fleet.measure, fleet.rows, fleet_picture),
        "second-run": Part(lambda tell: second_run.measure(inventories, tell), second_run.rows, second_run_picture),
        "first-run": Part(first_run.measure, first_run.rows, first_run_picture),
    }


def bench(name: str, part: Part, console: Console) -> None:
    """Measures one part; raises ProgramError or RunError."""
    console.rule(f"[bold]{name}")
    before, place = results.last(name), results.machine()
    result = results.dated({"machine": place, **part.measure(lambda line: console.print(line, markup=False))})
    path = results.write(name, result)
    path.with_suffix(".svg").write_text(part.picture(result), encoding="utf-8")
    then = {row.name: row.value for row in part.rows(before)} if before else {}
    console.print(report.table(name, part.rows(result), then, before["date"][:10] if before else None))
    console.print(f"written       {path.relative_to(ROOT)}, and its picture")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what is to be fast.")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="scoring (without one), learning, second-run, first-run, fleet"
    )
    parser.add_argument("-i", dest="inventories", action="append", default=[], metavar="INVENTORY",
                        help="of a lab that stands, for second-run")  # fmt: skip
    given = parser.parse_args()
    known, wanted = parts(given.inventories), given.parts or ["scoring"]
    if unknown := set(wanted) - set(known):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(known)}")
    if "second-run" in wanted and not given.inventories:
        parser.error("second-run needs the inventory of a lab that stands: -i INVENTORY")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        for name in wanted:
            bench(name, known[name], console)
    except (ProgramError, second_run.RunError) as fault:
        console.print(str(fault), style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
