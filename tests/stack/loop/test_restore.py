"""The lab's host is reinstalled, and one command brings its archive back; these tests come after those of the loop."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.archive import known_to_cvat, numbers, sums
from tests.stack.common import SERVICES, healthy, wait_until
from tests.stack.lab import STUDIES, Lab

Play = Callable[..., subprocess.CompletedProcess[str]]

REPOSITORY = "/mnt/backup/endolab"


def test_a_lab_that_holds_something_is_not_written_over(lab: Lab, play: Play) -> None:
    done = play("playbooks/restore.yml")
    assert done.returncode != 0
    assert "Nothing was changed" in done.stdout
    assert "tasks in CVAT, which would be replaced" in " ".join(done.stdout.split())
    assert not lab.loop()["error"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backup_lab": "other"}, "It has some of endolab-loop; backup_lab names the lab"),
        ({"backup_password": "another password"}, "backup_password does not open the repository"),
        (
            {"restore_from": "01234567"},
            "has no archive 01234567 of endolab-loop; where a lab has several hosts, name a time instead. It has",
        ),
        ({"restore_from": "yesterday"}, "Write latest, an archive's id of 8 or 64 characters, or a time"),
        ({"backup_repository": ""}, "restore_from needs the repository"),
    ],
)
def test_what_cannot_be_brought_back_is_refused(play: Play, settings: dict[str, str], said: str) -> None:
    done = play("playbooks/restore.yml", "-e", json.dumps(settings))
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split()), done.stdout


def archive_of(container: Container) -> bytes:
    chunks, _ = container.get_archive(REPOSITORY)
    return b"".join(chunks)


@pytest.fixture(scope="module")
def reinstalled(play: Play, variables: dict[str, Any]) -> str:
    """A bare host of the same name, with the disk that the repository is on; what site.yml said to bring it back."""
    name = variables["inventory_hostname"]
    disk = archive_of(docker.from_env().containers.get(name))

    def run(*arguments: str) -> str:
        done = play(*arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    run("molecule/stand_ins/down.yml")
    run("molecule/stand_ins/up.yml")
    host = docker.from_env().containers.get(name)
    host.exec_run(["mkdir", "-p", str(Path(REPOSITORY).parent)])
    host.put_archive(str(Path(REPOSITORY).parent), disk)
    with tarfile.open(fileobj=io.BytesIO(disk)) as files:
        assert "endolab/config" in files.getnames()
    run("molecule/stand_ins/relay.yml")
    return run("site.yml", "-e", "restore_from=latest")


def test_one_command_brings_the_lab_back(reinstalled: str, lab: Lab, kept: Path) -> None:
    state = json.loads(kept.read_text(encoding="utf-8"))
    lab.annotating(3)
    known = known_to_cvat(lab.annotator().client)
    assert json.loads(json.dumps(known)) == state["cvat"]
    assert "rows as they were" in reinstalled


def test_every_frame_label_score_and_weight_is_what_it_was(reinstalled: str, host: Host, kept: Path) -> None:
    before = json.loads(kept.read_text(encoding="utf-8"))["files"]
    now = sums(host)
    assert {path: now.get(path) for path in before} == before


def test_the_database_is_as_it_once_was(reinstalled: str, lab: Lab, kept: Path) -> None:
    """Whoever writes while the archive is made finds all up to a moment, and nothing from after it."""
    before, after = json.loads(kept.read_text(encoding="utf-8"))["writes"]
    found = numbers(lab.annotator().client)
    assert found == list(range(len(found)))
    assert before <= len(found) <= after


def test_the_loop_goes_on(reinstalled: str, lab: Lab) -> None:
    lab.answer()
    assert lab.annotating(4)["frames"]["labelled"] == 38
    assert lab.file("loop/trainings/3-tooltracking.json")["iteration"] == 3


def test_it_is_all_there_and_a_second_run_changes_nothing(
    reinstalled: str, play: Play, host: Host, engine: docker.DockerClient
) -> None:
    wait_until(lambda: healthy(engine) == SERVICES, 120, "every container healthy")
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout.split("PLAY RECAP")[1], done.stdout
    assert host.run("find /srv/endolab /var/lib/docker/volumes -name '.endolab-*'").stdout == ""
    assert not host.file("/var/lib/endolab/backup/archive/database.dump").exists
    assert not host.file("/var/lib/endolab/backup/in_place.json").exists
    assert host.run("systemctl is-active endolab-backup.timer").stdout.strip() == "active"
    assert host.file(STUDIES).exists
