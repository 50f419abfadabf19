"""First run: what `site.yml` and the loop take from a bare host to the first task in CVAT, and what of that must be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.figures import Strip
from bench.report import Row
from bench.results import ROOT, Result
from bench.second_run import RunError
from bench.second_run import failure as failed
from bench.timeline import Span, covered, critical_path

SCENARIO, HOST = "default", "endolab-test"
PLAY = ["ansible-playbook", "site.yml", "-i", f"molecule/{SCENARIO}/inventory"]
REGISTRY = "registry"

GOAL = 1.3  # of the sum of what must be

# Seconds for the first task once site.yml is through, and from one look at the loop to the next.
PATIENCE, BEAT = 600, 1.0

# Docker remembers its last 256 events, and health checks fill that within a minute: so they are written down second by
# second. There is no Docker to begin with, and while somebody listens, Docker waits five seconds before it restarts.
FOLLOW = """
since=1
until false; do
  now=$(date +%s.%N)
  docker events --since $since --until $now --filter event=pull --filter event=start --filter event=health_status \
    --format '{{json .}}' && since=$now
  sleep 1
done
"""

# Parts of the stack, as the picture has them from top to bottom.
HOST_PART, PACKAGES, IMAGES, CVAT, EDGE, MONAI_LABEL, LOOP = PARTS = (
    "the host", "packages", "images", "CVAT", "the edge", "MONAI Label", "the loop",
)  # fmt: skip

PART_OF_ROLE = {"cvat": CVAT, "edge": EDGE, "monailabel": MONAI_LABEL}
INSTALLERS = ("ansible.builtin.apt", "ansible.builtin.dnf")

# What images and containers are of, and whose tasks wait for them, by how their names begin; all others are CVAT's.
OWNERS = {
    "projectmonai/": (MONAI_LABEL, ("monailabel", "nvidia_container_toolkit")),
    "monailabel": (MONAI_LABEL, ("monailabel",)),
    "caddy": (EDGE, ("edge",)),
    "endolab-edge": (EDGE, ("edge",)),
}
CVAT_SERVER, MONAI_LABEL_SERVER = "cvat-server-1", "monailabel"
CVAT_WORKER = re.compile(r"cvat-worker_\w+-1")

NO_TASK = "no task at work"

ROLE = re.compile(r"/roles/([^/]+)/")
ASKED = re.compile(r'^(\S+) .*"(?:GET|HEAD) /v2/(\S+)/manifests/\S+ HTTP/[\d.]+" 200 ', re.MULTILINE)
PHASE = re.compile(r"^(\S+) .*\(endolab_loop\.loop:\d+\) - (retrying|scoring|uploading|annotating)$", re.MULTILINE)
SCORED = re.compile(r"^(\S+) .*EPISTEMIC:: \{.*'executed': (\d+), 'latency': ([\d.]+)\}", re.MULTILINE)

# Shorter ones share a line of the picture.
SHORT = 1.0


def measure(tell: Callable[[str], None]) -> Result:
    """Makes a bare host, has site.yml run, and takes the host away; raises RunError."""
    for verb in ("destroy", "create", "prepare"):
        command(["molecule", verb, "--scenario-name", SCENARIO])
    tell(f"{HOST} is bare, and its images are in the registry; site.yml begins")
    try:
        with TemporaryDirectory() as folder, events_in(Path(folder, "events")) as events:
            begun = time.time()
            played = play()
            tell(f"site.yml is through after {time.time() - begun:.0f} s")
            await_first_task()
            pulled = command(["docker", "logs", "--timestamps", "--since", str(begun), REGISTRY])
            said = on_host("docker", "logs", "--timestamps", "monailabel")
            result = made_of(begun, played, events.read_text(encoding="utf-8"), pulled, said)
    finally:
        command(["molecule", "destroy", "--scenario-name", SCENARIO])
    for line in told(result):
        tell(line)
    return result


def command(words: list[str]) -> str:
    """Runs a command; returns what it says, on both channels. Raises RunError."""
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise failed(f"`{' '.join(words)}`", done.stdout.splitlines())
    return done.stdout


def on_host(*words: str) -> str:
    return command(["docker", "exec", HOST, *words])


@contextmanager
def events_in(path: Path) -> Iterator[Path]:
    """Has Docker's events on the host written to `path` as they come."""
    with path.open("w", encoding="utf-8") as file:
        following = subprocess.Popen(
            ["docker", "exec", HOST, "sh", "-c", FOLLOW], stdout=file, stderr=subprocess.DEVNULL
        )
        try:
            yield path
        finally:
            following.terminate()  # what it has started on the host ends with the host
            following.wait()


def play() -> str:
    """Runs site.yml; returns its events, one JSON a line. Raises RunError."""
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl"}
    done = subprocess.run(PLAY, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"site.yml failed on the bare host: {failure(done.stdout) or done.stderr.strip()}")
    return done.stdout


def failure(played: str) -> str:
    """What the last task that failed says; empty where none has."""
    said = ""
    for event in map(json.loads, played.splitlines()):
        if event["_event"] in ("v2_runner_on_failed", "v2_runner_on_unreachable"):
            said = "; ".join(f"{event['task']['name']}: {host.get('msg')}" for host in event["hosts"].values())
    return said


def await_first_task() -> None:
    """Waits until the loop waits for annotators; raises RunError where it does not come so far."""
    end = time.monotonic() + PATIENCE
    while (status := json.loads(on_host("curl", "-fsS", "http://127.0.0.1:8000/loop")))["phase"] != "annotating":
        if time.monotonic() > end:
            raise RunError(f"no task in CVAT {PATIENCE} s after site.yml; the loop says {status['error']}")
        time.sleep(BEAT)


# From what was said to spans.


def made_of(begun: float, played: str, events: str, pulled: str, said: str) -> Result:
    """The result, of site.yml's events, Docker's, the registry's requests and MONAI Label's log."""
    happened = [json.loads(line) for line in events.splitlines()]
    tasks = tasks_of(played, begun)
    phases = phases_of(said, begun)
    starts = starts_of(happened, begun)
    # The loop begins before the server is found healthy.
    first_step = replace(
        starts[MONAI_LABEL_SERVER], name=f"{MONAI_LABEL_SERVER}, to the loop's first step", end=phases[0].start
    )
    beside = [*pulls_of(pulled, happened, begun), *starts.values(), first_step, *phases]
    scored, frames = scored_of(said, begun)
    return summary(tasks, beside, scored, frames, end=phases[-1].end)


def clock(text: str, begun: float) -> float:
    """A time of ISO 8601 in seconds from the beginning."""
    return round(datetime.fromisoformat(text).timestamp() - begun, 3)


def tasks_of(played: str, begun: float) -> list[Span]:
    """The tasks in their order, those too that were skipped, each until its last host was done."""
    found: dict[str, Span] = {}
    for event in map(json.loads, played.splitlines()):
        task = event.get("task", {"duration": {}})
        if "end" not in task["duration"]:
            continue
        role = match[1] if (match := ROLE.search(task["path"])) else ""
        actions = {host.get("action") for host in event["hosts"].values()}
        installs = not actions.isdisjoint(INSTALLERS)
        found[task["id"]] = Span(
            name=task["name"].rpartition(" : ")[2],
            part=PACKAGES if installs else PART_OF_ROLE.get(role, HOST_PART),
            start=clock(task["duration"]["start"], begun),
            end=clock(task["duration"]["end"], begun),
            role=role,
            waits="ansible.builtin.async_status" in actions,
            irreducible=installs,
        )
    return sorted(found.values(), key=lambda task: task.start)


def owner(name: str) -> tuple[str, tuple[str, ...]]:
    return next((owner for start, owner in OWNERS.items() if name.startswith(start)), (CVAT, ("cvat",)))


def pulls_of(pulled: str, events: Iterable[dict[str, Any]], begun: float) -> list[Span]:
    """The images, each from the registry's first request to Docker's first word that it is there.

    The one that took longest is irreducible. Raises RunError where there is none, or one that the registry was not
    asked for.
    """
    asked: dict[str, float] = {}
    for at, name in ASKED.findall(pulled):
        asked.setdefault(name, clock(at, begun))
    spans: dict[str, Span] = {}
    for event in events:
        if event["Action"] == "pull":
            name = event["Actor"]["Attributes"]["name"].partition("/")[2]
            if name not in asked:
                raise RunError(f"the registry has no request for {name}, so that its pull has no beginning")
            end = round(event["timeNano"] / 1e9 - begun, 3)
            spans.setdefault(name, Span(name, IMAGES, asked[name], end, awaited_by=owner(name)[1]))
    if not spans:
        raise RunError(f"Docker has pulled no image, so that {HOST} was not bare")
    longest = max(spans.values(), key=lambda span: span.seconds)
    return [replace(span, irreducible=span is longest) for span in spans.values()]


def starts_of(events: Iterable[dict[str, Any]], begun: float) -> dict[str, Span]:
    """The containers whose health is looked after, each from its first start to its first sign of health.

    Raises RunError where a server is not among them.
    """
    started: dict[str, float] = {}
    spans: dict[str, Span] = {}
    for event in events:
        name, at = event["Actor"]["Attributes"].get("name", ""), round(event["timeNano"] / 1e9 - begun, 3)
        if event["Action"] == "start":
            started.setdefault(name, at)
        elif event["Action"] == "health_status: healthy" and name in started:
            part, roles = owner(name)
            shown = f"{'cvat-worker_*' if CVAT_WORKER.fullmatch(name) else name} starts"
            one = Span(shown, part, started[name], at, awaited_by=roles, irreducible=name == CVAT_SERVER)
            spans.setdefault(name, one)
    if missing := {CVAT_SERVER, MONAI_LABEL_SERVER} - set(spans):
        raise RunError(f"Docker's events do not say when {' and '.join(sorted(missing))} started and was healthy")
    return spans


def phases_of(said: str, begun: float) -> list[Span]:
    """What the loop did until its first task was there, each until the next; raises RunError where none came."""
    found = [(clock(at, begun), phase) for at, phase in PHASE.findall(said)]
    end = next((number for number, (_, phase) in enumerate(found) if phase == "annotating"), 0)
    if not end:
        raise RunError("MONAI Label's log does not say when the loop scored and uploaded; see PHASE in first_run.py")
    return [Span(found[n][1], LOOP, found[n][0], found[n + 1][0]) for n in range(end)]


def scored_of(said: str, begun: float) -> tuple[Span, int]:
    """The first scoring, from its first frame to its last, and of how many frames; raises RunError."""
    if not (found := SCORED.search(said)):
        raise RunError("MONAI Label's log does not say how long the scoring took; see SCORED in first_run.py")
    end = clock(found[1], begun)
    return Span("the frames are scored", LOOP, round(end - float(found[3]), 3), end, irreducible=True), int(found[2])


# From spans to figures.


def summary(tasks: list[Span], beside: list[Span], scored: Span, frames: int, end: float) -> Result:
    """`scored` is inside of a phase of the loop, and so not on the path by itself."""
    must = [span for span in [*tasks, *beside, scored] if span.irreducible]
    path = critical_path(tasks, beside, end)
    return {
        "seconds": end,
        "frames": frames,
        "irreducible": {
            "packages": total(span for span in must if span.part == PACKAGES),
            "largest image": total(span for span in must if span.part == IMAGES),
            "CVAT's server, with its migrations": total(span for span in must if span.part == CVAT),
            "scoring of the frames": total(span for span in must if span.part == LOOP),
        },
        "none of them at work": round(end - covered(must), 3),
        NO_TASK: round(end - covered(tasks), 3),
        "critical path": [
            {
                "name": each.span.name if each.span else NO_TASK,
                "part": each.span.part if each.span else HOST_PART,
                "start": each.start,
                "end": each.end,
            }
            for each in path
        ],
        "tasks": [asdict(task) for task in tasks],
        "beside": [asdict(span) for span in [*beside, scored]],
    }


def total(spans: Iterable[Span]) -> float:
    return round(sum(span.seconds for span in spans), 3)


def told(result: Result) -> Iterator[str]:
    """The critical path, what is short of it as one line, and the ten longest tasks."""
    yield "critical path, in its order:"
    short = 0.0
    for each in result["critical path"]:
        seconds = each["end"] - each["start"]
        if seconds < SHORT:
            short += seconds
        else:
            yield line(each, seconds, result)
    yield line({"name": f"what took less than {SHORT:.0f} s", "part": "all"}, short, result)
    yield "longest tasks:"
    for task in sorted(result["tasks"], key=lambda task: task["start"] - task["end"])[:10]:
        yield line(task, task["end"] - task["start"], result)


def line(what: dict[str, Any], seconds: float, result: Result) -> str:
    return f"{seconds:8.1f} s {seconds / result['seconds']:5.0%}  {what['part']}: {what['name']}"


def rows(result: Result) -> list[Row]:
    must = result["irreducible"]
    return [
        Row("first run, s", result["seconds"], compared=False),
        *(Row(f"{name}, s", seconds, compared=False) for name, seconds in must.items()),
        Row("first run/sum of these four", result["seconds"] / sum(must.values()), goal=GOAL),
        Row("none of these four at work, s", result["none of them at work"], compared=False),
        Row(f"{NO_TASK}, s", result[NO_TASK], compared=False),
    ]


def strips(result: Result) -> dict[str, list[Strip]]:
    """The picture's lines by part; what is short shares one, at the part's end."""
    found: dict[str, dict[str, Strip]] = {part: {} for part in PARTS}

    def strip(what: dict[str, Any]) -> Strip:
        name = what["name"] if (what["part"], what["name"]) in long else "shorter ones"
        return found[what["part"]].setdefault(name, Strip(name))

    spans = sorted([*result["tasks"], *result["beside"]], key=lambda span: span["start"])
    long = {(span["part"], span["name"]) for span in spans if span["end"] - span["start"] >= SHORT}
    for span in spans:
        strip(span).add(span["start"], span["end"], "floor" if span["irreducible"] else "endolab")
    for each in result["critical path"]:
        if each["name"] != NO_TASK:
            strip(each).path.append((each["start"], each["end"]))
    return {
        part: sorted(lines.values(), key=lambda each: each.name == "shorter ones")
        for part, lines in found.items() if lines
    }  # fmt: skip
