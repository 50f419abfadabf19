"""The filter status_block: a host's status as a block of text for people."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_block
short_description: A host's status as a block of text
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Lays out on one screen what the filter C(host_status) has put together.
options:
  _input:
    description: The status.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: This is what the lab does
  ansible.builtin.debug:
    msg: "{{ status | endolab.active_learning.status_block }}"
"""

RETURN = r"""
_value:
  description: The text, in lines.
  type: str
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from textwrap import wrap
from typing import Any

WIDTH = 100
LABEL = 12  # columns of it for what a line is about
NOTES = 3  # the last ones

# The longest unit that fits twice is the one people think in.
UNITS = ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))


def status_block(status: Mapping[str, Any]) -> str:
    """The block: what is wrong and what mends it comes first."""
    problems = {0: "all is well", 1: "1 problem"}.get(len(status["problems"]), f"{len(status['problems'])} problems")
    lines = [f"{status['host']} at {status['at']}: {problems}"]
    for label, text in rows(status):
        wrapped = wrap(text, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False)
        lines += [f"{'' if number else label:<{LABEL}}{line}" for number, line in enumerate(wrapped)]
    return "\n".join(lines)


def rows(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a line is about, and what it says."""
    at = status["at"]
    for problem in status["problems"]:
        yield "problem", problem["what"] + (lasting(problem, at) if "since" in problem else "")
        yield "  remedy", problem["remedy"]
    if not status["reachable"]:
        return
    if lock := status["lock"]:
        since = moment(lock["since"], at)
        yield "lock", f"{lock['owner']}@{lock['machine']} is changing the host with {lock['playbook']} since {since}"
    for instance in status["instances"]:
        if instance["name"]:
            yield "instance", instance["name"]
        yield from loop_rows(instance, at)
    yield "services", services(status["services"])
    if "archive" in status:
        yield "archive", moment(status["archive"]["at"], at) if status["archive"] else "none yet"
    yield from gpu_rows(status["gpu"])
    docker = status["docker"]
    running = docker["version"] if docker["running"] else "does not run"
    yield "Docker", f"{running}, {docker['free_bytes'] / 2**30:.1f} GiB free in {docker['data_root']}"


def lasting(problem: Mapping[str, Any], at: str) -> str:
    times = f"{problem['times']} times " if problem["times"] > 1 else ""
    return f"; {times}since {moment(problem['since'], at)}"


def loop_rows(instance: Mapping[str, Any], at: str) -> Iterator[tuple[str, str]]:
    loop = instance["loop"]
    if loop is None:
        yield "loop", instance["silence"]
        return
    yield "loop", f"{loop['phase']} since {moment(loop['since'], at)}"
    yield "iteration", str(loop["iteration"])
    yield "frames", frame_counts(loop["frames"], instance["frames"])
    if task := loop["task"]:
        yield "task", f"{task['name']}, {task['jobs_done']} of {task['jobs']} jobs done"
        yield "", task["url"]
    polled = moment(loop["polled_at"], at) if loop["polled_at"] else "none yet"
    # While the loop works, no poll is due.
    due = loop["next_try"] and datetime.fromisoformat(loop["next_try"]) > datetime.fromisoformat(at)
    yield "last poll", f"{polled}, next {moment(loop['next_try'], at)}" if due else polled
    for training in loop["training"]:
        yield "training", trained(training)
    for note in loop["notes"][-NOTES:]:
        yield "note", f"{note['what']}, {moment(note['at'], at)}"


def frame_counts(counts: Mapping[str, int], there: int) -> str:
    if not counts:
        return f"{there} there, not counted by the loop yet"
    parts = [f"{counts['total']} in all", f"{counts['scored']} scored", f"{counts['labelled']} labelled"]
    also = [f"{counts[kind]} {kind}" for kind in ("unreadable", "discarded") if counts[kind]]
    return ", ".join([*parts, f"{left(counts)} left", *also])


def left(counts: Mapping[str, int]) -> int:
    """How many frames may still be asked for."""
    return max(0, counts["total"] - counts["labelled"] - counts["unreadable"] - counts["discarded"])


def trained(record: Mapping[str, Any]) -> str:
    """What the last training of a model came to."""
    taken = "new weights taken" if record["promoted"] else "old weights kept"
    why = f" ({record['why']})" if record.get("why") else ""
    # The app on the host may be older.
    took = f"; {record['epochs']} epochs in {record['seconds']} s" if record.get("epochs") else ""
    return f"{record['model']}: {taken}{why}{took}"


def services(states: Mapping[str, str]) -> str:
    counted = Counter(states.values())
    return ", ".join(f"{number} {state}" for state, number in counted.most_common()) or "none are to run here"


def gpu_rows(gpu: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not gpu["wanted"]:
        yield "GPU", "none is to be used"
    elif not gpu["driver"]:
        yield "GPU", "no driver"
    elif not gpu["gpus"]:
        yield "GPU", f"none, driver {gpu['driver']}"
    for number, each in enumerate(gpu["gpus"] if gpu["wanted"] and gpu["driver"] else ()):
        if "name" not in each:
            yield "GPU", f"{number}: {each['uuid']}, driver {gpu['driver']}"
            continue
        memory = f"{shown(each['memory_used_mib'])} of {shown(each['memory_total_mib'])} MiB in use"
        yield "GPU", f"{each['index']}: {each['name']}, {memory}, {shown(each['busy_percent'])} % busy"


def shown(number: int | None) -> str:
    return "?" if number is None else str(number)


def moment(time: str, at: str) -> str:
    """A time with its distance from `at`: `2026-11-25T12:00:00+00:00 (12 s ago)`."""
    return f"{time} ({distance(time, at)})"


def distance(time: str, at: str) -> str:
    seconds = round((datetime.fromisoformat(at) - datetime.fromisoformat(time)).total_seconds())
    size, unit = next((each for each in UNITS if abs(seconds) >= 2 * each[0]), UNITS[-1])
    long = f"{abs(seconds) // size} {unit}"
    return f"{long} ago" if seconds >= 0 else f"in {long}"


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"status_block": status_block}
