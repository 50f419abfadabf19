"""What a lab holds, to be compared with what an archive brings back; and somebody who writes all the time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from cvat_sdk import Client, models
from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction
from cvat_sdk.core.proxies.tasks import ResourceType
from testinfra.host import Host

from tests.stack.lab import STUDIES

APPS = "/srv/endolab/apps"
NUMBERED = "Somebody counts"


def sums(host: Host) -> dict[str, str]:
    """The SHA-256 of every frame, label, score and weight; what the server says of itself changes all the time."""
    listed = host.check_output(
        "find %s %s -type f -not -path '*/.training-*' -not -name '*.lock' -not -name status.json"
        " -not -name '*.log' -not -name '*.pyc' -exec sha256sum {} +",
        STUDIES,
        APPS,
    )
    return {line[66:]: line[:64] for line in listed.splitlines()}


def known_to_cvat(client: Client) -> dict[str, Any]:
    """Accounts, projects, tasks and what is drawn in them."""
    tasks = [task for task in client.tasks.list() if task.name != NUMBERED]
    return {
        "users": sorted(str(user.username) for user in client.users.list()),
        "projects": sorted((project.id, str(project.name)) for project in client.projects.list()),
        "tasks": {
            str(task.id): {
                "name": str(task.name),
                "frames": [frame.name for frame in task.get_frames_info()],
                "jobs": sorted((job.id, str(job.state)) for job in task.get_jobs()),
                "shapes": sorted(str(shape.points) for shape in task.get_annotations().shapes),
            }
            for task in tasks
        },
    }


class Scribe:
    """Somebody who draws rectangle after rectangle, each with its number, in a task of one frame, as long as this runs.

    written: how many CVAT has confirmed. longest: seconds that the slowest of them took.
    """

    def __init__(self, client: Client, frame: Path) -> None:
        self.client, self.written, self.longest = client, 0, 0.0
        self.stop = threading.Event()
        self.fault: Exception | None = None
        self.thread = threading.Thread(target=self._write)
        self.task = client.tasks.create({"name": NUMBERED, "labels": [{"name": "Number"}]})
        self.task.upload_data([str(frame)], resource_type=ResourceType.LOCAL)
        (self.job,), (self.label,) = self.task.get_jobs(), self.task.get_labels()

    def __enter__(self) -> Scribe:
        self.thread.start()
        while self.written < 5 and not self.fault:
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.task.remove()
        if self.fault:
            raise self.fault

    def _write(self) -> None:
        try:
            while not self.stop.is_set():
                started, number = time.monotonic(), float(self.written)
                shape = models.LabeledShapeRequest(
                    type="rectangle", label_id=self.label.id, frame=0, points=[number, 0.0, number + 1, 1.0]
                )
                self.job.update_annotations(
                    models.PatchedLabeledDataRequest(shapes=[shape]), action=AnnotationUpdateAction.CREATE
                )
                self.written += 1
                self.longest = max(self.longest, time.monotonic() - started)
        except Exception as fault:
            self.fault = fault


def numbers(client: Client) -> list[int]:
    """The numbers that Scribe's task shows."""
    (task,) = [task for task in client.tasks.list() if task.name == NUMBERED]
    return sorted(int(shape.points[0]) for shape in task.get_annotations().shapes)
