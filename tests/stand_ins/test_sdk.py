"""cvat-sdk 2.73.0, which checks replies strictly, drives the stand-in through the life of a task."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cvat_sdk import Client, Config, models
from cvat_sdk.api_client.exceptions import ForbiddenException
from cvat_sdk.core.exceptions import BackgroundRequestException
from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction
from cvat_sdk.core.proxies.projects import Project
from cvat_sdk.core.proxies.tasks import Task
from PIL import Image

from tests.stand_ins.deployment import ADMIN, Cvat
from tests.stand_ins.story import picture

IMAGES = 12
POLYGON = [10.0, 10.0, 60.0, 12.0, 40.0, 50.0]
# 50 by 40 pixels, all of them in the mask, with the corners of the box at the end.
MASK = [0.0, 2000.0, 50.0, 40.0, 99.0, 79.0]


def client_of(cvat: Cvat) -> Client:
    """A client that refuses a server of another version, and does not wait long between polls."""
    return Client(cvat.url, config=Config(status_check_period=0.1))


def logged_in(cvat: Cvat, account: tuple[str, str]) -> Client:
    client = client_of(cvat)
    client.login(account)
    return client


def register(cvat: Cvat, name: str) -> tuple[str, str]:
    """A new ordinary account."""
    account = (name, "of an ordinary user")
    wanted = {"username": name, "email": f"{name}@example.org", "password1": account[1], "password2": account[1]}
    with client_of(cvat) as client:
        client.api_client.auth_api.create_register(models.RegisterSerializerExRequest(**wanted))
    return account


@pytest.fixture(scope="module")
def admin(cvat: Cvat) -> Iterator[Client]:
    with logged_in(cvat, ADMIN) as client:
        yield client


@pytest.fixture(scope="module")
def project(admin: Client) -> Project:
    labels = [{"name": "Tool", "color": "#66ff66"}, {"name": "InBody", "color": "#ff0000"}]
    return admin.projects.create({"name": "endoscopy", "labels": labels})


@pytest.fixture(scope="module")
def task(admin: Client, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("frames")
    files = [folder / f"frame_{number:02}.png" for number in range(IMAGES)]
    for number, file in enumerate(files):
        file.write_bytes(picture(number))
    spec = {"name": "ActiveLearning_Iteration_1", "project_id": project.id, "segment_size": 1, "subset": "Train"}
    return admin.tasks.create_from_data(spec, resources=files, data_params={"image_quality": 70})


@pytest.fixture(scope="module")
def annotated(task: Task) -> Task:
    """The task with a polygon on its first frame and a mask on its second, and every job done."""
    tool, in_body = (label.id for label in task.get_labels())
    jobs = sorted(task.get_jobs(), key=lambda job: job.start_frame)
    for job, kind, label, points in ((jobs[0], "polygon", tool, POLYGON), (jobs[1], "mask", in_body, MASK)):
        shape = {"type": kind, "label_id": label, "frame": job.start_frame, "points": points}
        job.set_annotations(models.LabeledDataRequest(shapes=[models.LabeledShapeRequest(**shape)]))
    for job in jobs:
        job.update({"state": "completed"})
    return task


def test_each_image_is_a_job_of_its_own_over_all_pages(task: Task) -> None:
    jobs = task.get_jobs()
    assert sorted(job.start_frame for job in jobs) == list(range(IMAGES))
    assert all(job.stop_frame == job.start_frame for job in jobs)


def test_the_frames_come_back_as_they_were(task: Task) -> None:
    for number, frame in enumerate(task.get_frames_info()):
        assert (frame.name, frame.width, frame.height) == (f"frame_{number:02}.png", 160, 120)
    original = Image.open(task.get_frame(3, quality="original"))
    assert original.tobytes() == Image.open(io.BytesIO(picture(3))).tobytes()
    assert Image.open(task.get_frame(3, quality="compressed")).format == "JPEG"
    assert Image.open(task.get_preview()).size == (160, 120)


def test_the_jobs_are_completed(annotated: Task) -> None:
    assert {job.state for job in annotated.get_jobs()} == {"completed"}


def test_shapes_are_created_updated_and_deleted(annotated: Task) -> None:
    job = min(annotated.get_jobs(), key=lambda each: -each.start_frame)
    label = annotated.get_labels()[0].id
    new = models.LabeledShapeRequest(type="rectangle", label_id=label, frame=job.start_frame, points=[1, 2, 30, 40])
    job.update_annotations(models.PatchedLabeledDataRequest(shapes=[new]), action=AnnotationUpdateAction.CREATE)
    (made,) = job.get_annotations().shapes
    moved = models.LabeledShapeRequest(
        id=made.id, type="rectangle", label_id=label, frame=made.frame, points=[5, 6, 7, 8]
    )
    job.update_annotations(models.PatchedLabeledDataRequest(shapes=[moved]), action=AnnotationUpdateAction.UPDATE)
    (kept,) = job.get_annotations().shapes
    assert kept.points == [5, 6, 7, 8]
    job.remove_annotations(ids=[kept.id])
    assert job.get_annotations().shapes == []


def test_the_export_holds_the_drawn_masks(annotated: Task, tmp_path: Path) -> None:
    annotated.export_dataset("Segmentation mask 1.1", tmp_path / "masks.zip", include_images=False)
    with zipfile.ZipFile(tmp_path / "masks.zip") as archive:
        masks = {name for name in archive.namelist() if name.startswith("SegmentationClass/")}
        assert masks == {"SegmentationClass/frame_00.png", "SegmentationClass/frame_01.png"}
        with Image.open(archive.open("SegmentationClass/frame_01.png")) as mask:
            pixels = mask.convert("RGB")
            assert pixels.getbbox() == (50, 40, 100, 80)
            assert pixels.getpixel((70, 60)) == (255, 0, 0)
        with Image.open(archive.open("SegmentationClass/frame_00.png")) as polygon:
            assert polygon.convert("RGB").getpixel((35, 20)) == (0x66, 0xFF, 0x66)
        assert "Tool:102,255,102::" in archive.read("labelmap.txt").decode().splitlines()


def test_the_export_of_cvats_own_format_holds_every_shape(annotated: Task, tmp_path: Path) -> None:
    annotated.export_dataset("CVAT for images 1.1", tmp_path / "cvat.zip", include_images=False)
    with zipfile.ZipFile(tmp_path / "cvat.zip") as archive:
        text = archive.read("annotations.xml").decode()
    assert text.count("<image ") == IMAGES
    assert '<polygon label="Tool"' in text
    assert '<mask label="InBody"' in text


def test_a_failed_upload_says_why(admin: Client, project: Project, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(BackgroundRequestException, match="cannot identify image file"):
        admin.tasks.create_from_data({"name": "broken", "project_id": project.id}, resources=[tmp_path / "broken.png"])


def test_an_ordinary_user_sees_only_what_he_is_given(cvat: Cvat, admin: Client, project: Project, task: Task) -> None:
    with logged_in(cvat, register(cvat, "annotator")) as annotator:
        assert annotator.projects.list() == []
        with pytest.raises(ForbiddenException):
            annotator.projects.retrieve(project.id)
        with pytest.raises(ForbiddenException):
            annotator.tasks.retrieve(task.id)
        first = task.get_jobs()[0]
        first.update({"assignee": annotator.users.retrieve_current_user().id})
        assert [job.id for job in annotator.jobs.list()] == [first.id]
        own = annotator.projects.create({"name": "of the annotator", "labels": [{"name": "a"}]})
        assert {each.id for each in admin.projects.list()} >= {own.id, project.id}


def test_a_read_only_token_reads_and_does_not_write(cvat: Cvat, admin: Client, project: Project) -> None:
    made, _ = admin.api_client.auth_api.create_access_tokens(models.AccessTokenWriteRequest(name="reader"))
    with client_of(cvat) as reader:
        reader.api_client.set_default_header("Authorization", f"Bearer {made.value}")
        assert reader.projects.retrieve(project.id).name == "endoscopy"
        with pytest.raises(ForbiddenException):
            reader.projects.create({"name": "refused", "labels": []})
