"""The loop against a running CVAT: every call of a round meets every fault, and the round ends as without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
from cvat_sdk import Client, Config, models
from cvat_sdk.core.proxies.tasks import Task
from endolab_loop import cvat as loops_cvat
from endolab_loop.annotators import Annotators
from endolab_loop.conf import Conf
from endolab_loop.cvat import Cvat, CvatError
from endolab_loop.loop import Frame, Loop
from endolab_loop.shapes import Shape, rasterise
from numpy.typing import NDArray
from PIL import Image

from tests.app.faulty import Fault, Faulty
from tests.stand_ins.deployment import ADMIN
from tests.stand_ins.deployment import Cvat as Deployment
from tests.unit.app.worlds import Killed

SIZE = (64, 48)
PASSWORD = "a long password"
TOOL = [5.0, 6.0, 30.0, 20.0]
SUGGESTED = [40.0, 30.0, 50.0, 40.0]

# The calls of a round, by what they are for.
CALLS: dict[str, tuple[str, str]] = {
    "log in": ("POST", "/api/auth/login"),
    "find the project": ("GET", "/api/projects?"),
    "make the project": ("POST", "/api/projects"),
    "see its labels": ("GET", "/api/labels"),
    "list the tasks": ("GET", "/api/tasks?"),
    "make the task": ("POST", "/api/tasks"),
    "upload the frames": ("POST", "/data/"),
    "wait for the upload": ("GET", "/api/requests/"),
    "suggest shapes": ("PATCH", "/annotations/"),
    "assign the jobs": ("PATCH", "/api/jobs/"),
    "open or close the task": ("PATCH", "/api/tasks/"),
    "count the jobs": ("GET", "/api/jobs"),
    "see the frames": ("GET", "/data/meta"),
    "collect the shapes": ("GET", "/annotations/"),
}


class Lab:
    """Frames as files, scores that stand still, and a trainer that counts."""

    def __init__(self, directory: Path, frames: int) -> None:
        self.files = {f"frame_{number}": directory / f"frame_{number}.png" for number in range(frames)}
        for number, file in enumerate(self.files.values()):
            Image.new("RGB", SIZE, (number, 0, 0)).save(file)
        self.labels: dict[str, NDArray[np.uint8]] = {}
        self.trained: list[int] = []

    def frames(self) -> dict[str, Frame]:
        return {
            name: Frame(file, name in self.labels, float(number))
            for number, (name, file) in enumerate(self.files.items())
        }

    def scores(self) -> bool:
        return True

    def score(self) -> None:
        raise AssertionError("everything is scored")

    def save_label(self, frame: str, label: NDArray[np.uint8]) -> None:
        self.labels[frame] = label

    def train(self, iteration: int) -> list[dict[str, Any]]:
        if iteration not in self.trained:
            self.trained.append(iteration)
        return [{"before": 0.1, "after": 0.2, "promoted": True}]

    def predict(self, frame: str) -> list[Shape]:
        return [Shape("Tool", "rectangle", SUGGESTED)]


class Site:
    """A loop on a project of its own, with the proxy between it and CVAT, and the person who annotates."""

    def __init__(self, directory: Path, deployment: Deployment, proxy: Faulty, frames: int = 2, **conf: Any) -> None:
        self.directory = directory
        self.lab = Lab(directory, frames)
        self.conf = Conf.model_validate(
            {
                "epistemic_enabled": True,
                "epistemic_top_k": 2,
                "cvat_project": directory.name,
                "cvat_labels": [{"name": "Tool"}],
                "cvat_preannotate": "always",
                **conf,
            }
        )
        self.proxy = proxy
        self.password = ADMIN[1]
        self.person = Client(deployment.url, config=Config(status_check_period=0.1), check_server_version=False)
        self.person.login(ADMIN)
        self.annotators = Annotators({ADMIN[0]: self.person.users.retrieve_current_user().id})
        self.requests = 0
        self.killed_at = -1
        self.restart()

    def restart(self) -> None:
        cvat = Cvat(self.proxy.url, lambda: (ADMIN[0], self.password), self.conf, self.count)
        self.loop = Loop(self.lab, cvat, self.conf, self.directory, lambda: self.annotators)

    def count(self) -> None:
        self.requests += 1
        if self.requests == self.killed_at:
            raise Killed

    def turn(self) -> float:
        try:
            return self.loop.turn()
        except Killed:
            self.restart()
            return 0

    def turns(self) -> None:
        """Turns until there is nothing to do at once."""
        for _ in range(12):
            if self.turn():
                return
        raise AssertionError(f"still busy: {self.loop.status}")

    def tasks(self) -> list[Any]:
        (project,) = self.person.projects.list(name=self.conf.cvat_project)
        return sorted(self.person.tasks.list(project_id=project.id), key=lambda task: int(task.id))

    def annotate(self) -> None:
        """Draws the tool on every frame of the open task and completes its jobs."""
        (task,) = [task for task in self.tasks() if task.name.startswith("ActiveLearning")]
        label = task.get_labels()[0].id
        for job in task.get_jobs():
            shape = models.LabeledShapeRequest(type="rectangle", label_id=label, frame=job.start_frame, points=TOOL)
            job.set_annotations(models.LabeledDataRequest(shapes=[shape]))
            job.update({"state": "completed"})

    def check(self) -> None:
        """The round is over: each frame labelled as drawn, trained on once, nothing left behind."""
        assert [task.name for task in self.tasks()] == ["DONE_ActiveLearning_Iteration_1"]
        assert self.lab.trained == [1]
        wanted = rasterise([Shape("Tool", "rectangle", TOOL)], *SIZE, {"Tool": 1})
        assert len(self.lab.labels) == 2
        assert all(np.array_equal(label, wanted) for label in self.lab.labels.values())
        assert self.loop.status["phase"] == "waiting for frames"
        assert self.loop.status["error"] is None


# Where nothing is held back, a machine that is busy is no fault.
PATIENT = loops_cvat.TIMEOUT


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for what does not come are short here."""
    monkeypatch.setattr(loops_cvat, "TIMEOUT", (1.0, 2.0))
    monkeypatch.setattr(loops_cvat, "RETRIES", loops_cvat.RETRIES.new(backoff_factor=0))
    monkeypatch.setattr(loops_cvat, "STATUS_PERIOD", 0.05)


@pytest.fixture
def proxy(cvat: Deployment) -> Iterator[Faulty]:
    with Faulty(cvat.url) as proxy:
        yield proxy


@pytest.fixture
def site(tmp_path: Path, cvat: Deployment, proxy: Faulty) -> Site:
    return Site(tmp_path, cvat, proxy)


def called(call: str) -> Callable[[str, str], bool]:
    wanted, part = CALLS[call]
    whole = part in ("/api/auth/login", "/api/projects", "/api/tasks")
    return lambda method, path: method == wanted and (path == part if whole else part in path)


def test_a_round_makes_the_calls_that_are_broken_below(site: Site) -> None:
    site.turns()
    (task,) = site.tasks()
    assert {str(shape.source) for shape in task.get_annotations().shapes} == {"auto"}
    site.annotate()
    site.turns()
    site.check()
    for call in CALLS:
        assert any(called(call)(*request) for request in site.proxy.requests), call


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_at_any_call_is_survived(
    site: Site, cvat: Deployment, call: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first `call` on the loop meets the fault for two turns; when that is over, it goes on by itself."""
    struck: list[str] = []

    def when(method: str, path: str) -> bool:
        hit = called(call)(method, path) or (bool(struck) and fault is not Fault.AFTER)
        if hit:
            struck.append(path)
        return hit

    def turns() -> None:
        """Until the fault has come or nothing is left to do: waits are so short that a busy machine is a fault, too."""
        for _ in range(5):
            site.turns()
            if struck or not site.loop.status["error"]:
                break

    site.proxy.break_with(fault, when)
    turns()
    if not struck:
        site.annotate()
        turns()
    assert struck, "the fault has come"
    if fault is not Fault.AFTER:  # a lost answer to a question is asked for again, and that is all
        assert site.loop.status["error"], "it has been seen"
    site.turn()
    site.proxy.heal()
    monkeypatch.setattr(loops_cvat, "TIMEOUT", PATIENT)
    site.turns()
    if site.loop.status["error"]:  # CVAT itself may not be done with what was broken off
        print(site.loop.status["error"], cvat.containers["server"].logs(tail=60).decode())
        site.turns()
    assert site.loop.status["error"] is None
    if site.loop.status["phase"] == "annotating":
        site.annotate()
        site.turns()
    site.check()


def test_the_process_may_end_before_any_request(
    tmp_path_factory: pytest.TempPathFactory, cvat: Deployment, proxy: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops_cvat, "TIMEOUT", PATIENT)
    reference = Site(tmp_path_factory.mktemp("reference"), cvat, proxy)
    reference.turns()
    reference.annotate()
    reference.turns()
    assert reference.requests > 30
    for number in range(1, reference.requests + 1):
        site = Site(tmp_path_factory.mktemp("killed"), cvat, proxy)
        site.killed_at = number
        site.turns()
        site.annotate()
        site.turns()
        site.check()


def test_a_changed_password_heals_without_a_restart(site: Site) -> None:
    site.turns()
    site.password = "another"
    site.loop.cvat.log_out()
    site.turn()
    assert site.loop.status["error"]["what"] == f"CVAT at {site.proxy.url} refuses user 'admin'"
    assert "vaulted password" in site.loop.status["error"]["remedy"]
    site.password = ADMIN[1]
    site.turn()
    assert site.loop.status["error"] is None


def test_a_dead_import_worker_is_waited_for_no_longer_than_the_deadline(
    site: Site, cvat: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops_cvat, "DEADLINE", 1.0)
    monkeypatch.setattr(loops_cvat, "DEADLINE_PER_FRAME", 0.1)
    cvat.containers["import"].pause()
    try:
        site.turn()
        assert "does not answer (TimeoutError)" in site.loop.status["error"]["what"]
    finally:
        cvat.containers["import"].unpause()
    monkeypatch.undo()
    site.turns()
    assert site.loop.status["phase"] == "annotating"


def test_frames_that_cvat_cannot_open_are_said_and_the_loop_goes_on_when_they_are_mended(site: Site) -> None:
    good = site.lab.files["frame_1"].read_bytes()
    site.lab.files["frame_1"].write_bytes(b"no picture")
    site.turn()
    assert "CVAT could not take in the frames" in site.loop.status["error"]["what"]
    site.lab.files["frame_1"].write_bytes(good)
    site.turns()
    assert site.loop.status["phase"] == "annotating"
    assert [task.name for task in site.tasks()] == ["ActiveLearning_Iteration_1"]


def test_a_project_beyond_the_first_page_is_found(site: Site) -> None:
    made = site.person.projects.create({"name": site.conf.cvat_project, "labels": site.conf.cvat_labels})
    newer = [site.person.projects.create({"name": f"newer {number}"}) for number in range(12)]
    try:
        assert site.loop.cvat.project(None) == {"id": made.id, "created": str(made.created_date)}
    finally:
        for project in newer:
            project.remove()


def test_two_projects_of_one_name_are_refused(site: Site) -> None:
    for _ in range(2):
        site.person.projects.create({"name": site.conf.cvat_project, "labels": site.conf.cvat_labels})
    with pytest.raises(CvatError, match="two projects"):
        site.loop.cvat.project(None)


def test_a_project_without_the_labels_is_refused(site: Site) -> None:
    site.person.projects.create({"name": site.conf.cvat_project, "labels": [{"name": "Other"}]})
    site.turn()
    assert "has no label Tool" in site.loop.status["error"]["what"]
    assert "cvat_labels" in site.loop.status["error"]["remedy"]


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_label_that_is_deleted_when_it_is_due_makes_no_empty_frames(
    site: Site, cvat: Deployment, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """CVAT deletes what was drawn with it, too, before what is drawn is fetched or right after."""
    site.turns()
    site.annotate()
    fetch = Task.get_annotations

    def fetch_without_label(task: Task) -> Any:
        shapes = fetch(task) if when == "while" else None
        gone = task.get_labels()[0].id
        code, said = cvat.manage(
            "server",
            "shell",
            "-c",
            "from cvat_stand_in.models import Annotation, Label\n"
            f"Annotation.objects.filter(content__label_id={gone}).delete()\nLabel.objects.get(id={gone}).delete()",
        )
        assert code == 0, said
        return shapes or fetch(task)

    with monkeypatch.context() as patched:
        patched.setattr(Task, "get_annotations", fetch_without_label)
        site.turn()
    assert "has no label Tool" in site.loop.status["error"]["what"]
    assert "annotated anew" in site.loop.status["error"]["remedy"]
    assert not site.lab.labels

    (task,) = [each for each in site.tasks() if each.name.startswith("ActiveLearning")]
    for job in task.get_jobs():
        job.update({"state": "in progress"})
    (project,) = site.person.projects.list(name=site.conf.cvat_project)
    project.update({"labels": [{"name": "Tool"}]})
    site.annotate()
    site.turns()
    site.check()


@pytest.mark.parametrize("size", [12, 25])
def test_every_job_of_a_large_task_counts(tmp_path: Path, cvat: Deployment, proxy: Faulty, size: int) -> None:
    site = Site(tmp_path, cvat, proxy, frames=size, epistemic_top_k=size)
    site.turns()
    (task,) = site.tasks()
    first, *others = task.get_jobs()
    for job in others:
        job.update({"state": "completed"})
    site.turns()
    assert site.loop.status["task"]["jobs_done"] == size - 1
    assert site.lab.labels == {}
    first.update({"state": "completed"})
    site.turns()
    assert len(site.lab.labels) == size


def person(cvat: Deployment, name: str) -> tuple[Client, int]:
    """Another user of CVAT."""
    client = Client(cvat.url, config=Config(status_check_period=0.1), check_server_version=False)
    account = {"username": name, "email": f"{name}@example.org", "password1": PASSWORD, "password2": PASSWORD}
    client.api_client.auth_api.create_register(models.RegisterSerializerExRequest(**account))
    client.login((name, PASSWORD))
    return client, client.users.retrieve_current_user().id


def test_each_annotator_sees_jobs_of_his_own(tmp_path: Path, cvat: Deployment, proxy: Faulty) -> None:
    site = Site(tmp_path, cvat, proxy, frames=5, epistemic_top_k=5)
    (ann, anns), (ben, bens) = person(cvat, "annika"), person(cvat, "benno")
    site.annotators = Annotators({"ann": anns, "nobody": 999999, "ben": bens})
    site.turns()
    (task,) = site.tasks()
    seen = {name: {job.id for job in client.jobs.list()} for name, client in (("ann", ann), ("ben", ben))}
    assert sorted(map(len, seen.values())) == [2, 3]
    assert seen["ann"].isdisjoint(seen["ben"])
    assert [each.id for each in ann.tasks.list()] == [each.id for each in ben.tasks.list()] == [task.id]
    assert site.loop.status["notes"][-1]["what"].startswith("CVAT knows no user nobody")

    done = next(job for job in ann.jobs.list())
    done.update({"state": "completed"})
    site.annotators = Annotators({"ben": bens}, left=frozenset({anns}))
    site.turns()
    assert {job.id for job in ann.jobs.list()} == {done.id}
    assert len(ben.jobs.list()) == 4


def test_in_an_organization(tmp_path: Path, cvat: Deployment, proxy: Faulty) -> None:
    site = Site(tmp_path, cvat, proxy, cvat_organization="lab")
    site.turn()
    assert site.loop.status["error"]["what"].startswith("CVAT did not show the project (404: lab organization")
    site.person.organizations.create({"slug": "lab"})
    site.turns()
    assert site.loop.status["phase"] == "annotating"
    site.person.organization_slug = "lab"
    (task,) = site.tasks()
    assert task.organization is not None


def test_hung_calls_do_not_hold_the_loop(site: Site) -> None:
    """The time that a call may take is the SDK's for ever, and ours."""
    site.proxy.break_with(Fault.HANG)
    with pytest.raises(CvatError) as caught:
        site.loop.cvat.tasks(1)
    assert isinstance(caught.value.__cause__, urllib3.exceptions.HTTPError)
