"""Runs the parts of the test suite, and says how long each took.

Usage: python tests/run.py [--long] [PART...]     all parts without one
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]

# Seconds in which all parts together should be done, on two cores with nothing cached. More is said, and is no failure:
# the same commit takes half as long again where the machine's neighbours are busy.
BUDGET = 45 * 60

PYTEST = [sys.executable, "-m", "pytest", "-q"]

Part = list[list[str]]  # its commands


def scenario(name: str, *before: str) -> Part:
    """One of Molecule's, behind the words `before`."""
    return [[*before, "molecule", "test", "--scenario-name", name]]


# What the hooks ask of a commit, each once of the whole tree.
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
LINT: Part = [shlex.split(hook["entry"]) for hook in HOOKS]

# Every scenario's simulated hosts.
HOSTS = [word for path in sorted(ROOT.glob("molecule/*/inventory")) for word in ("-i", str(path.relative_to(ROOT)))]
DOWN = ["ansible-playbook", "molecule/stand_ins/down.yml", *HOSTS]

STAND_INS: Part = [
    [sys.executable, "molecule/stand_ins/engine.py"],
    # Those of a run that was broken off come back with the engine, and would take the machine from this one.
    DOWN,
    [sys.executable, "molecule/stand_ins/build.py"],
    [sys.executable, "molecule/stand_ins/inputs.py"],
    [sys.executable, "molecule/stand_ins/promtool.py"],
]

CLEAN_UP: Part = [
    [*DOWN, "-e", "stand_ins_remove_registry=true"],
    [sys.executable, "molecule/stand_ins/engine.py", "--stop"],
]

# Lanes of a stage run side by side, because most parts leave a core idle; the parts of a lane one after the other.
# Refusals come late in their lane, when the registry holds the images.
STAGES: list[list[dict[str, Part]]] = [
    [
        {"stand-ins": STAND_INS},
        {
            "lint": LINT,
            "unit": [[*PYTEST, "--numprocesses=auto", "tests/unit"]],
            "sanity": [[sys.executable, "tests/sanity/run.py"]],
        },
    ],
    [
        {
            "stack": scenario("default"),
            "loop": scenario("loop"),
            "refusals": scenario("refusals"),
            "contract": [[*PYTEST, "tests/stand_ins"]],
            "monitoring": [[*PYTEST, "tests/monitoring"]],
        },
        {"app": [[*PYTEST, "tests/app"]], "secure": scenario("secure"), "cpu": scenario("cpu")},
    ],
    [{"clean-up": CLEAN_UP}],
]

# Tests of values that Hypothesis makes up.
FUZZ = [
    "tests/unit/roles/test_fuzz.py",
    "tests/unit/monailabel/test_init_script.py",
    "tests/unit/app/test_loop_machine.py",
]

# The parts whose scenarios hold tests with pytest's marker "long", and which tests they run: all where `make test` has
# none, and where they follow on each other.
LONG_SCENARIOS = {
    "stack": ("default", "long"),
    "refusals": ("refusals", "long"),
    "loop": ("loop", "'long or not long'"),
    "secure": ("secure", "long"),
    "spread": ("spread", "'long or not long'"),
}

# These, more values of every kind, and what labs do to a lab.
LONG_STAGES: list[list[dict[str, Part]]] = [
    [
        {"stand-ins": STAND_INS},
        {"fuzz": [[*PYTEST, "--numprocesses=auto", "--hypothesis-profile=long", *FUZZ]]},
    ],
    [
        {
            **{
                part: scenario(name, "env", f"PYTEST_ADDOPTS=-m {tests}")
                for part, (name, tests) in LONG_SCENARIOS.items()
            },
            "bookworm": scenario("bookworm"),
            "fleet": scenario("fleet"),
            "faults": scenario("faults"),
            "airgap": scenario("airgap"),
            "clean-up": CLEAN_UP,
        }
    ],
]

# Lines that say what failed, of pytest and of Ansible, once they have lost their colours, and how many of each part are
# said again at the end.
FAILURE = re.compile(r"FAILED |ERROR |\bE   |fatal: |failed: \[")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
FAILURES = 20


@dataclass(frozen=True)
class Outcome:
    """How a part went: its seconds, whether it passed, and its last lines that say what failed."""

    seconds: float
    passed: bool
    failures: list[str]


def run(part: str, commands: Part, console: Console) -> Outcome:
    """Runs one part, each line of its output as it comes."""
    start, failures = time.monotonic(), deque[str](maxlen=FAILURES)
    for command in commands:
        console.print(f"[bold]{part} $ {' '.join(command)}")
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{part:9} | {line}", end="", flush=True)
                if FAILURE.search(plain := COLOUR.sub("", line).strip()):
                    failures.append(plain[:300])
        if process.returncode:
            return Outcome(time.monotonic() - start, False, list(failures))
    return Outcome(time.monotonic() - start, True, [])


def run_stage(lanes: list[dict[str, Part]], wanted: list[str], console: Console) -> dict[str, Outcome]:
    """Runs what is wanted of a stage."""

    def run_lane(lane: dict[str, Part]) -> dict[str, Outcome]:
        return {part: run(part, commands, console) for part, commands in lane.items() if part in wanted}

    with ThreadPoolExecutor(len(lanes)) as pool:
        return {part: outcome for done in pool.map(run_lane, lanes) for part, outcome in done.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the parts of the test suite, and says how long each took.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="all without one")
    parser.add_argument("--long", action="store_true", help="the tests that take long instead of the others")
    given = parser.parse_args()
    stages = LONG_STAGES if given.long else STAGES
    parts = [part for stage in stages for lane in stage for part in lane]
    wanted = given.parts or parts
    if unknown := set(wanted) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(parts)}")
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
    start = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    for stage in stages:
        outcomes |= run_stage(stage, wanted, console)
    total = time.monotonic() - start

    table = Table("part", "seconds", "result")
    for part, outcome in outcomes.items():
        table.add_row(part, f"{outcome.seconds:.0f}", "passed" if outcome.passed else "FAILED")
    table.add_row("all", f"{total:.0f}", "" if given.long else f"budget {BUDGET}")
    console.print(table)
    for part, outcome in outcomes.items():
        for line in outcome.failures:
            print(f"{part:9} | {line}")

    failed = sum(not outcome.passed for outcome in outcomes.values())
    if total > BUDGET and not given.long:
        console.print(f"[yellow]The suite took {total:.0f} s, and should take no more than {BUDGET} s.")
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
