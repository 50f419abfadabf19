"""The loop on MONAI Label's server, for people and playbooks.

GET /loop                                  what the loop does
POST /loop                                 look at CVAT at once
GET /loop/tasks                            the projects and tasks in CVAT that the loop's account sees
POST /loop/tasks/{task}/preannotations     the model's own shapes for those frames that nobody has worked on

An error is answered as {"what": ..., "remedy": ...}, two sentences.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from . import health
from .cvat import Cvat, CvatError, Gone, Unfit
from .loop import Lab, LabError, Loop
from .shapes import Shape

logger = logging.getLogger(__name__)


def add_routes(
    server: Any, respond: Callable[[dict[str, Any], int], Any], loop: Loop, lab: Lab, cvat: Callable[[], Cvat]
) -> None:
    """Adds the loop's routes to the FastAPI application `server`, whose replies with a status `respond` makes.

    `lab` is not the loop's own and `cvat` makes clients, because requests run beside the loop's thread.
    """
    alone = threading.Lock()

    def show() -> dict[str, Any]:
        ailment = health.ailment(loop.status)
        return {**loop.status, "healthy": ailment is None, "ailment": ailment}

    def poll_now() -> dict[str, Any]:
        loop.poll_now()
        return show()

    def ask(question: Callable[[Cvat], dict[str, Any]]) -> Any:
        client = cvat()
        try:
            return question(client)
        except Exception as error:
            return respond(*explained(error))
        finally:
            client.log_out()

    def tasks() -> Any:
        return ask(lambda client: client.listing())

    def preannotations(task: int) -> Any:
        with alone:  # or two requests for one task would both find its frames empty
            return ask(lambda client: preannotate(client, lab, task))

    for path, method, answer, summary in (
        ("/loop", "GET", show, "What the loop does"),
        ("/loop", "POST", poll_now, "Look at CVAT now"),
        ("/loop/tasks", "GET", tasks, "Projects and tasks in CVAT"),
        ("/loop/tasks/{task}/preannotations", "POST", preannotations, "Put the model's own shapes into a task"),
    ):
        server.add_api_route(path, answer, methods=[method], summary=summary, tags=["Loop"])


def preannotate(cvat: Cvat, lab: Lab, task: int) -> dict[str, Any]:
    """Puts what the model sees into the frames of a task that nobody has worked on.

    Returns how many `frames` got how many `shapes`; how many were `left_alone`, because somebody has, or `empty`,
    because the model sees nothing there; and which ones are `unknown` to the studies. Raises CvatError.
    """
    try:
        found = cvat.untouched(task)
        if not found.labels.intersection(cvat.conf.label_map):
            labels = ", ".join(cvat.conf.label_map)
            raise Unfit(f"CVAT's task {task} has none of the labels {labels}", "choose a task of the loop's project")
        known = {frame.file.name: name for name, frame in lab.frames().items()}
        shapes: dict[str, list[Shape]] = {
            file: [shape for shape in lab.predict(known[file]) if shape.label in found.labels]
            for file in found.frames
            if file in known
        }
        added = cvat.preannotate(task, shapes)
    except Gone:
        raise Gone(f"CVAT has no task {task}", "choose one of those that GET /loop/tasks lists") from None
    logger.info("task %s: %s shapes put into %s frames", task, sum(added.values()), len(added))
    return {
        "frames": len(added),
        "shapes": sum(added.values()),
        "left_alone": found.others + sum(bool(each) for each in shapes.values()) - len(added),
        "empty": sum(not each for each in shapes.values()),
        "unknown": [file for file in found.frames if file not in known],
    }


def explained(error: Exception) -> tuple[dict[str, Any], int]:
    """An error for the one who asked: its two sentences, and HTTP's status for it."""
    if isinstance(error, CvatError):
        status = 404 if isinstance(error, Gone) else 409 if isinstance(error, Unfit) else 502
        return {"what": error.what, "remedy": error.remedy}, status
    if isinstance(error, LabError):
        return {"what": error.what, "remedy": error.remedy}, 500
    logger.error("what happened", exc_info=error)
    return {"what": f"{type(error).__name__}: {error}", "remedy": "see `docker logs monailabel`, and report it"}, 500
