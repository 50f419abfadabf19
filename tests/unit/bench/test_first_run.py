"""What the bench makes of a first run: spans of what was said, their overlap, the critical path, and the picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from bench import first_run
from bench.results import Result
from bench.run import first_run_picture
from bench.second_run import RunError
from bench.timeline import Segment, Span, covered, critical_path

BEGUN = 1795893533.0  # 2026-11-28T19:18:53Z
ROLES = "/checkout/collections/ansible_collections/endolab/active_learning/roles"


def at(seconds: float) -> str:
    minutes, rest = divmod(53 + seconds, 60)
    return f"2026-11-28T19:{18 + minutes:02.0f}:{rest:09.6f}Z"


def task(name: str, where: str, start: float, end: float, action: str = "ansible.builtin.stat") -> list[dict[str, Any]]:
    """The two events of a task in what site.yml says."""
    shown = {"id": f"{where}-{start}", "name": name, "path": f"{where}:3", "duration": {"start": at(start)}}
    done = {**shown, "duration": {"start": at(start), "end": at(end)}}
    return [
        {"_event": "v2_playbook_on_task_start", "hosts": {}, "task": shown},
        {"_event": "v2_runner_on_ok", "hosts": {"endolab-test": {"action": action}}, "task": done},
    ]


def lines(events: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


# A first run, cut short: the pull of MONAI Label's image begins in the background, and is waited for much later.
PLAYED = lines(
    [
        {"_event": "v2_playbook_on_play_start", "play": {"name": "Give every host Docker"}},
        *task(
            "endolab.active_learning.docker_engine : Docker is installed",
            f"{ROLES}/docker_engine/tasks/install.yml", 1, 6, "ansible.builtin.apt",
        ),
        *task("The images are on their way", "/checkout/playbooks/images.yml", 6, 6.5, "ansible.builtin.command"),
        *task("endolab.active_learning.cvat : The services are up", f"{ROLES}/cvat/tasks/services.yml", 6.5, 16),
        *task("endolab.active_learning.monailabel : The image is there", f"{ROLES}/monailabel/tasks/image.yml", 16, 21),
        *task("endolab.active_learning.monailabel : The server runs", f"{ROLES}/monailabel/tasks/server.yml", 21, 27),
        {"_event": "v2_playbook_on_stats", "stats": {}},
    ]
)  # fmt: skip


def event(action: str, name: str, seconds: float) -> dict[str, Any]:
    return {
        "Action": action,
        "Actor": {"Attributes": {"name": name}},
        "timeNano": int((BEGUN + seconds) * 1e9),
    }


EVENTS = [
    event("pull", "registry:5000/cvat/server", 9.5),
    event("pull", "registry:5000/cvat/server", 9.6),  # of another service
    event("start", "cvat-server-1", 10),
    event("start", "cvat-worker_import-1", 10),
    event("health_status: healthy", "cvat-worker_import-1", 14),
    event("health_status: healthy", "cvat-server-1", 15.5),
    event("pull", "registry:5000/projectmonai/monailabel", 20.5),
    event("start", "monailabel-probe", 20.6),
    event("start", "monailabel", 22),
    event("health_status: healthy", "monailabel", 26.5),
    event("health_status: healthy", "cvat-server-1", 40),  # after another word in between
]


def request(name: str, seconds: float, tag: str = "latest", status: int = 200) -> str:
    return (
        f'{at(seconds)} 172.18.0.3 - - [-] "HEAD /v2/{name}/manifests/{tag} HTTP/1.1" {status} 947 "" "docker/28.5.2"\n'
    )


PULLED = (
    f"{at(6.2)} time=\"-\" level=error http.request.uri=\"/v2/\"\n"
    + request("projectmonai/monailabel", 6.25)
    + request("cvat/server", 7)
    + request("cvat/server", 7.3, tag="sha256:0f5")
)  # fmt: skip

SAID = f"""\
{at(22.5)} [-] [7] [MainThread] [INFO] (uvicorn.error:62) - Application startup complete.
{at(25)} [-] [7] [loop] [INFO] (endolab_loop.loop:369) - scoring
{at(29)} [-] [24] [MainThread] [INFO] (epistemic_v2:118) - EPISTEMIC:: Total unlabeled images: 24; max_samples: 0
{at(31)} [-] [24] [MainThread] [INFO] (epistemic_v2:162) - EPISTEMIC:: {{'total': 24, 'skipped': 0, 'executed': 24, 'latency': 1.5}}
{at(32)} [-] [7] [loop] [INFO] (endolab_loop.loop:369) - uploading
{at(33)} [-] [7] [loop] [INFO] (endolab_loop.loop:369) - annotating
{at(99)} [-] [7] [loop] [INFO] (endolab_loop.loop:369) - scoring
"""  # noqa: E501


def recorded() -> Result:
    made: Result = json.loads(json.dumps(first_run.made_of(BEGUN, PLAYED, lines(EVENTS), PULLED, SAID)))
    return made


# Spans.


def test_tasks_have_the_part_of_their_role_and_packages_are_irreducible() -> None:
    installed, begun, up, *_ = first_run.tasks_of(PLAYED, BEGUN)
    assert (installed.name, installed.part, installed.start, installed.end) == ("Docker is installed", "packages", 1, 6)
    assert (installed.irreducible, begun.irreducible, up.irreducible) == (True, False, False)
    assert [(each.part, each.role) for each in (begun, up)] == [("the host", ""), ("CVAT", "cvat")]


def test_a_task_lasts_until_its_last_host_is_done() -> None:
    first, second = (task("It is there", "/checkout/playbooks/a.yml", 1, end) for end in (2, 5))
    assert [each.seconds for each in first_run.tasks_of(lines([*first, second[1]]), BEGUN)] == [4]


def test_a_task_without_a_result_is_none() -> None:
    (begun, _) = task("The handlers run", "/checkout/playbooks/a.yml", 1, 2)
    assert first_run.tasks_of(lines([begun]), BEGUN) == []


def test_a_pull_lasts_from_the_first_request_to_the_first_word_and_the_longest_is_irreducible() -> None:
    pulls = {span.name: span for span in first_run.pulls_of(PULLED, EVENTS, BEGUN)}
    assert {name: (span.start, span.end) for name, span in pulls.items()} == {
        "cvat/server": (7, 9.5),
        "projectmonai/monailabel": (6.25, 20.5),
    }
    assert [name for name, span in pulls.items() if span.irreducible] == ["projectmonai/monailabel"]


def test_a_request_that_was_refused_begins_no_pull() -> None:
    with pytest.raises(RunError, match="no request for cvat/server"):
        first_run.pulls_of(request("cvat/server", 1, status=404), EVENTS[:1], BEGUN)


def test_a_host_that_pulls_nothing_was_not_bare() -> None:
    with pytest.raises(RunError, match="was not bare"):
        first_run.pulls_of("", EVENTS[2:3], BEGUN)


def test_a_container_starts_until_it_is_first_healthy() -> None:
    starts = first_run.starts_of(EVENTS, BEGUN)
    assert {name: (span.name, span.start, span.end, span.irreducible) for name, span in starts.items()} == {
        "cvat-worker_import-1": ("cvat-worker_* starts", 10, 14, False),
        "cvat-server-1": ("cvat-server-1 starts", 10, 15.5, True),
        "monailabel": ("monailabel starts", 22, 26.5, False),
    }


def test_a_server_that_events_lack_is_named() -> None:
    with pytest.raises(RunError, match="when cvat-server-1 started"):
        first_run.starts_of(EVENTS[7:], BEGUN)


def test_the_loop_s_phases_end_with_its_first_task() -> None:
    assert [(span.name, span.start, span.end) for span in first_run.phases_of(SAID, BEGUN)] == [
        ("scoring", 25, 32),
        ("uploading", 32, 33),
    ]


def test_a_log_without_phases_or_scores_is_not_taken_for_a_quick_one() -> None:
    with pytest.raises(RunError, match="see PHASE"):
        first_run.phases_of("", BEGUN)
    with pytest.raises(RunError, match="see SCORED"):
        first_run.scored_of("", BEGUN)


def test_what_failed_is_told_of_the_last_failure() -> None:
    failed = task("It is there", "/checkout/playbooks/a.yml", 1, 2)[1] | {"_event": "v2_runner_on_failed"}
    failed["hosts"]["endolab-test"]["msg"] = "the disk is full"
    assert first_run.failure(PLAYED + lines([failed])) == "It is there: the disk is full"
    assert first_run.failure(PLAYED) == ""


# How it is measured.


def test_the_host_is_taken_away_even_if_site_yml_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def fail() -> str:
        raise RunError("site.yml failed")

    monkeypatch.setattr(first_run, "command", commands.append)
    monkeypatch.setattr(first_run, "FOLLOW", "exit")
    monkeypatch.setattr(first_run, "HOST", "no-such-host")
    monkeypatch.setattr(first_run, "play", fail)
    with pytest.raises(RunError, match=r"site\.yml failed"):
        first_run.measure(lambda _: None)
    assert [verb for _, verb, *_ in commands] == ["destroy", "create", "prepare", "destroy"]


def test_the_first_task_is_there_when_the_loop_waits_for_annotators(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        json.dumps({"phase": phase, "error": None}) for phase in ("scoring", "uploading", "annotating", "training")
    ]
    monkeypatch.setattr(first_run, "on_host", lambda *_: answers.pop(0))
    monkeypatch.setattr(first_run, "BEAT", 0)
    first_run.await_first_task()
    assert len(answers) == 1


def test_a_loop_that_makes_no_task_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    error = {"what": "CVAT does not answer", "remedy": "see that all of its services run"}
    monkeypatch.setattr(first_run, "on_host", lambda *_: json.dumps({"phase": "retrying", "error": error}))
    monkeypatch.setattr(first_run, "PATIENCE", 0)
    with pytest.raises(RunError, match="CVAT does not answer"):
        first_run.await_first_task()


# Overlap.


def span(name: str, start: float, end: float, **of: Any) -> Span:
    return Span(name, "CVAT", start, end, **of)


def test_what_is_at_work_twice_is_counted_once() -> None:
    assert covered([span("a", 0, 4), span("b", 2, 5), span("c", 2.5, 3), span("d", 7, 8)]) == 6


# The critical path.


def names(path: list[Segment]) -> list[tuple[str, float, float]]:
    return [(each.span.name if each.span else "nothing", each.start, each.end) for each in path]


def test_a_path_leads_through_a_pull_that_was_waited_for_and_not_through_what_ran_meanwhile() -> None:
    tasks = [span("begin", 0, 2), span("meanwhile", 2, 10), span("wait", 10, 16, role="monailabel")]
    pull = span("pull", 1.5, 15, awaited_by=("monailabel",))
    assert names(critical_path(tasks, [pull], 16)) == [("begin", 0, 1.5), ("pull", 1.5, 15), ("wait", 15, 16)]


def test_a_pull_that_nobody_waited_for_is_not_on_the_path() -> None:
    tasks = [span("begin", 0, 2), span("install", 2, 10, role="docker_engine"), span("use", 10, 11, role="monailabel")]
    pull = span("pull", 1.5, 8, awaited_by=("monailabel",))
    assert [name for name, *_ in names(critical_path(tasks, [pull], 11))] == ["begin", "install", "use"]


def test_a_task_that_only_waits_waits_for_any_pull() -> None:
    tasks = [span("begin", 0, 2), span("wait", 2, 10, waits=True)]
    pull = span("pull", 1, 9, awaited_by=("monailabel",))
    assert names(critical_path(tasks, [pull], 10)) == [("begin", 0, 1), ("pull", 1, 9), ("wait", 9, 10)]


def test_a_path_says_where_only_the_controller_worked() -> None:
    tasks = [span("one", 1, 2), span("other", 3, 4)]
    assert names(critical_path(tasks, [], 4)) == [("nothing", 0, 1), ("one", 1, 2), ("nothing", 2, 3), ("other", 3, 4)]


def test_a_path_fills_the_run_whatever_overlaps() -> None:
    path = recorded()["critical path"]
    assert [each["start"] for each in path] == [0, *(each["end"] for each in path[:-1])]
    assert path[-1]["end"] == 33


# A first run.


def test_the_recorded_run_s_path_begins_with_docker_and_leads_through_the_largest_image_to_the_loop() -> None:
    path = [(each["name"], each["end"] - each["start"]) for each in recorded()["critical path"]]
    assert path == [
        ("no task at work", 1),
        ("Docker is installed", 5),
        ("The images are on their way", 0.25),
        ("projectmonai/monailabel", 14.25),
        ("The image is there", 0.5),
        ("The server runs", 1),
        ("monailabel, to the loop's first step", 3),
        ("scoring", 7),
        ("uploading", 1),
    ]


def test_the_ratio_is_of_the_whole_to_the_four_that_must_be() -> None:
    result = recorded()
    assert result["irreducible"] == {
        "packages": 5,
        "largest image": 14.25,
        "CVAT's server, with its migrations": 5.5,
        "scoring of the frames": 1.5,
    }
    assert (result["seconds"], result["frames"]) == (33, 24)
    ratio = next(row for row in first_run.rows(result) if row.goal)
    assert ratio.value == pytest.approx(33 / 26.25)
    assert ratio.met()
    assert result["none of them at work"] == pytest.approx(33 - 5 - 14.25 - 1.5)  # CVAT's start is within the pull
    assert result["no task at work"] == pytest.approx(33 - 26)


def test_the_path_is_told_with_shares_and_what_is_short_as_one() -> None:
    said = list(first_run.told(recorded()))
    path = said[1 : said.index("longest tasks:")]
    assert path[1] == "     5.0 s   15%  packages: Docker is installed"
    assert path[-1] == "     0.8 s    2%  all: what took less than 1 s"
    assert said[said.index("longest tasks:") + 1].endswith("CVAT: The services are up")


def test_short_tasks_of_a_part_share_a_line_and_a_bar() -> None:
    result = recorded()
    short = [{"name": f"{n}", "part": "CVAT", "start": n, "end": n + 0.95, "irreducible": False} for n in range(3)]
    strips = first_run.strips({**result, "tasks": short, "beside": [], "critical path": []})
    assert {part: [(each.name, each.bars) for each in lines] for part, lines in strips.items()} == {
        "CVAT": [("shorter ones", [(0, 2.95, "endolab")])]
    }


def test_the_picture_has_every_part_and_tells_the_irreducible_apart() -> None:
    strips = first_run.strips(recorded())
    assert list(strips) == ["the host", "packages", "images", "CVAT", "MONAI Label", "the loop"]
    grey = {each.name for lines in strips.values() for each in lines if any(how == "floor" for *_, how in each.bars)}
    assert grey == {
        "Docker is installed",
        "projectmonai/monailabel",
        "cvat-server-1 starts",
        "the frames are scored",
    }
    found = {each.text for each in ET.fromstring(first_run_picture(recorded())).iter() if each.text}
    assert {"images", "The services are up", "9.5", "critical path", "30 s"} <= found
