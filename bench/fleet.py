"""Fleet: what each GPU host that is added costs a second run of `site.yml`, on simulated hosts that come and go.

The first host has CVAT, the edge and MONAI Label. The others are behind its edge, and have a MONAI Label that idles.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import docker
from demo import memory_used

from bench import second_run
from bench.report import Row
from bench.results import ROOT, Result
from bench.second_run import RunError

SIZES = [1, 2, 4, 8, 16]
RUNS = 3  # at each size, and of the plain tasks on the first host, in turns

# Processor seconds of the controller for an added host, of those of a whole run on the first.
GOAL = 0.25

# Seconds: every health check of the added hosts comes once or more.
REST = 30

INVENTORY = "bench/inventory"

# Of these, systemd and Docker take about ten a host, and Linux gives root 128 unless told otherwise.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_WANTED = 256

Tell = Callable[[str], None]


def host(number: int) -> str:
    return f"endolab-fleet-{number}"


def inventories(folder: Path, hosts: int) -> list[str]:
    """The lab's, and one, below `folder`, that makes it one of so many hosts."""
    added = folder / f"{hosts}.json"
    names: dict[str, Any] = {host(number): {} for number in range(2, hosts + 1)}
    added.write_text(json.dumps({"added": {"hosts": names}}), encoding="utf-8")
    return [INVENTORY, str(added)]


def play(playbook: str, lab: list[str], tell: Tell, *words: str) -> None:
    """Runs a playbook that may change things, and tells of each play as it begins; raises RunError where it fails."""
    last = deque[str](maxlen=second_run.LINES_TOLD)
    with subprocess.Popen(
        second_run.command(playbook, lab, *words),
        cwd=ROOT, env=second_run.ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            if line.startswith("PLAY ["):
                tell("  " + line.partition("[")[2].rpartition("]")[0])
    if process.returncode:
        raise second_run.failure(playbook, last)


def refuse() -> None:
    """Raises RunError where this machine cannot hold so many hosts."""
    if (given := int(INOTIFY.read_text(encoding="ascii"))) < INOTIFY_WANTED:
        raise RunError(
            f"{SIZES[-1]} simulated hosts do not start here: fs.inotify.max_user_instances is {given}. As root, run"
            f" `sysctl -w fs.inotify.max_user_instances={INOTIFY_WANTED}`, then this again."
        )


def measure(tell: Tell) -> Result:
    """Brings the hosts up as it goes, and takes them away, whatever happens; raises RunError."""
    refuse()
    with TemporaryDirectory() as folder, second_run.yardstick() as tasks:
        labs = {hosts: inventories(Path(folder), hosts) for hosts in SIZES}

        def take_away() -> None:
            tell("taken away: all hosts")
            play("molecule/stand_ins/down.yml", labs[SIZES[-1]], tell, "-e", "stand_ins_remove_registry=true")

        take_away()  # those of a run that was killed
        try:
            return {"sizes": [measure_size(hosts, lab, labs[1], tasks, tell) for hosts, lab in labs.items()]}
        finally:
            take_away()


def measure_size(hosts: int, lab: list[str], first: list[str], tasks: str, tell: Tell) -> dict[str, Any]:
    """One number of hosts, of which those of the number before are there; `tasks` are run on the `first` host alone."""
    tell(f"brought up: {hosts} of {SIZES[-1]} hosts")
    for playbook in ("molecule/stand_ins/up.yml", "molecule/stand_ins/deliver.yml", "site.yml"):
        play(playbook, lab, tell)
    if hosts == 1:
        # From then on the real loop waits for somebody to annotate, and takes no processor from what is measured.
        play("playbooks/verify.yml", lab, tell, "-e", "verify_first_task_timeout=600")
    found: dict[str, Any] = {"hosts": hosts, "rest": at_rest([host(number) for number in range(1, hosts + 1)])}
    runs: dict[str, list[dict[str, Any]]] = {"stack": [], "yardstick": []}
    for _ in range(RUNS):
        for name, playbook, where in (("stack", "site.yml", lab), ("yardstick", tasks, first)):
            runs[name].append(latest := second_run.run(playbook, where))
            tell(f"{name}: {latest['cpu']:.1f} processor s, {latest['wall']:.1f} s")
    return {**found, "runs": runs, "summary": {name: second_run.summary(each) for name, each in runs.items()}}


def at_rest(names: list[str]) -> dict[str, float]:
    """What the hosts take of this machine when nobody asks them for anything: its cores, and MB of memory."""
    containers = [docker.from_env().containers.get(name) for name in names]

    def used() -> float:
        stats: list[Any] = [each.stats(stream=False, one_shot=True) for each in containers]
        nanoseconds: int = sum(each["cpu_stats"]["cpu_usage"]["total_usage"] for each in stats)
        return nanoseconds / 1e9

    before, begun = used(), time.monotonic()
    time.sleep(REST)
    cores = (used() - before) / (time.monotonic() - begun)
    return {"cores": round(cores, 3), "memory": round(memory_used() / 1e6)}


def processor_seconds(result: Result, name: str = "stack") -> dict[int, float]:
    """Of the controller for a run, by the number of hosts."""
    return {size["hosts"]: size["summary"][name]["cpu"] for size in result["sizes"]}


def at_one_speed(result: Result) -> dict[int, float]:
    """Processor seconds of a run, as if the plain tasks in turns with it had always taken as long as with one host."""
    plain = processor_seconds(result, "yardstick")[1]
    found = {}
    for size in result["sizes"]:
        pairs = zip(size["runs"]["stack"], size["runs"]["yardstick"], strict=True)
        found[size["hosts"]] = plain * median(stack["cpu"] / tasks["cpu"] for stack, tasks in pairs)
    return found


def share(seconds: dict[int, float], fewer: int, more: int) -> float:
    """What a host costs that is added between two numbers of hosts, of a whole run on the first host."""
    return (seconds[more] - seconds[fewer]) / (more - fewer) / seconds[1]


def curves(result: Result) -> dict[str, list[tuple[float, float]]]:
    """Processor seconds against the number of hosts, and the most that they may be."""
    seconds = at_one_speed(result)
    most: list[tuple[float, float]] = [(hosts, seconds[1] * (1 + GOAL * (hosts - 1))) for hosts in seconds]
    return {"endolab": [*seconds.items()], "goal": most}


def rows(result: Result) -> list[Row]:
    seconds, raw, plain = at_one_speed(result), processor_seconds(result), processor_seconds(result, "yardstick")
    one, all_ = result["sizes"][0], result["sizes"][-1]
    count = all_["hosts"]
    executions = all_["runs"]["stack"][-1]["executions"]
    found = [Row("first host, controller's processor s", seconds[1])]
    found += [Row(f"{between(*pair)}, of that", share(seconds, *pair)) for pair in pairwise(seconds)]
    found += [
        Row("an added host, of that", share(seconds, 1, count), goal=GOAL),
        Row("an added host, of that, by the seconds as they were", share(raw, 1, count), compared=False),
        Row("module executions, first host", executions[host(1)]),
        Row("module executions, an added host", max(executions[name] for name in executions if name != host(1))),
    ]
    for size in (one, all_):
        stack, hosts = size["summary"]["stack"], f"{size['hosts']} host{'s' if size['hosts'] > 1 else ''}"
        found += [
            Row(f"{hosts}: largest process, MB", stack["memory"]),
            Row(f"{hosts}: stack, s", stack["wall"], compared=False),
            Row(f"{hosts}: at rest, cores", size["rest"]["cores"], compared=False),
            Row(f"{hosts}: at rest, MB", size["rest"]["memory"], compared=False),
        ]
    slower = plain[count] / plain[1]
    return [*found, Row(f"plain tasks on the first host: {count} hosts/1 host, processor", slower, compared=False)]


def between(fewer: int, more: int) -> str:
    return f"host {more}" if more == fewer + 1 else f"each of hosts {fewer + 1} to {more}"
