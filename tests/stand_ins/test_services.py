"""The services around the API: health that is really looked at, workers that are really needed, manage.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker
import pytest

from tests.stand_ins.deployment import ENVIRONMENT, SERVER, Cvat, Http, healthy, wait_until
from tests.stand_ins.story import frames


@contextmanager
def stopped(cvat: Cvat, *names: str) -> Iterator[None]:
    """Stops containers for a while; they keep what they have."""
    for name in names:
        cvat.containers[name].stop(timeout=5)
    try:
        yield
    finally:
        for name in names:
            cvat.containers[name].start()
        wait_until(lambda: healthy(cvat, names), 30, "all is healthy again")


@pytest.mark.parametrize(
    ("service", "parts"),
    [
        ("redis", {"Cache backend: default"}),
        ("kvrocks", {"Cache backend: media"}),
        ("db", {"DatabaseBackend", "DatabaseBackend[default]"}),
        ("opa", {"OPAHealthCheck"}),
    ],
)
def test_health_names_the_part_that_is_gone(cvat: Cvat, service: str, parts: set[str]) -> None:
    with stopped(cvat, service):
        answer = cvat.health()
        assert answer.status_code == 500
        assert {name for name, state in answer.json().items() if state != "working"} == parts


def test_the_health_check_command_says_the_same(cvat: Cvat) -> None:
    assert cvat.manage("server", "health_check")[0] == 0
    with stopped(cvat, "opa"):
        assert cvat.manage("server", "health_check")[0] == 1


def test_without_workers_an_upload_is_accepted_and_waits(cvat: Cvat, client: Http) -> None:
    task = client.post("/api/tasks", json={"name": "waits", "labels": [{"name": "a"}]}).json()["id"]
    with stopped(cvat, "import", "export"):
        answer = client.post(f"/api/tasks/{task}/data", data={"image_quality": "70"}, files=frames(1))
        assert answer.status_code == 202
        request = f"/api/requests/{answer.json()['rq_id']}"
        assert client.get(request).json()["status"] == "queued"
        assert cvat.health().status_code == 200
    wait_until(lambda: client.get(request).json()["status"] == "finished", 30, "the upload is taken in")


@pytest.mark.parametrize(("expected", "code"), [("1", 0), ("2", 1)])
def test_the_probe_counts_the_workers(cvat: Cvat, expected: str, code: int) -> None:
    assert cvat.manage("export", "workerprobe", "export", "--expected-num-workers", expected)[0] == code


def test_the_probe_misses_workers_of_another_container(cvat: Cvat) -> None:
    assert cvat.manage("server", "workerprobe", "export", "--expected-num-workers", "1")[0] == 1


def test_the_first_superuser_is_an_administrator(client: Http) -> None:
    account = client.get("/api/users/self").json()
    assert (account["is_superuser"], account["groups"]) == (True, ["admin"])


def test_an_account_of_the_worker_group_may_not_make_projects(cvat: Cvat, client: Http) -> None:
    script = (
        "from django.contrib.auth.models import Group, User\n"
        "user = User.objects.create_user('helper', password='of a helper')\n"
        "user.groups.set([Group.objects.get_or_create(name='worker')[0]])\n"
    )
    code, output = cvat.manage("server", "shell", "-c", script)
    assert code == 0, output
    answer = client.post("/api/projects", json={"name": "refused"}, auth=("helper", "of a helper"))
    assert answer.status_code == 403


def test_two_database_passwords_are_refused(engine: docker.DockerClient) -> None:
    both = {**ENVIRONMENT, "CVAT_POSTGRES_PASSWORD_FILE": "/etc/hostname"}
    with pytest.raises(docker.errors.ContainerError, match="CVAT_POSTGRES_PASSWORD"):
        engine.containers.run(SERVER, ["init"], environment=both, remove=True)
