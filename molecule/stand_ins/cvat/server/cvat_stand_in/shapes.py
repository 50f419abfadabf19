"""Annotations: what is accepted, kept and given back."""

from __future__ import annotations

from typing import Any

from .errors import Refused
from .models import Annotation, Job, Task

# Least and even number of coordinates of each shape.
POINTS = {"rectangle": 4, "ellipse": 4, "polygon": 6, "polyline": 4, "points": 2}
SHAPE = {
    "occluded": False,
    "outside": False,
    "z_order": 0,
    "rotation": 0,
    "group": 0,
    "source": "manual",
    "score": 1,
    "attributes": [],
    "elements": [],
}
TAG = {"group": 0, "source": "manual", "attributes": []}
STORED = ("id", "label_id", "type", "frame", "group", "source", "score", "occluded", "outside", "z_order", "rotation")


def check(shape: dict[str, Any]) -> dict[str, list[str]]:
    """What is wrong with a shape, by field."""
    kind, points = shape.get("type"), shape.get("points", [])
    wrong = False
    if kind == "mask":
        wrong = len(points) < 6
    elif kind in ("rectangle", "ellipse"):
        wrong = len(points) != POINTS[kind]
    elif kind in POINTS:
        wrong = len(points) < POINTS[kind] or len(points) % 2 == 1
    else:
        return {"type": [f'"{kind}" is not a valid choice.']}
    return {"points": [f"invalid length for shape type '{kind}'"]} if wrong else {}


def place(jobs: list[Job], frame: int) -> Job:
    for job in jobs:
        if job.start_frame <= frame <= job.stop_frame:
            return job
    raise Refused(400, [f"Frame {frame} is out of the task's range"])


def store(jobs: list[Job], given: dict[str, Any]) -> dict[str, Any]:
    """Keeps the given annotations in the jobs that their frames are in; replies as the real server does."""
    shapes, tags = given.get("shapes") or [], given.get("tags") or []
    faults = [check(shape) for shape in shapes]
    if any(faults):
        raise Refused(400, {"shapes": faults})
    labels = {label.id for job in jobs[:1] for label in labels_of(job.task)}
    for item in [*shapes, *tags]:
        if item.get("label_id") not in labels:
            raise Refused(400, [f"label_id {item.get('label_id')} is no label of this task"])
    reply: dict[str, Any] = {"version": 0, "tags": [], "shapes": [], "tracks": [], "intervals": []}
    for kind, defaults, items in (("tags", TAG, tags), ("shapes", SHAPE, shapes)):
        for item in items:
            kept = {**defaults, **{key: value for key, value in item.items() if key != "id"}}
            saved = Annotation.objects.create(job=place(jobs, item["frame"]), kind=kind, content=kept)
            reply[kind].append({**kept, "id": saved.id})
    return reply


def labels_of(task: Task) -> list[Any]:
    return list((task.project or task).labels.order_by("id"))


def read(jobs: list[Job]) -> dict[str, Any]:
    """All annotations of the jobs, in the order in which they were made."""
    reply: dict[str, Any] = {"version": 0, "tags": [], "shapes": [], "tracks": [], "intervals": []}
    for item in Annotation.objects.filter(job__in=jobs).order_by("id"):
        content = {**item.content, "id": item.id}
        if item.kind == "shapes":
            content["score"], content["rotation"] = float(content["score"]), float(content["rotation"])
            rest = {key: content[key] for key in ("points", "attributes", "elements")}
            content = {key: content[key] for key in STORED} | rest
        reply[item.kind].append(content)
    return reply


def replace(jobs: list[Job], given: dict[str, Any]) -> dict[str, Any]:
    reply = store(jobs, given)
    kept = [item["id"] for kind in ("tags", "shapes") for item in reply[kind]]
    Annotation.objects.filter(job__in=jobs).exclude(id__in=kept).delete()
    return reply


def change(jobs: list[Job], given: dict[str, Any], action: str) -> dict[str, Any]:
    """Creates, updates or deletes the given annotations."""
    if action == "create":
        return store(jobs, given)
    if action not in ("update", "delete"):
        raise Refused(400, [f"Unknown action {action}"])
    numbers = [item["id"] for kind in ("tags", "shapes") for item in given.get(kind) or []]
    found = Annotation.objects.filter(job__in=jobs, id__in=numbers)
    if found.count() != len(set(numbers)):
        raise Refused(400, ["Some of the annotations do not exist"])
    if action == "delete":
        found.delete()
        return given
    reply = store(jobs, given)
    found.delete()
    return reply
