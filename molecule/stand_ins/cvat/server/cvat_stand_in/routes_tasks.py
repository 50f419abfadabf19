"""/api/projects, /api/tasks, /api/jobs, /api/labels and /api/requests."""

from __future__ import annotations

import base64
import io
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone
from fastapi import APIRouter
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response

from . import background, events, replies, shapes
from .errors import Refused, forbidden, invalid, missing
from .http import Address, Body, CvatResponse, Known, database, text
from .lists import page
from .models import Job, Label, Project, Request, Task
from .rendering import FORMATS
from .routes_server import gone

router = APIRouter()

COLOURS = ("#ff355e", "#66ff66", "#34d1b7", "#24b353", "#b83df5", "#fa3253", "#3df53d", "#733380")


def make_labels(given: list[dict[str, Any]], **owner: Any) -> None:
    """Labels of a new project or task."""
    names = [label.get("name") for label in given]
    if len(set(names)) != len(names):
        raise Refused(400, ["All label names must be unique"])
    for index, label in enumerate(given):
        Label.objects.create(
            name=label["name"],
            color=label.get("color") or COLOURS[index % len(COLOURS)],
            type=label.get("type", "any"),
            attributes=label.get("attributes", []),
            **owner,
        )


def assign(item: Any, given: dict[str, Any]) -> None:
    """Sets or clears the assignee that a PATCH names."""
    number = given.get("assignee_id", given.get("assignee", item.assignee_id))
    if number != item.assignee_id:
        if number is not None and not User.objects.filter(id=number).exists():
            raise invalid("assignee_id", f'Invalid pk "{number}" - object does not exist.')
        item.assignee_id, item.assignee_updated_date = number, timezone.now()


@router.get("/api/projects")
@database
def projects(http: HttpRequest, by: Known, url: Address) -> Any:
    return page(http, url, by.visible(Project.objects.all()), replies.project)


@router.post("/api/projects")
@database
def make_project(by: Known, url: Address, given: Body) -> Any:
    name = text(given, "name", 256)
    if not by.admin and not by.user.groups.filter(name="user").exists():
        raise forbidden()
    labels = given.get("labels", [])
    made = Project(name=name, owner=by.user, organization=by.organization, bug_tracker=given.get("bug_tracker", ""))
    names = [label.get("name") for label in labels]
    if len(set(names)) != len(names):
        raise Refused(400, ["All label names must be unique"])
    made.save()
    make_labels(labels, project=made)
    events.created(made, by)
    return CvatResponse(replies.project(made, url), 201, {"location": url(f"/api/projects/{made.id}")})


@router.get("/api/projects/{number}")
@database
def show_project(number: int, by: Known, url: Address) -> Any:
    return replies.project(by.get(Project, number), url)


@router.patch("/api/projects/{number}")
@database
def change_project(number: int, by: Known, url: Address, given: Body) -> Any:
    found = by.get(Project, number)
    if "name" in given:
        found.name = text(given, "name", 256)
    assign(found, given)
    found.save()
    make_labels([label for label in given.get("labels", []) if "id" not in label], project=found)
    return replies.project(found, url)


@router.delete("/api/projects/{number}")
@database
def remove_project(number: int, by: Known) -> Any:
    found = by.get(Project, number)
    for task in found.tasks.all():
        remove_frames(task)
    found.delete()
    return Response(status_code=204)


@router.get("/api/tasks")
@database
def tasks(http: HttpRequest, by: Known, url: Address) -> Any:
    return page(http, url, by.visible(Task.objects.all()), replies.task)


@router.post("/api/tasks")
@database
def make_task(by: Known, url: Address, given: Body) -> Any:
    name = text(given, "name", 256)
    project = None
    if given.get("project_id"):
        project = Project.objects.filter(id=given["project_id"]).first()
        if project is None:
            raise Refused(400, ["Project matching query does not exist."])
        by.get(Project, project.id)
    made = Task.objects.create(
        name=name,
        project=project,
        owner=by.user,
        organization=project.organization if project else by.organization,
        subset=given.get("subset", ""),
        segment_size=given.get("segment_size") or 0,
        bug_tracker=given.get("bug_tracker", ""),
    )
    if project is None:
        make_labels(given.get("labels", []), task=made)
    else:
        project.save()
    assign(made, given)
    made.save()
    events.created(made, by)
    return CvatResponse(replies.task(made, url), 201, {"location": url(f"/api/tasks/{made.id}")})


@router.get("/api/tasks/{number}")
@database
def show_task(number: int, by: Known, url: Address) -> Any:
    return replies.task(by.get(Task, number), url)


@router.patch("/api/tasks/{number}")
@database
def change_task(number: int, by: Known, url: Address, given: Body) -> Any:
    found = by.get(Task, number)
    if "name" in given:
        found.name = text(given, "name", 256)
    if "subset" in given:
        found.subset = given["subset"]
    assign(found, given)
    found.save()
    return replies.task(found, url)


def remove_frames(task: Task) -> None:
    if task.data is not None:
        shutil.rmtree(background.raw(task.data).parent, ignore_errors=True)


@router.delete("/api/tasks/{number}")
@database
def remove_task(number: int, by: Known) -> Any:
    found = by.get(Task, number)
    remove_frames(found)
    found.delete()
    return Response(status_code=204)


def keep(task: Task, name: str, content: bytes) -> None:
    """Writes an uploaded file into the task's folder, and nowhere else."""
    folder = background.raw(background.task_with_frames(task))
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise invalid("client_files", f"{name} leads out of the task")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def finish_upload(task: Task, by: Known, given: dict[str, Any]) -> CvatResponse:
    """Hands the uploaded frames to the import workers."""
    quality = int(given.get("image_quality", 70))
    if quality > 100:
        raise invalid("image_quality", "Ensure this value is less than or equal to 100.")
    if quality < 0:
        raise invalid("image_quality", "Ensure this value is greater than or equal to 0.")
    data = background.task_with_frames(task)
    if data.size:
        raise Refused(400, ["Adding more data is not supported"])
    data.image_quality = quality
    data.save()
    number = f"action=create&target=task&target_id={task.id}"
    Request.objects.filter(id=number).delete()
    request = Request.objects.create(id=number, kind="create:task", task=task, owner=by.user)
    background.enqueue("import", background.create_task, request)
    return CvatResponse({"rq_id": number}, 202)


@router.post("/api/tasks/{number}/data")
async def upload(number: int, http: HttpRequest, by: Known, given: Body) -> Any:
    """Frames in one multipart call, in several (Upload-Start, -Multiple, -Finish), or resumable (tus)."""
    headers = http.headers
    task = await run_in_threadpool(database(by.get), Task, number)
    if "upload-start" in headers:
        return Response(status_code=202)
    if "upload-length" in headers:
        return await run_in_threadpool(database(begin_file), task, http)
    files: list[tuple[str, bytes]] = []
    fields: dict[str, Any] = given if isinstance(given, dict) else {}
    if "multipart/form-data" in headers.get("content-type", ""):
        form = await http.form()
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files.append((Path(value.filename or "").name, await value.read()))
            else:
                fields[name] = value

    def store() -> Response:
        if not 0 <= int(fields.get("image_quality", 70)) <= 100:
            return finish_upload(task, by, fields)
        for name, content in files:
            keep(task, name, content)
        return Response(status_code=200) if "upload-multiple" in headers else finish_upload(task, by, fields)

    return await run_in_threadpool(database(store))


def begin_file(task: Task, http: HttpRequest) -> Response:
    """The first call of a resumable upload: tells the client where to send the file's parts."""
    pairs = dict(pair.split() for pair in http.headers["upload-metadata"].split(",") if len(pair.split()) == 2)
    name = base64.b64decode(pairs["filename"]).decode()
    keep(task, name, b"")
    location = f"{http.url.path.rstrip('/')}/{quote(name, safe='')}"
    headers = {"location": location, "upload-filename": name, "upload-offset": "0", "tus-resumable": "1.0.0"}
    return Response(status_code=201, headers=headers)


def picture(task: Task, number: int) -> Path:
    frame = task.data.frames.filter(number=number).first() if task.data else None
    if frame is None:
        raise Refused(404, {"detail": "The frame was not found"})
    return background.raw(task.data) / frame.name


def jpeg(file: Path, quality: int, longest: int | None = None) -> bytes:
    out = io.BytesIO()
    with Image.open(file) as opened:
        shown = opened.convert("RGB")
        if longest:
            shown.thumbnail((longest, longest))
        shown.save(out, "JPEG", quality=quality)
    return out.getvalue()


def frames_of(task: Task, first: int, last: int, http: HttpRequest) -> Response:
    """One frame, or a chunk of frames as a zip; original or compressed."""
    query = http.query_params
    number, compressed = int(query.get("number", 0)), query.get("quality") != "original"
    quality = task.data.image_quality if task.data else 70
    if query.get("type") == "frame":
        file = picture(task, number)
        return Response(jpeg(file, quality), media_type="image/jpeg") if compressed else FileResponse(file)
    if query.get("type") != "chunk":
        raise Refused(400, "Data type not specified or not supported")
    start = first + number * replies.CHUNK_SIZE
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for index in range(start, min(start + replies.CHUNK_SIZE, last + 1)):
            file = picture(task, index)
            content = jpeg(file, quality) if compressed else file.read_bytes()
            archive.writestr(f"{index - start:06d}{'.jpeg' if compressed else file.suffix}", content)
    return Response(out.getvalue(), media_type="application/octet-stream")


@router.get("/api/tasks/{number}/data")
@database
def task_frames(number: int, http: HttpRequest, by: Known) -> Any:
    task = by.get(Task, number)
    return frames_of(task, 0, (task.data.size if task.data else 0) - 1, http)


@router.get("/api/tasks/{number}/preview")
@database
def task_preview(number: int, by: Known) -> Any:
    return Response(jpeg(picture(by.get(Task, number), 0), 70, 256), media_type="image/jpeg")


@router.get("/api/tasks/{number}/data/meta")
@database
def task_meta(number: int, by: Known) -> Any:
    task = by.get(Task, number)
    if task.data is None:
        raise missing("Data")
    return replies.meta(task, 0, task.data.size - 1)


@router.patch("/api/tasks/{number}/data/meta")
@database
def change_meta(number: int, by: Known) -> Any:
    return task_meta(number, by)


@router.head("/api/tasks/{number}/data/{name:path}")
@router.patch("/api/tasks/{number}/data/{name:path}")
async def upload_part(number: int, name: str, http: HttpRequest, by: Known) -> Response:
    """A part of a resumable upload, or the question how far it came."""
    task = await run_in_threadpool(database(by.get), Task, number)
    content = await http.body()

    def append() -> Response:
        folder = background.raw(background.task_with_frames(task)).resolve()
        file = (folder / name).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise missing("Upload")
        if http.method == "PATCH":
            if int(http.headers.get("upload-offset", -1)) != file.stat().st_size:
                return Response(status_code=409)
            with file.open("ab") as out:
                out.write(content)
        headers = {"upload-offset": str(file.stat().st_size), "tus-resumable": "1.0.0", "upload-filename": name}
        return Response(status_code=204 if http.method == "PATCH" else 200, headers=headers)

    return await run_in_threadpool(database(append))


@router.get("/api/tasks/{number}/annotations")
@database
def task_annotations(number: int, http: HttpRequest, by: Known) -> Any:
    if "action" in http.query_params:
        raise gone()
    return shapes.read(list(by.get(Task, number).jobs.all()))


@router.post("/api/tasks/{number}/annotations")
@database
def import_annotations(number: int, by: Known) -> Any:
    by.get(Task, number)
    raise Refused(400, ["Importing annotations is not part of the stand-in"])


@router.put("/api/tasks/{number}/annotations")
@database
def replace_task_annotations(number: int, by: Known, given: Body) -> Any:
    return shapes.replace(list(by.get(Task, number).jobs.all()), given)


@router.patch("/api/tasks/{number}/annotations")
@database
def change_task_annotations(number: int, http: HttpRequest, by: Known, given: Body) -> Any:
    return shapes.change(list(by.get(Task, number).jobs.all()), given, http.query_params.get("action", ""))


@router.delete("/api/tasks/{number}/annotations")
@database
def clear_task_annotations(number: int, by: Known) -> Any:
    shapes.replace(list(by.get(Task, number).jobs.all()), {})
    return Response(status_code=204)


@router.post("/api/tasks/{number}/dataset/export")
@database
def export(number: int, http: HttpRequest, by: Known) -> Any:
    task = by.get(Task, number)
    wanted = http.query_params.get("format", "")
    if wanted not in FORMATS:
        raise Refused(400, ["Unknown format specified for the request"])
    images = http.query_params.get("save_images", "false").lower() == "true"
    resource = "dataset" if images else "annotations"
    token = wanted.replace(" ", "_").replace(".", "~")
    key = f"action=export&target=task&target_id={task.id}&user_id={by.user.id}&format={token}&subresource={resource}"
    Request.objects.filter(id=key).delete()
    request = Request.objects.create(id=key, kind=f"export:{resource}", task=task, owner=by.user, format=wanted)
    background.enqueue("export", background.export_task, request)
    return CvatResponse({"rq_id": key}, 202)


@router.get("/api/tasks/{number}/dataset/download")
@database
def download(number: int, http: HttpRequest, by: Known) -> Any:
    task = by.get(Task, number)
    request = Request.objects.filter(id=http.query_params.get("rq_id", ""), task=task, status="finished").first()
    if request is None or not request.result:
        raise missing("Request")
    stamp = time.strftime("%Y_%m_%d_%H_%M_%S", task.updated_date.timetuple())
    resource = request.kind.split(":")[1]
    name = f"task_{task.id}_{resource}_{stamp}_{request.format.lower()}.zip"
    return FileResponse(
        request.result, media_type="application/zip", headers={"content-disposition": f'attachment; filename="{name}"'}
    )


@router.get("/api/jobs")
@database
def jobs(http: HttpRequest, by: Known, url: Address) -> Any:
    return page(http, url, by.visible(Job.objects.all(), "task__"), replies.job)


@router.post("/api/jobs")
@database
def make_job(_: Known) -> Any:
    raise Refused(400, ["Making single jobs is not part of the stand-in"])


@router.get("/api/jobs/{number}")
@database
def show_job(number: int, by: Known, url: Address) -> Any:
    return replies.job(by.get(Job, number, "task__"), url)


@router.patch("/api/jobs/{number}")
@database
def change_job(number: int, by: Known, url: Address, given: Body) -> Any:
    found = by.get(Job, number, "task__")
    choices = {
        "state": ("new", "in progress", "completed", "rejected"),
        "stage": ("annotation", "validation", "acceptance"),
    }
    for field, allowed in choices.items():
        if field in given:
            if given[field] not in allowed:
                raise invalid(field, f'"{given[field]}" is not a valid choice.')
            setattr(found, field, given[field])
    assign(found, given)
    found.save()
    return replies.job(found, url)


@router.delete("/api/jobs/{number}")
@database
def remove_job(number: int, by: Known) -> Any:
    by.get(Job, number, "task__")
    raise Refused(400, ["Only ground truth jobs can be removed"])


@router.get("/api/jobs/{number}/data")
@database
def job_frames(number: int, http: HttpRequest, by: Known) -> Any:
    found = by.get(Job, number, "task__")
    return frames_of(found.task, found.start_frame, found.stop_frame, http)


@router.get("/api/jobs/{number}/preview")
@database
def job_preview(number: int, by: Known) -> Any:
    found = by.get(Job, number, "task__")
    return Response(jpeg(picture(found.task, found.start_frame), 70, 256), media_type="image/jpeg")


@router.get("/api/jobs/{number}/data/meta")
@database
def job_meta(number: int, by: Known) -> Any:
    found = by.get(Job, number, "task__")
    return replies.meta(found.task, found.start_frame, found.stop_frame)


@router.get("/api/jobs/{number}/annotations")
@database
def job_annotations(number: int, by: Known) -> Any:
    return shapes.read([by.get(Job, number, "task__")])


@router.post("/api/jobs/{number}/annotations")
@database
def import_job_annotations(number: int, by: Known) -> Any:
    by.get(Job, number, "task__")
    raise Refused(400, ["Importing annotations is not part of the stand-in"])


@router.put("/api/jobs/{number}/annotations")
@database
def replace_job_annotations(number: int, by: Known, given: Body) -> Any:
    return shapes.replace([by.get(Job, number, "task__")], given)


@router.patch("/api/jobs/{number}/annotations")
@database
def change_job_annotations(number: int, http: HttpRequest, by: Known, given: Body) -> Any:
    return shapes.change([by.get(Job, number, "task__")], given, http.query_params.get("action", ""))


@router.delete("/api/jobs/{number}/annotations")
@database
def clear_job_annotations(number: int, by: Known) -> Any:
    shapes.replace([by.get(Job, number, "task__")], {})
    return Response(status_code=204)


@router.get("/api/labels")
@database
def labels(http: HttpRequest, by: Known, url: Address) -> Any:
    query = http.query_params
    if "job_id" in query:
        owner: Project | Task = by.get(Job, int(query["job_id"]), "task__").task
    elif "task_id" in query:
        owner = by.get(Task, int(query["task_id"]))
    elif "project_id" in query:
        owner = by.get(Project, int(query["project_id"]))
    else:
        seen = Q(project__in=by.visible(Project.objects.all())) | Q(task__in=by.visible(Task.objects.all()))
        return page(http, url, Label.objects.filter(seen), replies.label)
    if isinstance(owner, Task) and owner.project:
        owner = owner.project
    items = owner.labels.all()
    http.scope["query_string"] = b"&".join(
        part for part in http.scope["query_string"].split(b"&") if b"_id=" not in part
    )
    return page(HttpRequest(http.scope), url, items, replies.label)


@router.get("/api/requests")
@database
def requests(by: Known, url: Address) -> Any:
    mine = Request.objects.filter(owner=by.user).order_by("-created_date")
    return {
        "count": mine.count(),
        "next": None,
        "previous": None,
        "results": [replies.request(one, url) for one in mine],
    }


@router.get("/api/requests/{key:path}")
@database
def show_request(key: str, by: Known, url: Address) -> Any:
    found = Request.objects.filter(id=key).first()
    if found is None:
        return HTMLResponse("There is no request with specified id", 404)
    if not by.admin and found.owner != by.user:
        raise forbidden()
    return replies.request(found, url)


@router.post("/api/requests/{key:path}/cancel")
@database
def cancel_request(key: str, by: Known) -> Any:
    found = Request.objects.filter(id=key, owner=by.user, status="queued").first()
    if found is None:
        return PlainTextResponse("Only requests that are still queued can be cancelled", 400)
    found.delete()
    return Response(status_code=200)
