"""Second run: what `site.yml` costs on a lab that stands, in round trips, processor seconds, memory and time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.report import Row
from bench.results import ROOT, Result

RUNS = 3  # of each playbook, in turns

EXECUTIONS = re.compile(r"^Module executions on (\S+): (\d+)$", re.MULTILINE)
CHANGED = re.compile(r"changed=(\d+)")

GOAL_EXECUTIONS = 15

# What a second run must be quicker than.
DOCKER_ROLE = "bench/docker_role.yml"

# The least that as many tasks can cost: each of the cheapest module.
YARDSTICK_TASKS = 27
TASK = {"name": "A path is looked at", "ansible.builtin.stat": {"path": "/"}}
YARDSTICK = [{"hosts": "all", "gather_facts": False, "tasks": [TASK] * YARDSTICK_TASKS}]

ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_CALLBACKS_ENABLED": "endolab.active_learning.module_executions",
}

LINES_TOLD = 60  # of a run that failed; the recap has two for each host


class RunError(Exception):
    """A run failed, or is not the one that is to be measured."""


def command(playbook: str, inventories: list[str], *words: str) -> list[str]:
    return ["ansible-playbook", playbook, *(word for path in inventories for word in ("-i", path)), *words]


def failure(playbook: str, lines: Iterable[str]) -> RunError:
    return RunError(f"{playbook} failed; its last lines:\n" + "\n".join([*lines][-LINES_TOLD:]))


def run(playbook: str, inventories: list[str]) -> dict[str, Any]:
    """One run: seconds, processor seconds of the controller, its memory, and module executions by host."""
    with TemporaryDirectory() as folder:
        used = Path(folder, "used.json")
        watched = [sys.executable, "bench/used.py", str(used), *command(playbook, inventories)]
        done = subprocess.run(
            watched, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            raise failure(playbook, done.stdout.splitlines())
        measured = json.loads(used.read_text(encoding="utf-8"))
    if changed := sum(map(int, CHANGED.findall(done.stdout))):
        raise RunError(f"{playbook} has changed {changed} things; run it once more, until it changes nothing")
    executions = {host: int(count) for host, count in EXECUTIONS.findall(done.stdout)}
    if not executions:
        raise RunError(f"{playbook} has executed nothing on another host than this one; -i names a lab that stands")
    return {**measured, "executions": executions}


@contextmanager
def yardstick() -> Iterator[str]:
    """The path of a playbook with the plain tasks."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "yardstick.yml")
        path.write_text(json.dumps(YARDSTICK), encoding="utf-8")
        yield str(path)


def measure(inventories: list[str], tell: Callable[[str], None]) -> Result:
    """Runs site.yml and what it is held against in turns; raises RunError where that is no second run."""
    runs: dict[str, list[dict[str, Any]]] = {"stack": [], "docker role": [], "yardstick": []}
    with yardstick() as tasks:
        for _ in range(RUNS):
            for name, playbook in zip(runs, ("site.yml", DOCKER_ROLE, tasks), strict=True):
                runs[name].append(run(playbook, inventories))
                tell(f"{name}: {runs[name][-1]['wall']:.1f} s, {runs[name][-1]['executions']}")
    return {"runs": runs, "summary": {name: summary(each) for name, each in runs.items()}}


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Medians; executions of the host that has most, memory in MB."""
    return {
        "hosts": len(runs[0]["executions"]),
        "wall": round(median(run["wall"] for run in runs), 2),
        "cpu": round(median(run["cpu"] for run in runs), 2),
        "memory": round(median(run["memory"] for run in runs) / 1024),
        "executions": max(count for run in runs for count in run["executions"].values()),
    }


def rows(result: Result) -> list[Row]:
    stack, role, yardstick = (result["summary"][name] for name in ("stack", "docker role", "yardstick"))
    hosts = stack["hosts"]
    return [
        Row("hosts", hosts, compared=False),
        Row("module executions, on the host with most", stack["executions"], goal=GOAL_EXECUTIONS),
        Row("stack, s", stack["wall"], compared=False),
        Row("role for Docker alone, s", role["wall"], compared=False),
        Row(f"{YARDSTICK_TASKS} plain tasks, s", yardstick["wall"], compared=False),
        Row("stack/role for Docker alone", stack["wall"] / role["wall"], goal=1.0),
        Row(f"stack/{YARDSTICK_TASKS} plain tasks", stack["wall"] / yardstick["wall"]),
        Row("controller, processor s a host", stack["cpu"] / hosts),
        Row("controller, largest process, MB a host", stack["memory"] / hosts),
    ]
