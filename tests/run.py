"""Runs the parts of the test suite, and says how long each took.

Usage: python tests/run.py [PART...]     all parts without one
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]

# Seconds in which all parts together should be done, on two cores with nothing cached. More is said, and is no failure:
# the same commit takes half as long again where the machine's neighbours are busy.
BUDGET = 45 * 60

PYTEST = [sys.executable, "-m", "pytest", "-q"]

Part = list[list[str]]  # its commands

# Lanes of a stage run side by side, because most parts leave a core idle; the parts of a lane one after the other. The
# loop has the machine to itself: its tests measure time. Refusals come late in their lane, when the registry holds the
# images.
STAGES: list[list[dict[str, Part]]] = [
    [
        {
            "stand-ins": [
                [sys.executable, "molecule/stand_ins/engine.py"],
                [sys.executable, "molecule/stand_ins/build.py"],
                [sys.executable, "molecule/stand_ins/inputs.py"],
            ],
        },
        {
            "lint": [
                ["yamllint", "--strict", "."],
                ["ruff", "check", "."],
                ["ruff", "format", "--check", "."],
                ["mypy", "."],
                ["ansible-lint", "--strict"],
                ["ansible-playbook", "site.yml", "-i", "lab", "--syntax-check"],
                [sys.executable, "docs/variables.py", "--check"],
            ],
            "unit": [[*PYTEST, "tests/unit"]],
        },
    ],
    [
        {"stack": [["molecule", "test", "--scenario-name", "default"]]},
        {
            "contract": [[*PYTEST, "tests/stand_ins"]],
            "app": [[*PYTEST, "tests/app"]],
            "refusals": [["molecule", "test", "--scenario-name", "refusals"]],
        },
    ],
    [
        {
            "loop": [["molecule", "test", "--scenario-name", "loop"]],
            "cpu": [["molecule", "test", "--scenario-name", "cpu"]],
            "secure": [["molecule", "test", "--scenario-name", "secure"]],
            "clean-up": [
                [
                    *["ansible-playbook", "molecule/stand_ins/down.yml", "-i", "molecule/default/inventory"],
                    *["-e", "stand_ins_remove_registry=true"],
                ],
                [sys.executable, "molecule/stand_ins/engine.py", "--stop"],
            ],
        },
    ],
]
PARTS = [part for stage in STAGES for lane in stage for part in lane]


def run(part: str, commands: Part, console: Console) -> float:
    """Runs one part, each line of its output as it comes; returns the seconds it took, negative when it failed."""
    start = time.monotonic()
    for command in commands:
        console.print(f"[bold]{part} $ {' '.join(command)}")
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{part:9} | {line}", end="", flush=True)
        if process.returncode:
            return -(time.monotonic() - start)
    return time.monotonic() - start


def run_stage(lanes: list[dict[str, Part]], wanted: list[str], console: Console) -> dict[str, float]:
    """Runs what is wanted of a stage; returns the seconds of each part."""

    def run_lane(lane: dict[str, Part]) -> dict[str, float]:
        return {part: run(part, commands, console) for part, commands in lane.items() if part in wanted}

    with ThreadPoolExecutor(len(lanes)) as pool:
        return {part: took for done in pool.map(run_lane, lanes) for part, took in done.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the parts of the test suite, and says how long each took.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; all without one")
    wanted = parser.parse_args().parts or PARTS
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
    start = time.monotonic()
    seconds: dict[str, float] = {}
    for stage in STAGES:
        seconds |= run_stage(stage, wanted, console)
    total = time.monotonic() - start

    table = Table("part", "seconds", "result")
    for part, took in seconds.items():
        table.add_row(part, f"{abs(took):.0f}", "passed" if took > 0 else "FAILED")
    table.add_row("all", f"{total:.0f}", f"budget {BUDGET}")
    console.print(table)

    failed = sum(took < 0 for took in seconds.values())
    if total > BUDGET:
        console.print(f"[yellow]The suite took {total:.0f} s, and should take no more than {BUDGET} s.")
    print(f"{len(seconds) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
