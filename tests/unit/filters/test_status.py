"""The status of a host: what is wrong with it, and how it looks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.filter.fleet_rows import fleet_rows
from ansible_collections.endolab.active_learning.plugins.filter.host_status import gpu, host_status, state
from ansible_collections.endolab.active_learning.plugins.filter.status_block import moment, status_block

UUID = "GPU-00000000-0000-4000-8000-000000000000"
HOST: dict[str, Any] = {
    "lock": None,
    "docker": {
        "binary": "/usr/bin/dockerd",
        "running": True,
        "manageable": True,
        "version": "28.5.2",
        "free_bytes": 63 * 2**30,
        "data_root": "/var/lib/docker",
    },
    "nvidia": {"driver_version": "580.95.05", "library_versions": ["580.95.05"], "gpus": [UUID]},
    "paths": {"/data/images": {"images": {"png": 50, "jpeg": 7}}},
}
PLACE = {
    "name": "",
    "container": "monailabel",
    "prefix": "monailabel_",
    "images_dir": "/data/images",
    "endolabs": True,
}
LOOP: dict[str, Any] = {
    "phase": "annotating",
    "since": "2026-11-25T11:50:00+00:00",
    "interval": 60,
    "alive_at": "2026-11-25T11:59:58+00:00",
    "polled_at": "2026-11-25T11:59:48+00:00",
    "next_try": "2026-11-25T12:00:48+00:00",
    "iteration": 3,
    "task": {
        "id": 7,
        "name": "ActiveLearning_Iteration_3",
        "url": "http://127.0.0.1:8080/tasks/7",
        "frames": 10,
        "jobs_done": 4,
        "jobs": 10,
    },
    "frames": {"total": 50, "labelled": 20, "scored": 29, "unreadable": 1, "discarded": 2},
    "training": [
        {
            "model": "tooltracking",
            "promoted": True,
            "why": "val_iou 0.7 is better",
            "epochs": 50,
            "seconds": 84.3,
        }
    ],
    "notes": [{"at": "2026-11-25T11:00:00+00:00", "what": "left out 1 times points Tool"}],
    "warning": None,
    "error": None,
    "healthy": True,
    "ailment": None,
}
SERVICES = ["cvat-server-1", "monailabel"]
URL = "http://127.0.0.1:8000/loop"


def containers(**statuses: str) -> list[dict[str, Any]]:
    return [{"Names": [f"/{name.replace('_', '-')}"], "Status": status} for name, status in statuses.items()]


def seen(**changes: Any) -> dict[str, Any]:
    """The status of a host where all is well, but for these changes of what was found."""
    found = {
        "host": HOST,
        "name": "gpu1",
        "at": "2026-11-25T13:00:00+00:00",
        "services": SERVICES,
        "containers": containers(
            cvat_server_1="Up 3 hours (healthy)", monailabel="Up 2 days (healthy)", other="Created"
        ),
        "gpu_wanted": True,
        "gpu_lines": [f"0, {UUID}, NVIDIA H100 PCIe, 3210 MiB, 81559 MiB, 97 %"],
        "loops": [(PLACE, with_loop())],
        "extensions": ["png", "jpg", "tif"],
    }
    status: dict[str, Any] = host_status(**{**found, **changes})
    return status


def alone(answer: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """A host's only MONAI Label, which answers this."""
    return [(PLACE, answer)]


def with_loop(**changes: Any) -> dict[str, Any]:
    return {"status": 200, "json": {**LOOP, **changes}, "date": "Wed, 25 Nov 2026 12:00:00 GMT", "url": URL}


def problems(**changes: Any) -> list[str]:
    """Each problem with its remedy."""
    status = seen(**changes)
    assert status["healthy"] is not bool(status["problems"])
    status_block(status)
    return [f"{each['what']}: {each['remedy']}" for each in status["problems"]]


def silence(status: int, msg: str) -> dict[str, Any]:
    return {"status": status, "msg": f"Status code was {status} and not [200]: {msg}", "url": URL}


def test_a_driver_that_was_updated_without_a_reboot_is_told() -> None:
    host = {**HOST, "nvidia": {**HOST["nvidia"], "library_versions": ["580.105.08"]}}
    (problem,) = seen(host=host, gpu_wanted=True)["problems"]
    assert problem["what"] == "the NVIDIA driver that runs is 580.95.05, and its libraries are 580.105.08"
    assert seen(host=host, gpu_wanted=False)["problems"] == []


@pytest.mark.parametrize(
    ("gpus", "lines", "rc", "what"),
    [
        ([UUID], 1, 0, None),
        ([UUID], 0, None, None),
        ([UUID], 0, 15, "nvidia-smi answers for 0 of the driver's 1 GPUs"),
        ([UUID, "GPU-2"], 1, 0, "nvidia-smi answers for 1 of the driver's 2 GPUs"),
        ([], 0, 6, "the NVIDIA driver has no GPU"),
        ([UUID], 1, 14, "nvidia-smi ends with 14"),
    ],
    ids=["there", "nvidia-smi is not installed", "lost", "one of two is lost", "none", "another fault"],
)
def test_a_gpu_that_is_gone_is_told(gpus: list[str], lines: int, rc: int | None, what: str | None) -> None:
    host = {**HOST, "nvidia": {**HOST["nvidia"], "gpus": gpus}}
    line = f"0, {UUID}, NVIDIA H100 PCIe, 3210 MiB, 81559 MiB, 97 %"
    found = {"host": host, "gpu_lines": [line] * lines, "gpu_rc": rc}
    assert [each["what"] for each in seen(**found)["problems"]] == ([what] if what else [])
    assert seen(**found, gpu_wanted=False)["problems"] == []


def test_a_disk_that_is_nearly_full_is_told() -> None:
    host = {**HOST, "docker": {**HOST["docker"], "free_bytes": 3 * 2**30}}
    (problem,) = seen(host=host)["problems"]
    assert problem["what"] == "3.0 GiB are left on the disk of /var/lib/docker"
    warning = "4.2 GiB are left on the disk of /studies; the loop stops below 1"
    (problem,) = seen(loops=alone(with_loop(warning=warning)))["problems"]
    assert (problem["what"], problem["remedy"]) == (warning, "make room")


def test_people_are_shown_the_door_that_is_theirs() -> None:
    def task(**changes: Any) -> Any:
        (instance,) = seen(**changes)["instances"]
        return instance["loop"]["task"]

    assert task()["url"] == "http://127.0.0.1:8080/tasks/7"
    assert task(door="https://lab:8443")["url"] == "https://lab:8443/tasks/7"
    assert task(loops=alone(with_loop(task=None)), door="https://lab") is None


REFUSED = silence(-1, "Request failed: <urlopen error [Errno 111] Connection refused>")


def test_it_is_one_screen() -> None:
    assert status_block(seen()).splitlines() == [
        "gpu1 at 2026-11-25T12:00:00+00:00: all is well",
        "loop        annotating since 2026-11-25T11:50:00+00:00 (10 min ago)",
        "iteration   3",
        "frames      50 in all, 29 scored, 20 labelled, 27 left, 1 unreadable, 2 discarded",
        "task        ActiveLearning_Iteration_3, 4 of 10 jobs done",
        "            http://127.0.0.1:8080/tasks/7",
        "last poll   2026-11-25T11:59:48+00:00 (12 s ago), next 2026-11-25T12:00:48+00:00 (in 48 s)",
        "training    tooltracking: new weights taken (val_iou 0.7 is better); 50 epochs in 84.3 s",
        "note        left out 1 times points Tool, 2026-11-25T11:00:00+00:00 (60 min ago)",
        "services    2 healthy",
        "GPU         0: NVIDIA H100 PCIe, 3210 of 81559 MiB in use, 97 % busy",
        "Docker      28.5.2, 63.0 GiB free in /var/lib/docker",
    ]


def test_the_time_is_the_hosts_own_where_it_says_it() -> None:
    assert seen()["at"] == "2026-11-25T12:00:00+00:00"
    assert seen(loops=alone(REFUSED))["at"] == "2026-11-25T13:00:00+00:00"


def test_a_host_without_monai_label_has_no_loop_to_show() -> None:
    status = seen(services=["cvat-server-1"], gpu_wanted=False, loops=[])
    assert status["instances"] == []
    assert status_block(status).splitlines()[1:3] == ["services    1 healthy", "GPU         none is to be used"]


def test_a_host_that_cannot_be_reached_is_shown_as_that() -> None:
    assert problems(host=None) == ["gpu1 cannot be reached: see what Ansible says of it"]
    assert seen(host=None)["reachable"] is False


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"running": False}, "Docker does not run: `systemctl start docker` on the host"),
        ({"running": False, "binary": None}, "Docker is not installed: run site.yml"),
        ({"manageable": False}, "the host lacks the Python library requests, so Docker cannot be asked: run site.yml"),
    ],
)
def test_without_docker_nothing_else_is_a_problem(changes: dict[str, Any], problem: str) -> None:
    host = {**HOST, "docker": {**HOST["docker"], **changes}}
    assert problems(host=host, containers=None, loops=alone(REFUSED)) == [problem]
    assert set(seen(host=host, containers=None)["services"].values()) == {"unknown"}


def test_services_that_are_down_are_named_by_what_mends_them() -> None:
    assert problems(containers=containers(cvat_server_1="Exited (137) 5 minutes ago"), loops=alone(REFUSED)) == [
        "monailabel is missing: run site.yml",
        "cvat-server-1 is stopped: `docker start cvat-server-1` on the host; `docker logs cvat-server-1` says why",
    ]
    assert problems(
        containers=containers(monailabel="Restarting (1) 2 seconds ago", cvat_server_1="Up 1 s (unhealthy)")
    ) == [
        "monailabel is restarting: see `docker logs monailabel` on the host",
        "cvat-server-1 is unhealthy: see `docker logs cvat-server-1` on the host",
    ]
    both = containers(monailabel="Exited (0) 1 hour ago", cvat_server_1="Exited (0) 1 hour ago")
    assert problems(containers=both, loops=alone(REFUSED))[0].startswith(
        "cvat-server-1, monailabel are stopped: `docker start cvat"
    )


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("Up 3 hours (healthy)", "healthy"),
        ("Up 3 hours (unhealthy)", "unhealthy"),
        ("Up 2 seconds (health: starting)", "starting"),
        ("Up 3 hours", "running"),
        ("Up 3 hours (Paused)", "paused"),
        ("Exited (0) 2 days ago", "stopped"),
        ("Created", "never started"),
        ("Restarting (1) 5 seconds ago", "restarting"),
    ],
)
def test_a_containers_state_is_one_word(status: str, word: str) -> None:
    assert state(status) == word


def test_a_server_that_runs_and_is_silent_is_a_problem() -> None:
    assert problems(loops=alone(REFUSED)) == [
        f"MONAI Label does not answer at {URL} (Connection refused): see `docker logs monailabel` on the host"
    ]
    assert f"loop        MONAI Label does not answer at {URL} (Connection refused)" in status_block(
        seen(loops=alone(REFUSED))
    )


def test_an_app_without_a_loop_is_a_problem_only_where_there_should_be_one() -> None:
    nothing = silence(404, "HTTP Error 404: Not Found")
    assert problems(loops=alone(nothing)) == [
        "the app on the host is another than this Endolab has, without a loop to see: run site.yml"
    ]
    upstream = [({**PLACE, "endolabs": False}, nothing)]
    assert problems(loops=upstream) == []
    assert "the app is not Endolab's" in status_block(seen(loops=upstream))


def test_the_loops_last_error_comes_with_what_to_do() -> None:
    error = {
        "what": "CVAT is away",
        "remedy": "start it",
        "whose": "CVAT",
        "since": "2026-11-25T11:00:00+00:00",
        "times": 9,
    }
    ailing = with_loop(phase="retrying", error=error, ailment="CVAT is away: start it")
    assert problems(loops=alone(ailing)) == ["CVAT is away: start it"]
    assert status_block(seen(loops=alone(ailing))).splitlines()[:3] == [
        "gpu1 at 2026-11-25T12:00:00+00:00: 1 problem",
        "problem     CVAT is away; 9 times since 2026-11-25T11:00:00+00:00 (60 min ago)",
        "  remedy    start it",
    ]
    once = status_block(seen(loops=alone(with_loop(error={**error, "times": 1}))))
    assert "problem     CVAT is away; since 2026-11-25T11:00:00+00:00 (60 min ago)" in once
    assert len(problems(loops=alone(with_loop(error=error, ailment="the loop's thread has not shown itself")))) == 2


def test_a_loop_that_has_only_begun_is_shown_with_the_frames_that_are_there() -> None:
    begun = with_loop(
        phase="scoring", iteration=0, task=None, frames={}, training=[], notes=[], polled_at=None, next_try=None
    )
    assert status_block(seen(loops=alone(begun))).splitlines()[1:5] == [
        "loop        scoring since 2026-11-25T11:50:00+00:00 (10 min ago)",
        "iteration   0",
        "frames      50 there, not counted by the loop yet",
        "last poll   none yet",
    ]


def test_a_loop_that_works_has_no_next_poll() -> None:
    works = with_loop(phase="training", task=None, next_try="2026-11-25T11:59:48+00:00")
    assert "last poll   2026-11-25T11:59:48+00:00 (12 s ago)" in status_block(seen(loops=alone(works))).splitlines()


def test_gpus_are_shown_as_far_as_the_driver_tells() -> None:
    assert gpu(f"1, {UUID}, NVIDIA GB10, [N/A], [N/A], 3 %") == {
        "index": 1,
        "uuid": UUID,
        "name": "NVIDIA GB10",
        "memory_used_mib": None,
        "memory_total_mib": None,
        "busy_percent": 3,
    }
    warned = ["WARNING: infoROM is corrupted at gpu 0000:01:00.0", f"0, {UUID}, A100, 1 MiB, 2 MiB, [N/A]"]
    assert "GPU         0: A100, 1 of 2 MiB in use, ? % busy" in status_block(seen(gpu_lines=warned))
    assert f"GPU         0: {UUID}, driver 580.95.05" in status_block(seen(gpu_lines=[]))
    host = {**HOST, "nvidia": {"driver_version": None, "library_versions": [], "gpus": []}}
    assert problems(host=host, gpu_lines=[]) == ["no NVIDIA driver is loaded: install it, and reboot the host"]
    assert "GPU         no driver" in status_block(seen(host=host, gpu_lines=[]))


@pytest.mark.parametrize(
    ("said", "line", "problems"),
    [
        ({"last": None, "fault": None}, "archive     none yet", []),
        ({"last": None, "waited": 8, "fault": None}, "archive     none yet", []),
        ({"last": None, "waited": 9, "fault": None}, "archive     none yet", ["no archive was made in 9 days"]),
        (
            {"last": {"at": "2026-11-25T02:30:00+00:00", "days": 0}, "fault": None},
            "archive     2026-11-25T02:30:00+00:00 (9 h ago)",
            [],
        ),
        (
            {"last": {"at": "2026-11-16T02:30:00+00:00", "days": 9}, "fault": None},
            "archive     2026-11-16T02:30:00+00:00 (9 days ago)",
            ["the last archive is 9 days old"],
        ),
        (
            {"last": None, "fault": "the disk is full"},
            "archive     none yet",
            ["the last archive was not made: the disk is full"],
        ),
        ({}, "archive     none yet", ["the program that makes archives does not answer"]),
    ],
)
def test_archives_are_shown_and_missed(said: dict[str, Any], line: str, problems: list[str]) -> None:
    status = seen(archives=said)
    assert line in status_block(status)
    assert [each["what"] for each in status["problems"]] == problems


def test_it_shows_who_changes_the_host() -> None:
    since = "2026-11-25T11:50:00+00:00"
    lock = {"owner": "ann", "machine": "desk", "playbook": "site.yml", "since": since}
    status = seen(host={**HOST, "lock": lock})
    assert status["healthy"]
    line = f"lock        ann@desk is changing the host with site.yml since {since} (10 min ago)"
    assert line in status_block(status).splitlines()


def test_where_no_archives_are_made_none_are_shown() -> None:
    assert "archive" not in status_block(seen())


def test_long_lines_are_wrapped_and_links_are_not() -> None:
    what = "what the loop has said of it " * 8
    url = "https://cvat.example/tasks/" + "7" * 90
    block = status_block(
        seen(loops=alone(with_loop(notes=[{"at": LOOP["since"], "what": what}], task={**LOOP["task"], "url": url})))
    )
    assert f"            {url}" in block.splitlines()
    assert all(len(line) <= 100 or url in line for line in block.splitlines())


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-11-25T12:00:00+00:00", "0 s ago"),
        ("2026-11-25T11:58:01+00:00", "119 s ago"),
        ("2026-11-25T11:58:00+00:00", "2 min ago"),
        ("2026-11-25T07:00:00+00:00", "5 h ago"),
        ("2026-11-20T12:00:00+00:00", "5 days ago"),
        ("2026-11-25T12:01:00+00:00", "in 60 s"),
    ],
)
def test_times_are_shown_with_their_distance(time: str, shown: str) -> None:
    assert moment(time, "2026-11-25T12:00:00+00:00") == f"{time} ({shown})"


def test_a_fleet_has_a_line_for_each_host() -> None:
    two = [f"{number}, {UUID}, NVIDIA H100 PCIe, 3210 MiB, 81559 MiB, 97 %" for number in range(2)]
    failing = {**LOOP, "polled_at": None, "frames": {}, "ailment": "the loop has been silent " + "for long " * 20}
    rows = fleet_rows(
        [
            seen(gpu_lines=two),
            seen(name="gpu2", gpu_lines=[], loops=alone(with_loop(**failing)), containers=[]),
            seen(name="front", gpu_wanted=False, loops=[]),
            seen(name="gone", host=None),
        ]
    )
    assert rows[0] == {
        "host": "gpu1",
        "instance": None,
        "gpu": "2 x NVIDIA H100 PCIe, 81559 MiB",
        "driver": "580.95.05",
        "phase": "annotating",
        "iteration": 3,
        "scored": 29,
        "labelled": 20,
        "unlabelled": 27,
        "polled": "12 s ago",
        "problem": None,
    }
    assert rows[1] == {
        "host": "gpu2",
        "instance": None,
        "gpu": UUID,
        "driver": "580.95.05",
        "phase": "annotating",
        "iteration": 3,
        "polled": None,
        "problem": "cvat-server-1, monailabel are missing (and 1 more)",
    }
    assert rows[2] == {"host": "front", "instance": None, "gpu": None, "driver": None, "problem": None}
    assert rows[3] == {
        "host": "gone",
        "instance": None,
        "gpu": None,
        "driver": None,
        "problem": "gone cannot be reached",
    }
