"""What CVAT keeps: organizations, projects, tasks, jobs, frames, annotations, tokens and background requests.

A table in which a row means the same as in CVAT's has the name of that.
"""

from __future__ import annotations

import secrets

from django.contrib.auth.models import Group, User
from django.db import models
from django.db.models.signals import post_save
from django.dispatch import receiver


def token() -> str:
    return secrets.token_hex(20)


class Dated(models.Model):
    """Anything with the two dates that every reply shows."""

    created_date = models.DateTimeField(auto_now_add=True)
    updated_date = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Organization(Dated):
    slug = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=64, blank=True)
    description = models.TextField(blank=True)
    owner = models.ForeignKey(User, models.SET_NULL, null=True)


class Membership(models.Model):
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="members")
    role = models.CharField(max_length=16)
    joined_date = models.DateTimeField(auto_now_add=True)
    invitation_key = models.CharField(max_length=64, null=True)
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")


class LoginToken(models.Model):
    key = models.CharField(max_length=40, primary_key=True, default=token)
    user = models.OneToOneField(User, models.CASCADE, related_name="auth_token")


class AccessToken(Dated):
    key = models.CharField(max_length=40, unique=True, default=token)
    name = models.CharField(max_length=64)
    owner = models.ForeignKey(User, models.CASCADE)
    read_only = models.BooleanField(default=True)
    expiry_date = models.DateTimeField(null=True)
    last_used_date = models.DateTimeField(null=True)


class Owned(Dated):
    """Anything that a user owns, that may be assigned, and that may belong to an organization."""

    name = models.CharField(max_length=256)
    owner = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    assignee = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    assignee_updated_date = models.DateTimeField(null=True)
    organization = models.ForeignKey(Organization, models.CASCADE, null=True)
    bug_tracker = models.CharField(max_length=2000, blank=True)

    class Meta:
        abstract = True


class Project(Owned):
    class Meta:
        db_table = "engine_project"


class Data(models.Model):
    """The frames of a task."""

    image_quality = models.IntegerField(default=70)
    size = models.IntegerField(default=0)
    chunks_updated_date = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "engine_data"


class Task(Owned):
    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="tasks")
    subset = models.CharField(max_length=64, blank=True)
    segment_size = models.IntegerField(default=0)
    data = models.OneToOneField(Data, models.SET_NULL, null=True)

    class Meta:
        db_table = "engine_task"


class Frame(models.Model):
    data = models.ForeignKey(Data, models.CASCADE, related_name="frames")
    number = models.IntegerField()
    name = models.CharField(max_length=1024)
    width = models.IntegerField()
    height = models.IntegerField()

    class Meta:
        db_table = "engine_image"


class Label(models.Model):
    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="labels")
    task = models.ForeignKey(Task, models.CASCADE, null=True, related_name="labels")
    name = models.CharField(max_length=64)
    color = models.CharField(max_length=8)
    type = models.CharField(max_length=32, default="any")
    attributes = models.JSONField(default=list)


class Job(Dated):
    task = models.ForeignKey(Task, models.CASCADE, related_name="jobs")
    assignee = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    assignee_updated_date = models.DateTimeField(null=True)
    start_frame = models.IntegerField()
    stop_frame = models.IntegerField()
    stage = models.CharField(max_length=16, default="annotation")
    state = models.CharField(max_length=16, default="new")

    class Meta:
        db_table = "engine_job"


class Annotation(models.Model):
    """A tag or a shape of one frame, in CVAT's own words."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="annotations")
    kind = models.CharField(max_length=8)  # tags or shapes
    content = models.JSONField()

    class Meta:
        db_table = "engine_labeledshape"


class Request(models.Model):
    """Work of a background worker that a client polls."""

    id = models.CharField(max_length=512, primary_key=True)
    kind = models.CharField(max_length=32)  # create:task or export:…
    task = models.ForeignKey(Task, models.CASCADE)
    owner = models.ForeignKey(User, models.CASCADE)
    status = models.CharField(max_length=16, default="queued")
    message = models.TextField(blank=True)
    format = models.CharField(max_length=64, null=True)
    result = models.CharField(max_length=1024, null=True)
    created_date = models.DateTimeField(auto_now_add=True)
    started_date = models.DateTimeField(null=True)
    finished_date = models.DateTimeField(null=True)


@receiver(post_save, sender=User)
def give_group(instance: User, created: bool, **_: object) -> None:
    """A superuser is in group admin, another new user in group user, as in the real server."""
    if instance.is_superuser:
        instance.groups.add(Group.objects.get_or_create(name="admin")[0])
    elif created:
        instance.groups.add(Group.objects.get_or_create(name="user")[0])
