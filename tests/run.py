"""Runs the parts of the test suite one after the other, and says how long each took.

Usage: python tests/run.py [PART...]     all parts without one
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]

# Seconds in which all parts together must be done, on two cores with nothing cached.
BUDGET = 45 * 60

REMOVE_REGISTRY = ["-e", "stand_ins_remove_registry=true"]
PYTEST = [sys.executable, "-m", "pytest", "-q"]

PARTS: dict[str, list[list[str]]] = {
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
    "stand-ins": [
        [sys.executable, "molecule/stand_ins/engine.py"],
        [sys.executable, "molecule/stand_ins/build.py"],
        [sys.executable, "molecule/stand_ins/inputs.py"],
    ],
    "contract": [[*PYTEST, "tests/stand_ins"]],
    "app": [[*PYTEST, "tests/app"]],
    "stack": [["molecule", "test", "--scenario-name", "default"]],
    "loop": [["molecule", "test", "--scenario-name", "loop"]],
    "cpu": [["molecule", "test", "--scenario-name", "cpu"]],
    "refusals": [["molecule", "test", "--scenario-name", "refusals"]],
    "clean-up": [
        ["ansible-playbook", "molecule/stand_ins/down.yml", "-i", "molecule/default/inventory", *REMOVE_REGISTRY],
        [sys.executable, "molecule/stand_ins/engine.py", "--stop"],
    ],
}


def run(part: str, console: Console) -> float:
    """Runs one part, its output as it comes; returns the seconds it took, negative when it failed."""
    console.rule(f"[bold]{part}")
    start = time.monotonic()
    for command in PARTS[part]:
        console.print(f"[dim]$ {' '.join(command)}")
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            return -(time.monotonic() - start)
    return time.monotonic() - start


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the parts of the test suite, and says how long each took.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; all without one")
    wanted = parser.parse_args().parts or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
    seconds = {part: run(part, console) for part in wanted}

    table = Table("part", "seconds", "result")
    for part, took in seconds.items():
        table.add_row(part, f"{abs(took):.0f}", "passed" if took > 0 else "FAILED")
    total = sum(map(abs, seconds.values()))
    table.add_row("all", f"{total:.0f}", f"budget {BUDGET}")
    console.print(table)

    failed = sum(took < 0 for took in seconds.values())
    if total > BUDGET:
        console.print(f"The suite took {total:.0f} s and may take {BUDGET} s.")
        failed += 1
    print(f"{len(seconds) - sum(took < 0 for took in seconds.values())} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
