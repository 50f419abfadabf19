"""The canary goes round a running lab, and leaves it as it was, whatever happens to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import cvat, login, wait_until
from tests.stack.conftest import PLAIN, ROOT

Play = Callable[..., subprocess.CompletedProcess[str]]

CANARY = "monailabel-canary"
LOOP = ("playbooks/verify.yml", "--tags", "loop")

# What the lab writes while nobody does anything: its logs, its state, its databases, its health checks.
BUSY = (
    "/srv/endolab/apps/endoscopy/logs/app.log",
    "/srv/endolab/datasets/images/loop/status.json*",
    "/tmp/runc-process*",
    "/var/lib/docker/overlay2/*/*",
    "/var/lib/docker/volumes/cvat_db/_data/*",
    "/var/lib/docker/volumes/cvat_kvrocks/_data/*",
    "/var/lib/docker/volumes/cvat_redis/_data/*",
)


@dataclass(frozen=True)
class World:
    """What there is of everything that a canary could leave behind.

    cvat: every project and task. engine: containers, images, volumes and networks.
    files: what lies on the host; of files in the lab's own directories also size and date.
    """

    cvat: set[str]
    engine: set[str]
    files: set[str]

    def differences(self, other: World) -> set[str]:
        """What is there in one of two worlds only."""
        return (self.cvat ^ other.cvat) | (self.engine ^ other.engine) | (self.files ^ other.files)


def projects(host: Host, variables: dict[str, Any]) -> set[str]:
    """Each project of CVAT's, and each of its tasks."""
    found = cvat(host, variables, "projects?page_size=500")["results"]
    names = {each["id"]: f"{each['id']} {each['name']}" for each in found}
    tasks = cvat(host, variables, "tasks?page_size=500")["results"]
    return {*names.values(), *(f"{names.get(each['project_id'])}: {each['id']} {each['name']}" for each in tasks)}


def files(host: Host, directories: str, what: str) -> set[str]:
    but = " ".join(f"-path '{path}' -prune -o" for path in BUSY)
    found = host.check_output(f"find {directories} {but} -type d -printf '%p\\n' -o -printf '{what}\\n'")
    return set(found.splitlines())


@pytest.fixture
def look(host: Host, variables: dict[str, Any], engine: docker.DockerClient) -> Callable[[], World]:
    def world() -> World:
        containers = engine.containers.list(all=True, ignore_removed=True)
        things = [*containers, *engine.images.list(all=True), *engine.volumes.list(), *engine.networks.list()]
        return World(
            projects(host, variables),
            {str(each.id) for each in things} | {str(each.attrs["State"]["StartedAt"]) for each in containers},
            files(host, "/srv/endolab /etc/endolab", "%p %s %T@") | files(host, "/var/lib /tmp /dev/shm", "%p"),
        )

    return world


@pytest.fixture(autouse=True)
def resting(host: Host) -> None:
    """The lab's own loop waits for its annotators, so that nothing changes by itself."""

    def phase() -> str:
        return str(json.loads(host.run("curl -fsS http://127.0.0.1:8000/loop").stdout or "{}").get("phase"))

    wait_until(lambda: phase() == "annotating", 300, "the lab's own loop waits for annotators")


@pytest.fixture
def before(look: Callable[[], World]) -> World:
    return look()


@pytest.fixture
def playing(before: World, inventory: str, engine: docker.DockerClient) -> Iterator[subprocess.Popen[str]]:
    """A canary that is under way, and the ansible-playbook that has sent it."""
    playing = subprocess.Popen(
        ["ansible-playbook", "-i", inventory, *LOOP],
        cwd=ROOT,
        env=PLAIN,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield playing
    # Where a test has failed, the next one shall not meet its canary.
    if playing.poll() is None:
        os.killpg(playing.pid, signal.SIGTERM)
    playing.wait()
    for container in there(engine):
        container.stop()


def there(engine: docker.DockerClient) -> list[Container]:
    """The canary's container, where there is one."""
    return [each for each in engine.containers.list(all=True, ignore_removed=True) if each.name == CANARY]


def has_asked(host: Host, variables: dict[str, Any]) -> Callable[[], bool]:
    """Whether the canary has a task in CVAT, finished or not."""
    return lambda: any("UTC: " in name for name in projects(host, variables))


def text_of(output: str) -> str:
    """Ansible's output without the line breaks that it makes."""
    return re.sub(r"\s+", " ", output)


@pytest.fixture
def make(host: Host, variables: dict[str, Any]) -> Iterator[Callable[[str, str], None]]:
    """Makes empty projects in CVAT, by one of the accounts, and takes them away in the end."""
    url = f"http://127.0.0.1:{variables.get('edge_http_port', 8080)}/api/projects"
    kind, made = "Content-Type: application/json", []

    def call(who: str, name: str) -> None:
        body = json.dumps({"name": name, "labels": []})
        made.append(host.check_output("curl -fsS -u %s -H %s -d %s %s", login(variables, who), kind, body, url))

    yield call
    for each in made:
        host.run("curl -fsS -u %s -X DELETE %s/%s", login(variables, "admin"), url, str(json.loads(each)["id"]))


def test_it_goes_round_and_leaves_nothing(
    play: Play, make: Callable[[str, str], None], look: Callable[[], World]
) -> None:
    """It also takes away what an earlier one has left, and nothing that is somebody else's."""
    make("admin", "Endolab canary abcdef until 2020-01-01 00:00 UTC")
    make("service", "Endolab canary abcdef until 2999-01-01 00:00 UTC")
    make("service", "Endolab canary of a person's own")
    before = look()
    make("service", "Endolab canary fedcba until 2020-01-01 00:00 UTC")
    done = play(*LOOP)
    said = text_of(done.stdout)
    assert done.returncode == 0, said
    for step in ("server answers", "least sure of are in CVAT", "masks are drawn", "labels on disk", "1 epoch in"):
        assert step in said
    assert "nothing of it is left" in said
    assert "It is all there" not in said
    assert look().differences(before) == set()


@pytest.mark.long
def test_an_interrupted_playbook_changes_nothing_about_that(
    play: Play,
    look: Callable[[], World],
    before: World,
    playing: subprocess.Popen[str],
    host: Host,
    variables: dict[str, Any],
    engine: docker.DockerClient,
) -> None:
    """While it is under way, a second one is refused and does it no harm."""
    wait_until(has_asked(host, variables), 300, "the canary has a task in CVAT")
    second = play(*LOOP)
    assert second.returncode != 0
    assert f"its container {CANARY} is running. Wait until it has ended" in text_of(second.stdout)
    os.killpg(playing.pid, signal.SIGINT)
    assert playing.wait() != 0
    assert has_asked(host, variables)()
    wait_until(lambda: not there(engine), 600, "the canary has ended by itself")
    assert look().differences(before) == set()


def test_it_cleans_up_when_its_container_is_stopped(
    look: Callable[[], World],
    before: World,
    playing: subprocess.Popen[str],
    host: Host,
    variables: dict[str, Any],
    engine: docker.DockerClient,
) -> None:
    """Until then it has written to nothing but its memory, and shown no secret."""
    wait_until(has_asked(host, variables), 300, "the canary has a task in CVAT")
    (canary,) = there(engine)
    shown = json.dumps(canary.attrs) + json.dumps(canary.top()) + canary.logs().decode()
    assert str(variables["cvat_service_password"]).split()[0] not in shown
    assert not [mount for mount in canary.attrs["Mounts"] if mount["RW"]]
    (listed,) = engine.api.containers(filters={"name": f"^/{CANARY}$"}, size=True)
    assert listed.get("SizeRw", 0) == 0
    canary.stop()
    said = text_of(playing.communicate()[0])
    assert playing.returncode != 0
    assert "The canary has not gone round on" in said
    assert "it was stopped (SIGTERM) before" in said
    assert look().differences(before) == set()


def test_it_ends_with_its_time(play: Play, look: Callable[[], World], before: World) -> None:
    done = play(*LOOP, "-e", "verify_loop_timeout=3")
    assert done.returncode != 0
    assert "3 s have not been enough until MONAI Label's server answers" in text_of(done.stdout)
    assert look().differences(before) == set()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("monailabel_app_source=upstream", "The canary goes round with Endolab's endoscopy app, and"),
        ('{"monailabel_conf": {"models": ["deepedit"]}}', "monailabel_conf.models is deepedit"),
        ("verify_loop_timeout=soon", "verify_loop_timeout is soon. Write seconds"),
    ],
)
def test_what_it_cannot_go_round_with_is_refused(
    play: Play, engine: docker.DockerClient, setting: str, sentence: str
) -> None:
    done = play(*LOOP, "-e", setting)
    assert done.returncode != 0
    assert sentence in text_of(done.stdout)
    assert not there(engine)


def test_a_plain_verify_sends_none(play: Play, engine: docker.DockerClient) -> None:
    assert "A canary can go round here" not in play("playbooks/verify.yml", "--list-tasks").stdout
