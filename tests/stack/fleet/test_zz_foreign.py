"""A GPU host whose CVAT is somebody else's: the second one leaves the fleet, and is one more client of its CVAT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import certificate
from tests.stack.common import wait_until
from tests.stack.conftest import ROOT, run_playbook
from tests.stack.fleet.test_fleet import HEAD, HOSTS, TWO, Done, Json, Loop, Play, health, recap, running, tasks, words

INVENTORY = str(ROOT / "molecule/fleet/foreign")
CVAT = f"https://{HEAD}"
GUEST = Loop(TWO, "monailabel-guest", "guest", "0", "guest", "ActiveLearning_Iteration", "monailabel")
FRAMES = "/srv/endolab/datasets/guest/images"


@pytest.fixture(scope="module")
def guest(play: Play, variables: Json, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Runs a playbook on the host, which has left the fleet and has frames for a loop of its own."""
    done = play("playbooks/teardown.yml", "--limit", f"localhost,{TWO}")
    assert done.returncode == 0, done.stdout
    HOSTS[TWO].check_output(f"mkdir -p {FRAMES} && cp /srv/endolab/datasets/tools/images/*.png {FRAMES}")
    authority = tmp_path_factory.mktemp("foreign") / "ca.pem"
    root = "docker exec endolab-edge cat /data/caddy/pki/authorities/local/root.crt"
    authority.write_text(HOSTS[HEAD].check_output(root) + "\n", encoding="utf-8")
    given = {"cvat_service_password": variables["cvat_service_password"], "monailabel_cvat_ca": str(authority)}

    def run(playbook: str, *options: str, **changes: Any) -> Done:
        return run_playbook(INVENTORY, playbook, "-e", json.dumps({**given, **changes}), *options)

    return run


def containers() -> list[str]:
    return str(HOSTS[TWO].check_output("docker ps --all --format '{{.Names}}'")).split()


def test_a_certificate_that_another_authority_has_signed_is_refused(guest: Play, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(certificate(HEAD), encoding="utf-8")
    done = guest("site.yml", monailabel_cvat_ca=str(other))
    assert done.returncode != 0
    assert f"{TWO} does not trust the certificate of CVAT at {CVAT} (" in words(done.stdout), done.stdout
    assert containers() == [], "neither the fleet's nor its own"


def test_a_wrong_password_is_refused(guest: Play) -> None:
    done = guest("site.yml", cvat_service_password="wrong")
    assert done.returncode != 0
    assert f"CVAT at {CVAT} does not let monailabel in." in words(done.stdout), done.stdout
    assert containers() == []


def test_its_loop_runs(guest: Play) -> None:
    done = guest("site.yml")
    assert done.returncode == 0, done.stdout
    assert containers() == [GUEST.container]
    assert health(GUEST) == "healthy"


def test_its_frames_are_asked_for_in_that_cvat(guest: Play, variables: Json) -> None:
    wait_until(lambda: bool(tasks(GUEST, variables)), 300, f"a task in project {GUEST.project}")
    (task,) = tasks(GUEST, variables)
    assert (task["name"], task["owner"]["username"]) == (f"{GUEST.prefix}_1", GUEST.owner)

    def shows_it() -> bool:
        shown = json.loads(HOSTS[TWO].check_output("curl -fsS http://127.0.0.1:8000/loop"))
        return bool(shown["phase"] == "annotating" and shown["task"]["id"] == task["id"])

    wait_until(shows_it, 60, "the loop waits for people")
    done = guest("playbooks/status.yml")
    assert done.returncode == 0, done.stdout
    assert f"{CVAT}/tasks/{task['id']}" in done.stdout


def test_all_of_it_is_there_and_a_canary_goes_round(guest: Play) -> None:
    done = guest("playbooks/verify.yml", "--tags", "all,loop")
    assert done.returncode == 0, done.stdout


def test_a_second_run_changes_nothing(guest: Play) -> None:
    before = running(TWO)
    done = guest("site.yml")
    assert done.returncode == 0, done.stdout
    assert recap(done)[TWO]["changed"] == 0, done.stdout
    assert running(TWO) == before


def test_a_teardown_leaves_that_cvat_alone(guest: Play, variables: Json) -> None:
    before = tasks(GUEST, variables)
    done = guest("playbooks/teardown.yml")
    assert done.returncode == 0, done.stdout
    assert containers() == []
    assert tasks(GUEST, variables) == before
