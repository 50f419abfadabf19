"""How the real server writes each object, key by key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from django.contrib.auth.models import User

from .models import AccessToken, Frame, Job, Label, Membership, Organization, Project, Request, Task

Url = Callable[[str], str]
CHUNK_SIZE = 72


def date(value: datetime | None) -> str | None:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if value else None


def person(user: User | None, url: Url) -> dict[str, Any] | None:
    if user is None:
        return None
    return {
        "url": url(f"/api/users/{user.id}"),
        "id": user.id,
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
    }


def account(user: User, url: Url) -> dict[str, Any]:
    groups = sorted(group.name for group in user.groups.all())
    return {
        **(person(user, url) or {}),
        "email": user.email,
        "groups": groups,
        "is_staff": user.is_staff,
        "is_superuser": user.is_superuser,
        "is_active": user.is_active,
        "last_login": date(user.last_login),
        "date_joined": date(user.date_joined),
        "has_analytics_access": user.is_superuser,
    }


def project(item: Project, url: Url) -> dict[str, Any]:
    tasks = list(item.tasks.order_by("id"))
    return {
        "url": url(f"/api/projects/{item.id}"),
        "id": item.id,
        "name": item.name,
        "owner": person(item.owner, url),
        "assignee": person(item.assignee, url),
        "guide_id": None,
        "bug_tracker": item.bug_tracker,
        "created_date": date(item.created_date),
        "updated_date": date(item.updated_date),
        "status": "annotation",
        "dimension": "2d" if any(task.data_id for task in tasks) else None,
        "organization": item.organization_id,
        "organization_id": item.organization_id,
        "target_storage": None,
        "source_storage": None,
        "tasks": {"count": len(tasks), "url": url(f"/api/tasks?project_id={item.id}")},
        "labels": {"url": url(f"/api/labels?project_id={item.id}")},
        "assignee_updated_date": date(item.assignee_updated_date),
        "task_subsets": sorted({task.subset for task in tasks if task.subset}),
    }


def task(item: Task, url: Url) -> dict[str, Any]:
    data = item.data
    loaded = data is not None and data.size > 0
    reply = {
        "url": url(f"/api/tasks/{item.id}"),
        "id": item.id,
        "name": item.name,
        "project_id": item.project_id,
        "project_name": item.project.name if item.project else None,
        "owner": person(item.owner, url),
        "assignee": person(item.assignee, url),
        "bug_tracker": item.bug_tracker,
        "created_date": date(item.created_date),
        "updated_date": date(item.updated_date),
        "overlap": 0 if loaded else None,
        "segment_size": item.segment_size,
        "status": "annotation",
        "guide_id": None,
        "data": item.data_id,
        "dimension": "2d" if loaded else "",
        "mode": "annotation" if loaded else "",
        "media_type": "image" if loaded else "",
        "subset": item.subset,
        "organization_id": item.organization_id,
        "organization": item.organization_id,
        "target_storage": None,
        "source_storage": None,
        "jobs": {
            "count": item.jobs.count(),
            # What the real server counts here is acceptance, which finishing a job does not bring.
            "completed": item.jobs.filter(stage="acceptance", state="completed").count(),
            "validation": item.jobs.filter(stage="validation").count(),
            "url": url(f"/api/jobs?task_id={item.id}"),
        },
        "labels": {"url": url(f"/api/labels?task_id={item.id}")},
        "assignee_updated_date": date(item.assignee_updated_date),
        "validation_mode": None,
        "consensus_enabled": False,
    }
    if data is not None:
        reply |= {
            "data_chunk_size": CHUNK_SIZE,
            "data_original_chunk_type": "imageset",
            "data_compressed_chunk_type": "imageset",
            "data_cloud_storage_id": None,
            "size": data.size,
            "image_quality": data.image_quality,
        }
    return reply


def job(item: Job, url: Url) -> dict[str, Any]:
    owner = item.task
    return {
        "url": url(f"/api/jobs/{item.id}"),
        "id": item.id,
        "task_id": owner.id,
        "task_name": owner.name,
        "project_id": owner.project_id,
        "project_name": owner.project.name if owner.project else None,
        "assignee": person(item.assignee, url),
        "guide_id": None,
        "dimension": "2d",
        "mode": "annotation",
        "media_type": "image",
        "bug_tracker": owner.bug_tracker,
        "status": "annotation",
        "stage": item.stage,
        "state": item.state,
        "frame_count": item.stop_frame - item.start_frame + 1,
        "start_frame": item.start_frame,
        "stop_frame": item.stop_frame,
        "data_chunk_size": CHUNK_SIZE,
        "data_compressed_chunk_type": "imageset",
        "data_original_chunk_type": "imageset",
        "created_date": date(item.created_date),
        "updated_date": date(item.updated_date),
        "issues": {"url": url(f"/api/issues?job_id={item.id}"), "count": 0},
        "labels": {"url": url(f"/api/labels?job_id={item.id}")},
        "type": "annotation",
        "organization": owner.organization_id,
        "target_storage": None,
        "source_storage": None,
        "assignee_updated_date": date(item.assignee_updated_date),
        "parent_job_id": None,
        "replicas_count": 0,
        "consensus_replicas": 0,
    }


def label(item: Label, _: Url) -> dict[str, Any]:
    owner = {"project_id": item.project_id} if item.project_id else {"task_id": item.task_id}
    return {
        "id": item.id,
        "name": item.name,
        "color": item.color,
        "attributes": item.attributes,
        "type": item.type,
        "sublabels": [],
        **owner,
        "parent_id": None,
        "has_parent": False,
    }


def meta(item: Task, first: int, last: int) -> dict[str, Any]:
    """What a client learns of the frames `first` to `last` of a task."""
    assert item.data is not None
    frames = item.data.frames.filter(number__gte=first, number__lte=last).order_by("number")
    return {
        "chapters": None,
        "chunks_updated_date": date(item.data.chunks_updated_date),
        "chunk_size": CHUNK_SIZE,
        "size": len(frames),
        "image_quality": item.data.image_quality,
        "start_frame": first,
        "stop_frame": last,
        "frame_filter": "",
        "frames": [frame(one) for one in frames],
        "deleted_frames": [],
        "included_frames": None,
        "storage": "local",
        "cloud_storage_id": None,
    }


def frame(item: Frame) -> dict[str, Any]:
    return {
        "width": item.width,
        "height": item.height,
        "name": item.name,
        "related_files": 0,
        "has_related_context": False,
    }


def organization(item: Organization, url: Url) -> dict[str, Any]:
    return {
        "id": item.id,
        "slug": item.slug,
        "name": item.name,
        "description": item.description,
        "created_date": date(item.created_date),
        "updated_date": date(item.updated_date),
        "contact": {},
        "owner": person(item.owner, url),
    }


def membership(item: Membership, url: Url) -> dict[str, Any]:
    return {
        "id": item.id,
        "user": person(item.user, url),
        "organization": item.organization_id,
        "is_active": True,
        "joined_date": date(item.joined_date),
        "role": item.role,
        "invitation": item.invitation_key,
    }


def invitation(item: Membership, url: Url) -> dict[str, Any]:
    return {
        "key": item.invitation_key,
        "created_date": date(item.joined_date),
        "owner": person(item.invited_by, url),
        "role": item.role,
        "user": person(item.user, url),
        "organization": item.organization_id,
        "expired": None,
        "accepted": True,
        "organization_info": {"id": item.organization_id, "slug": item.organization.slug},
    }


def access_token(item: AccessToken, url: Url) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "created_date": date(item.created_date),
        "updated_date": date(item.updated_date),
        "expiry_date": date(item.expiry_date),
        "last_used_date": date(item.last_used_date),
        "read_only": item.read_only,
        "owner": person(item.owner, url),
    }


def request(item: Request, url: Url) -> dict[str, Any]:
    kept = (
        timedelta(days=1) if item.result else timedelta(days=365) if item.status == "failed" else timedelta(seconds=500)
    )
    result = f"/api/tasks/{item.task_id}/dataset/download?rq_id={quote(item.id, safe='')}"
    return {
        "status": item.status,
        "message": item.message,
        "id": item.id,
        "operation": {
            "type": item.kind,
            "target": "task",
            "project_id": item.task.project_id,
            "task_id": item.task_id,
            "job_id": None,
            "org_id": item.task.organization_id,
            "format": item.format,
            "lightweight": None,
        },
        "progress": 0.0,
        "created_date": date(item.created_date),
        "started_date": date(item.started_date),
        "finished_date": date(item.finished_date),
        "expiry_date": date(item.finished_date + kept) if item.finished_date else None,
        "owner": {"id": item.owner_id, "username": item.owner.username},
        "result_url": url(result) if item.result else None,
        "result_id": None,
    }
