"""CVAT becomes a newer one, and stays what it was where that fails; on a new lab, or after the tests of the restore."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import docker
import pytest
from testinfra.host import Host

from tests.stack.archive import known_to_cvat, sums
from tests.stack.common import SERVICES, healthy
from tests.stack.lab import Lab

pytestmark = pytest.mark.long

Play = Callable[..., subprocess.CompletedProcess[str]]

UPGRADE = "playbooks/upgrade.yml"
DOOR = "https://127.0.0.1/api/server/about"


def version(host: Host) -> str:
    """What CVAT calls itself."""
    about = host.check_output("curl -fsS http://127.0.0.1:18080/api/server/about")
    return str(about.partition('"version":"')[2].partition('"')[0])


def known(lab: Lab, host: Host) -> tuple[dict[str, Any], dict[str, str]]:
    """All that the lab holds."""
    return known_to_cvat(lab.annotator().client), sums(host)


def rests(loop: dict[str, Any]) -> bool:
    """Whether people are waited for."""
    return bool(loop["phase"] in ("annotating", "waiting for frames") and not loop["error"])


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def test_a_newer_version_is_for_an_upgrade(play: Play, host: Host) -> None:
    done = play("site.yml", "-e", "endolab_cvat_version=2.73.0")
    assert done.returncode != 0
    assert "is of version 2.72.0, and endolab_cvat_version is 2.73.0. upgrade.yml migrates it" in said(done)
    assert version(host) == "2.72.0"


def test_an_upgrade_says_what_it_would_do(play: Play, host: Host, engine: docker.DockerClient) -> None:
    before = {each.id for each in engine.containers.list(all=True)}
    done = play(UPGRADE, "--check", "-e", "endolab_cvat_version=2.73.0")
    assert done.returncode == 0, done.stdout
    assert "rescued=1" not in done.stdout, "It has failed on the way."
    assert "CVAT: 2.72.0 becomes 2.73.0" in done.stdout
    assert "cvat-server-1: registry:5000/cvat/server:v2.72.0 becomes registry:5000/cvat/server:v2.73.0" in done.stdout
    assert {each.id for each in engine.containers.list(all=True)} == before
    assert version(host) == "2.72.0"


def test_without_archives_nothing_is_upgraded(play: Play) -> None:
    done = play(UPGRADE, "-e", "endolab_cvat_version=2.73.0", "-e", "backup_repository=''")
    assert done.returncode != 0
    assert "An upgrade begins with an archive, and backup_repository is empty" in said(done)


@pytest.fixture(scope="module")
def upgraded(play: Play) -> str:
    """What the upgrade to 2.73.0 has said."""
    done = play(UPGRADE, "-e", "endolab_cvat_version=2.73.0")
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_an_upgrade_migrates_and_keeps_everything(
    play: Play, lab: Lab, host: Host, engine: docker.DockerClient, request: pytest.FixtureRequest
) -> None:
    lab.wait(300, "nothing is under way", rests)
    in_cvat, files = known(lab, host)
    request.getfixturevalue("upgraded")
    assert version(host) == "2.73.0"
    assert healthy(engine) == SERVICES
    now_in_cvat, now_files = known(lab, host)
    assert now_in_cvat == in_cvat
    assert {path: now_files.get(path) for path in files} == files
    migrations = "SELECT name FROM django_migrations WHERE app = 'cvat_stand_in' ORDER BY name"
    applied = host.check_output("docker exec cvat-db-1 psql -U cvat -d cvat -Atc %s", migrations).split()
    assert applied[-1] == "0002_find_shapes"
    assert not host.file("/var/lib/endolab/upgrade").exists
    assert host.run(f"curl -ks -o /dev/null -w '%{{http_code}}' {DOOR} -H 'Host: endolab-loop'").stdout != "503"


def test_the_loop_goes_on_with_the_new_version(upgraded: str, lab: Lab) -> None:
    """The task that was open before is answered; where it held the last frames, no other comes."""
    before = lab.loop()
    lab.answer()

    def goes_on(loop: dict[str, Any]) -> bool:
        return rests(loop) and bool(loop["frames"]["labelled"] > before["frames"]["labelled"])

    after = lab.wait(300, "its labels are taken and trained on", goes_on)
    assert after["training"][0]["iteration"] == before["iteration"]


def test_a_second_run_changes_nothing(upgraded: str, play: Play) -> None:
    done = play("site.yml", "-e", "endolab_cvat_version=2.73.0")
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout.split("PLAY RECAP")[1], done.stdout


@pytest.fixture
def killed_late(host: Host) -> None:
    """What an upgrade leaves that is killed after it has let people in: its archive is not what they have now."""
    oldest = json.loads(host.check_output("endolab-backup list"))[0]["archive"]
    host.check_output("mkdir --mode=0700 /var/lib/endolab/upgrade")
    host.check_output("tar --create --file /var/lib/endolab/upgrade/files.tar --files-from /dev/null")
    notes = json.dumps({"archive": oldest, "containers": ["monailabel"], "toolkit": ""})
    host.check_output("echo %s > /var/lib/endolab/upgrade/notes.json", notes)
    host.check_output("touch /var/lib/endolab/upgrade/opened")


def test_a_migration_that_fails_is_taken_back(
    upgraded: str, killed_late: None, play: Play, lab: Lab, host: Host, engine: docker.DockerClient
) -> None:
    in_cvat, files = known(lab, host)
    server = engine.containers.get("monailabel").id
    done = play(UPGRADE, "-e", "endolab_cvat_version=2.73.1", "-e", "cvat_start_timeout=90")
    assert done.returncode != 0
    assert "The upgrade has failed, and the lab runs as it did before (archive" in said(done), done.stdout
    assert "What failed: endolab-loop, The services do not get well" in said(done), done.stdout
    assert 'Its server says: django.db.utils.ProgrammingError: column "content"' in said(done), done.stdout
    assert version(host) == "2.73.0"
    assert healthy(engine) == SERVICES
    assert engine.containers.get("monailabel").id == server
    now_in_cvat, now_files = known(lab, host)
    assert now_in_cvat == in_cvat
    assert {path: now_files.get(path) for path in files} == files
    assert not host.file("/var/lib/endolab/upgrade").exists


def test_the_loop_goes_on_with_the_old_version(upgraded: str, lab: Lab) -> None:
    lab.turns_again()


def test_nobody_goes_back_in_place(upgraded: str, play: Play, host: Host) -> None:
    done = play(UPGRADE)
    assert done.returncode != 0
    assert "CVAT cannot migrate it back" in said(done)
    assert version(host) == "2.73.0"
