"""Work of the import and export workers."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import rq
from django.conf import settings
from django.db import close_old_connections, transaction
from django.utils import timezone
from PIL import Image
from redis import Redis

from .models import Data, Frame, Job, Request, Task
from .rendering import MASKS, images, masks


def queues() -> Redis:
    return Redis(**settings.QUEUES)


def raw(data: Data) -> Path:
    """Where the frames of a task lie."""
    folder: Path = settings.DATA / "data" / str(data.id) / "raw"
    return folder


def enqueue(queue: str, work: Callable[[str], None], request: Request) -> None:
    """Hands the request to the workers of a queue; it waits there while they are dead."""
    rq.Queue(queue, connection=queues()).enqueue(work, request.id, job_id=uuid4().hex, result_ttl=0, failure_ttl=60)


def do(number: str, work: Callable[[Request], None]) -> None:
    """Does a request's work, and keeps how it ended for whoever polls it."""
    close_old_connections()
    request = Request.objects.get(id=number)
    request.status, request.started_date = "started", timezone.now()
    request.save()
    try:
        with transaction.atomic():
            work(request)
        request.status = "finished"
    except Exception as fault:  # whatever happened, the client must learn of it
        request.status, request.message = "failed", "".join(traceback.format_exception_only(fault))
    request.finished_date = timezone.now()
    request.save()


def load_frames(request: Request) -> None:
    """Reads the uploaded pictures, in the order of their names, and cuts them into jobs."""
    task = request.task
    assert task.data is not None
    names = sorted(path.relative_to(raw(task.data)).as_posix() for path in raw(task.data).rglob("*") if path.is_file())
    for number, name in enumerate(names):
        with Image.open(raw(task.data) / name) as picture:
            picture.verify()
            Frame.objects.create(data=task.data, number=number, name=name, width=picture.width, height=picture.height)
    size = task.segment_size or len(names)
    for first in range(0, len(names), size):
        Job.objects.create(task=task, start_frame=first, stop_frame=min(first + size, len(names)) - 1)
    task.data.size = len(names)
    task.data.save()
    task.segment_size = size
    task.save()


def export(request: Request) -> None:
    """Writes the archive that the client then downloads."""
    folder: Path = settings.DATA / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{uuid4().hex}.zip"
    file.write_bytes((masks if request.format == MASKS else images)(request.task))
    request.result = str(file)


def create_task(number: str) -> None:
    do(number, load_frames)


def export_task(number: str) -> None:
    do(number, export)


def task_with_frames(task: Task) -> Data:
    """The task's data, made when it has none."""
    if task.data is None:
        task.data = Data.objects.create()
        task.save()
    return task.data
