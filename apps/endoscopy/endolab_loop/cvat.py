"""CVAT as the loop needs it, through cvat-sdk: a project, its numbered tasks, their jobs and shapes.

Cures, of MONAI Label's own client: one page of each list, a Basic login with every call, no timeout, no look at what
a reply says, iterations compared as texts, downloads that CVAT has answered with 410 since 2.32.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import urllib3
from cvat_sdk import Client, Config, models
from cvat_sdk.api_client.exceptions import ApiException, OpenApiException, UnauthorizedException
from cvat_sdk.core.exceptions import BackgroundRequestException, CvatSdkException
from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction

from .annotators import Annotators
from .conf import Conf
from .shapes import Shape

Stage = Literal["uploading", "open", "done"]
P = ParamSpec("P")
T = TypeVar("T")

# Seconds: to connect, and for a reply; for a call with all that CVAT does in the background, in which it is asked
# about that in periods.
TIMEOUT = (5.0, 30.0)
DEADLINE = 120.0
DEADLINE_PER_FRAME = 5.0
STATUS_PERIOD = 1.0

# A reply that says "later" is asked for again, after 0.5 and 1 s, however much later it says: a call has its deadline.
RETRIES = urllib3.Retry(
    total=2,
    read=0,
    other=0,
    status_forcelist=(502, 503, 504),
    backoff_factor=0.5,
    raise_on_status=False,
    respect_retry_after_header=False,
)

logging.getLogger("cvat_sdk").setLevel(logging.WARNING)
logger = logging.getLogger(__name__)


class CvatError(Exception):
    """What CVAT did not do, and what mends it, as two sentences that stay the same while the fault does."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what
        self.remedy = remedy


class Gone(CvatError):
    """CVAT itself says that there is no such thing any more."""


class Unfit(CvatError):
    """The task is there, and is none that this can be done to."""


@dataclass(frozen=True)
class Task:
    """A task of the loop: `stage` and `iteration` are in its name, `size` is its number of frames."""

    id: int
    name: str
    iteration: int
    stage: Stage
    size: int


@dataclass(frozen=True)
class AnnotatedFrame:
    """A frame of a task as its annotator left it; `deleted` where he has taken it out."""

    name: str
    width: int
    height: int
    deleted: bool
    shapes: list[Shape]


@dataclass(frozen=True)
class Untouched:
    """What of a task nobody has worked on: of its frames those without shapes, in jobs that are not completed.

    labels: the names of its labels.
    frames: the names of these frames.
    others: how many frames there are beside them.
    """

    labels: frozenset[str]
    frames: list[str]
    others: int


def _call(doing: str) -> Callable[[Callable[Concatenate[Cvat, P], T]], Callable[Concatenate[Cvat, P], T]]:
    """Makes a method one call to CVAT: logged in, within a deadline, its faults as CvatError."""

    def decorate(method: Callable[Concatenate[Cvat, P], T]) -> Callable[Concatenate[Cvat, P], T]:
        @functools.wraps(method)
        def call(self: Cvat, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                self.allow(DEADLINE)
                try:
                    self.log_in()
                    return method(self, *args, **kwargs)
                except UnauthorizedException:
                    # The session has ended, or the password is another now.
                    self.log_out()
                    self.log_in()
                    return method(self, *args, **kwargs)
            except (ApiException, OpenApiException, CvatSdkException, urllib3.exceptions.HTTPError) as error:
                raise self.fault(doing, error) from error
            except (ValueError, AssertionError) as error:
                logger.debug("not understood", exc_info=True)
                raise self.stranger() from error

        return call

    return decorate


class Cvat:
    """One project at `url`, with the account that `credentials` gives whenever a login is needed.

    `alive` is called with every request, so that a long upload does not look like a loop that hangs.
    """

    def __init__(
        self, url: str, credentials: Callable[[], tuple[str, str]], conf: Conf, alive: Callable[[], None]
    ) -> None:
        self.url = url.rstrip("/")
        self.conf = conf
        self._credentials = credentials
        self._alive = alive
        self._user = ""
        self._client: Client | None = None
        self._until = 0.0
        self._name = re.compile(rf"(?:(DONE|UPLOADING)_)?{re.escape(conf.cvat_task_prefix)}_(\d+)")

    # What the loop asks.

    @_call("show the project")
    def project(self, known: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The project's id and creation time: the `known` one while it is there, else the one of that name.

        Raises CvatError where two have the name.
        """
        if known:
            try:
                found = self.client.projects.retrieve(known["id"])
                if str(found.created_date) == known["created"]:
                    return dict(known)
            except ApiException as error:
                if not self._gone(error):
                    raise
        name = self.conf.cvat_project
        named = [each for each in self.client.projects.list(name=name) if each.name == name]
        if len(named) > 1:
            numbers = " and ".join(str(each.id) for each in named)
            raise CvatError(f"CVAT has two projects {name!r} ({numbers})", "rename one of them in CVAT")
        return {"id": named[0].id, "created": str(named[0].created_date)} if named else None

    @_call("make the project")
    def make_project(self) -> dict[str, Any]:
        made = self.client.projects.create({"name": self.conf.cvat_project, "labels": self.conf.cvat_labels})
        return {"id": made.id, "created": str(made.created_date)}

    @_call("list the tasks")
    def tasks(self, project: int) -> list[Task]:
        """The project's tasks that carry the loop's prefix and a number, by number."""
        found = []
        for each in self.client.tasks.list(project_id=project):
            if name := self._name.fullmatch(each.name):
                stage: Stage = {None: "open", "DONE": "done", "UPLOADING": "uploading"}[name[1]]  # type: ignore[assignment]
                found.append(Task(each.id, each.name, int(name[2]), stage, _size(each)))
        return sorted(found, key=lambda task: (task.iteration, task.id))

    @_call("make a task")
    def make_task(self, project: int, iteration: int) -> int:
        """Makes a task that is recognisably unfinished until it is opened; returns its id."""
        self._labels(self.client.projects.retrieve(project), "add it in CVAT, or mend cvat_labels")
        spec = {"name": f"UPLOADING_{self._numbered(iteration)}", "project_id": project, "subset": "Train"}
        if self.conf.cvat_segment_size:
            spec["segment_size"] = self.conf.cvat_segment_size
        return int(self.client.tasks.create(spec).id)

    @_call("take in the frames")
    def upload(self, task: int, files: Sequence[Path]) -> None:
        """Uploads `files` and waits until CVAT has made frames of them."""
        self.allow(DEADLINE + DEADLINE_PER_FRAME * len(files))
        quality = {"image_quality": self.conf.cvat_image_quality}
        self.client.tasks.retrieve(task).upload_data(files, params=quality)

    @_call("take pre-annotations")
    def preannotate(self, task: int, shapes: Mapping[str, Sequence[Shape]]) -> dict[str, int]:
        """Adds these shapes, as made by a model, to the frames of those names that nobody has worked on meanwhile.

        Returns how many were added to each frame that got any.
        """
        found = self.client.tasks.retrieve(task)
        labels = {label.name: label.id for label in found.get_labels()}
        meta = found.get_meta()
        frames, touched = meta.frames, _touched(found, meta)
        request = [
            models.LabeledShapeRequest(
                type=models.ShapeType(shape.type),
                label_id=labels[shape.label],
                frame=number,
                points=[float(value) for value in shape.points],
                source="auto",
            )
            for number, frame in enumerate(frames)
            if number not in touched
            for shape in shapes.get(frame.name, ())
        ]
        if request:
            found.update_annotations(
                models.PatchedLabeledDataRequest(shapes=request), action=AnnotationUpdateAction.CREATE
            )
        return Counter(frames[shape.frame].name for shape in request)

    @_call("rename the task")
    def rename(self, task: int, iteration: int, stage: Literal["open", "done"]) -> None:
        """Shows the task to annotators (open), or says that its labels have been taken (done)."""
        name = ("DONE_" if stage == "done" else "") + self._numbered(iteration)
        self.client.tasks.retrieve(task).update({"name": name})

    @_call("delete an unfinished task")
    def delete(self, task: int) -> None:
        self.client.tasks.retrieve(task).remove()

    @_call("list the jobs")
    def jobs(self, task: int) -> tuple[int, int]:
        """How many jobs of a task are completed, and how many there are.

        Of the state of each job, because the task's own status waits for the stage "acceptance".
        """
        return _progress(self.client.tasks.retrieve(task))

    @_call("assign the jobs")
    def deal(self, task: int, annotators: Annotators, first: int) -> list[str]:
        """Assigns each job that waits for somebody to the annotator who has fewest, beginning with number `first`.

        Who is assigned a job sees it, and in it no other's. Returns the names of those whom CVAT does not know.
        """
        names = list(annotators.present)
        turn = first % len(names) if names else 0
        willing, unknown = names[turn:] + names[:turn], []
        jobs = _jobs(self.client.tasks.retrieve(task))
        load = Counter(job.assignee.id for job in jobs if job.assignee)
        for job in jobs:
            if str(job.state) == "completed" or (job.assignee and job.assignee.id not in annotators.left):
                continue
            while willing:
                name = min(willing, key=lambda each: load[annotators.present[each]])
                try:
                    job.update({"assignee": annotators.present[name]})
                except ApiException as error:
                    if error.status != 400:
                        raise
                    willing.remove(name)
                    unknown.append(name)
                else:
                    load[annotators.present[name]] += 1
                    break
        return unknown

    @_call("show the frames")
    def frames(self, task: int) -> list[str]:
        return [frame.name for frame in self.client.tasks.retrieve(task).get_meta().frames]

    @_call("give the annotations")
    def annotations(self, task: int) -> list[AnnotatedFrame]:
        """Every frame of a task with its shapes; a track counts on each frame from a keyframe to the next.

        Raises CvatError where a label is gone, and what was drawn with it, so that no frame seems to show nothing.
        """
        self.allow(DEADLINE * 5)
        found = self.client.tasks.retrieve(task)
        meta, annotations = found.get_meta(), found.get_annotations()
        # After what is drawn, because a label may be deleted meanwhile.
        labels = self._labels(found, "put its jobs in progress, add it in CVAT, and let them be annotated anew")
        drawn: list[list[Shape]] = [[] for _ in meta.frames]

        for frame, label, shape in _placed(annotations, len(drawn)):
            name = labels.get(label, f"label {label}")
            points = [float(value) for value in shape.points or ()]
            drawn[frame].append(Shape(name, str(shape.type), points, shape.z_order, shape.rotation))
        deleted = set(meta.deleted_frames)
        return [
            AnnotatedFrame(frame.name, frame.width, frame.height, number in deleted, drawn[number])
            for number, frame in enumerate(meta.frames)
        ]

    def _labels(self, owner: Any, remedy: str) -> dict[int, str]:
        """The labels of a project or task; raises CvatError where one is missing."""
        labels = {label.id: label.name for label in owner.get_labels()}
        if missing := [name for name in self.conf.label_map if name not in labels.values()]:
            raise CvatError(f"CVAT's project {self.conf.cvat_project!r} has no label {', '.join(missing)}", remedy)
        return labels

    # What people ask.

    @_call("list projects and tasks")
    def listing(self) -> dict[str, list[dict[str, Any]]]:
        """Every project and task that the account sees, the loop's or not, by number."""
        projects = [{"id": each.id, "name": each.name} for each in sorted(self.client.projects.list(), key=_number)]
        tasks = []
        for each in sorted(self.client.tasks.list(), key=_number):
            self.allow(DEADLINE)
            frames, (done, total) = _size(each), _progress(each)
            drawn = _drawn(each.get_annotations(), frames) if frames else ()
            tasks.append(
                {"id": each.id, "name": each.name, "project": each.project_name, "project_id": each.project_id}
                | {"frames": frames, "frames_with_shapes": len(drawn), "jobs": total, "jobs_done": done}
            )
        return {"projects": projects, "tasks": tasks}

    @_call("show the frames that nobody has worked on")
    def untouched(self, task: int) -> Untouched:
        """Raises Unfit where the task has no frames yet."""
        found = self.client.tasks.retrieve(task)
        name = self._name.fullmatch(found.name)
        if not _size(found) or (name and name[1] == "UPLOADING"):
            raise Unfit(f"CVAT's task {task} does not have all of its frames yet", "try again when it has them")
        meta = found.get_meta()
        touched = _touched(found, meta)
        names = [frame.name for frame in meta.frames]
        frames = [name for number, name in enumerate(names) if number not in touched]
        labels = frozenset(label.name for label in found.get_labels())
        return Untouched(labels, frames, len(names) - len(frames))

    # How it asks.

    @property
    def client(self) -> Client:
        assert self._client, "every call logs in first"
        return self._client

    def allow(self, seconds: float) -> None:
        """Gives the present call this long from now."""
        self._until = time.monotonic() + seconds

    def log_in(self) -> None:
        """Makes a session, unless there is one."""
        if self._client:
            return
        self._user, password = self._credentials()
        client = Client(self.url, config=Config(status_check_period=STATUS_PERIOD), check_server_version=False)
        rest = client.api_client.rest_client
        rest.pool_manager.connection_pool_kw["retries"] = RETRIES
        # The SDK has no timeout, and waits for ever for a worker that is dead.
        ask = rest.request

        @functools.wraps(ask)
        def request(*args: Any, **kwargs: Any) -> Any:
            self._alive()
            if time.monotonic() > self._until:
                raise urllib3.exceptions.TimeoutError
            return ask(*args, **{**kwargs, "_request_timeout": kwargs.get("_request_timeout") or TIMEOUT})

        rest.request = request
        if self.conf.cvat_organization:
            client.organization_slug = self.conf.cvat_organization
        try:
            client.login((self._user, password))
        except ApiException as error:
            if error.status in (400, 401) and self._told(error):
                raise self._refused() from error
            raise
        self._client = client

    def log_out(self) -> None:
        """Forgets the session."""
        if self._client:
            self._client.api_client.close()
        self._client = None

    def fault(self, doing: str, error: Exception) -> CvatError:
        """`error` as two sentences: dates and request numbers, which differ each time, are left out."""
        if isinstance(error, BackgroundRequestException):
            why = next(iter(str(error).strip().splitlines()), "it does not say why")
            return CvatError(f"CVAT could not {doing} ({why})", "see whether the frames can be opened")
        if isinstance(error, urllib3.exceptions.HTTPError):
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, urllib3.exceptions.SSLError):
                what = f"CVAT at {self.url} shows no certificate that is trusted here"
                return CvatError(what, "mend its certificate, or monailabel_cvat_ca")
            kind = type(reason).__name__
            return CvatError(f"CVAT at {self.url} does not answer ({kind})", "see that all of its services run")
        if not isinstance(error, ApiException):
            return self.stranger()
        if error.status == 401:
            return self._refused()
        told = self._told(error)
        if self._gone(error):
            return Gone(f"CVAT could not {doing} ({told})", "nothing has to be done")
        if error.status >= 500:
            return CvatError(f"CVAT at {self.url} answers {error.status}", "see that all of its services run")
        if not told:
            return self.stranger()
        if error.status == 403:
            return CvatError(
                f"CVAT does not let user {self._user!r} {doing}",
                "give him the project in CVAT, or mend cvat_organization",
            )
        return CvatError(f"CVAT did not {doing} ({error.status}: {told})", "mend what it names")

    def stranger(self) -> CvatError:
        return CvatError(
            f"what answers at {self.url} is not CVAT", "mend monailabel_cvat_url, or what stands in between"
        )

    def _refused(self) -> CvatError:
        return CvatError(
            f"CVAT at {self.url} refuses user {self._user!r}", "mend the vaulted password and run site.yml again"
        )

    def _gone(self, error: ApiException) -> bool:
        # A proxy in between has 404s of its own, and so has an organization that does not exist.
        return error.status == 404 and "matches the given query" in self._told(error)

    @staticmethod
    def _told(error: ApiException) -> str:
        """What CVAT says of a fault; empty where it is not CVAT that speaks."""
        try:
            said = json.loads(error.body)
        except (TypeError, ValueError):
            return ""
        return str(said.get("detail", said)) if isinstance(said, dict) else str(said)

    def _numbered(self, iteration: int) -> str:
        return f"{self.conf.cvat_task_prefix}_{iteration}"


def _number(item: Any) -> int:
    return int(item.id)


def _size(task: Any) -> int:
    """The number of a task's frames; CVAT leaves it out as long as there are none."""
    return getattr(task, "size", None) or 0


def _jobs(task: Any) -> list[Any]:
    """The jobs of annotators, without those that only measure quality."""
    return [job for job in task.get_jobs() if str(job.type) == "annotation"]


def _progress(task: Any) -> tuple[int, int]:
    states = [str(job.state) for job in _jobs(task)]
    return states.count("completed"), len(states)


def _placed(annotations: Any, frames: int) -> Iterator[tuple[int, int, Any]]:
    """Frame, label and shape of whatever is drawn; a track counts on each frame from a keyframe to the next."""
    for shape in annotations.shapes:
        yield shape.frame, shape.label_id, shape
    for track in annotations.tracks:
        keys = sorted(track.shapes, key=lambda key: key.frame)
        for key, after in zip(keys, [*(key.frame for key in keys[1:]), frames], strict=True):
            if not key.outside:
                for frame in range(key.frame, after):
                    yield frame, track.label_id, key


def _touched(task: Any, meta: Any) -> set[int]:
    """The numbers of the frames that somebody has worked on."""
    found = _drawn(task.get_annotations(), len(meta.frames)) | set(meta.deleted_frames)
    for job in _jobs(task):
        # Somebody has found that there is nothing on a frame of a completed job.
        if str(job.state) == "completed":
            found.update(range(job.start_frame, job.stop_frame + 1))
    return found


def _drawn(annotations: Any, frames: int) -> set[int]:
    return {frame for frame, _, _ in _placed(annotations, frames)}
