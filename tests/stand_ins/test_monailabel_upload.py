"""MONAI Label 0.8.5's own way into CVAT: Basic auth, one multipart call, and a filter in JSON logic."""

from __future__ import annotations

import json

import pytest

from tests.stand_ins.deployment import Http, wait_until
from tests.stand_ins.story import frames, picture


def make(client: Http, kind: str, **content: object) -> int:
    answer = client.post(f"/api/{kind}", json=content)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


@pytest.fixture(scope="module")
def project(client: Http) -> int:
    return make(client, "projects", name="MONAILabel", labels=[{"name": "Tool", "attributes": [], "color": "#66ff66"}])


@pytest.fixture(scope="module")
def task(client: Http, project: int) -> int:
    """A task of three frames, once CVAT has taken them in."""
    task = make(client, "tasks", name="Iteration_1", labels=[], project_id=project, subset="Train", segment_size=1)
    answer = client.post(f"/api/tasks/{task}/data", data={"image_quality": "70"}, files=frames(3))
    assert answer.status_code == 202, answer.text
    wait_until(lambda: client.get(f"/api/tasks/{task}").json().get("size") == 3, 30, "the frames are taken in")
    return task


def found(client: Http, kind: str, rule: object) -> list[int]:
    return [item["id"] for item in client.get(f"/api/{kind}", params={"filter": json.dumps(rule)}).json()["results"]]


def test_each_frame_is_a_job_to_be_done(client: Http, task: int) -> None:
    jobs = client.get("/api/jobs", params={"task_id": task}).json()
    assert [(job["start_frame"], job["state"]) for job in jobs["results"]] == [(2, "new"), (1, "new"), (0, "new")]


def test_the_project_filter_finds_the_projects_tasks_only(client: Http, project: int, task: int) -> None:
    make(client, "tasks", name="elsewhere", labels=[{"name": "a"}])
    assert found(client, "tasks", {"and": [{"==": [{"var": "project_id"}, project]}]}) == [task]


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ({"==": [{"var": "name"}, "one"]}, {"one"}),
        ({"or": [{"==": [{"var": "name"}, "one"]}, {"==": [{"var": "name"}, "two"]}]}, {"one", "two"}),
        ({"and": [{"!": {"==": [{"var": "name"}, "one"]}}, {"in": ["w", {"var": "name"}]}]}, {"two"}),
        ({"in": [{"var": "name"}, ["one", "three"]]}, {"one"}),
    ],
)
def test_a_filter_keeps_what_its_rule_says(client: Http, rule: object, names: set[str]) -> None:
    numbers = {make(client, "projects", name=name, labels=[]): name for name in ("one", "two")}
    try:
        assert {numbers[number] for number in found(client, "projects", rule) if number in numbers} == names
    finally:
        for number in numbers:
            assert client.delete(f"/api/projects/{number}").status_code == 204


def test_a_rule_that_is_none_is_refused(client: Http) -> None:
    assert client.get("/api/tasks", params={"filter": "{"}).status_code == 400


def test_a_file_comes_in_parts_and_goes_on_where_it_stopped(client: Http, project: int) -> None:
    """The resumable protocol (tus 1.0) that cvat-sdk uses for large files."""
    task, content = make(client, "tasks", name="parts", project_id=project), picture(1)
    data = f"/api/tasks/{task}/data/"
    assert client.post(data, headers={"upload-start": ""}).status_code == 202
    name = {"upload-length": str(len(content)), "upload-metadata": "filename ZnJhbWUucG5n", "tus-resumable": "1.0.0"}
    begun = client.post(data, headers=name)
    assert begun.status_code == 201
    where, half = begun.headers["location"], len(content) // 2
    for start, part in ((0, content[:half]), (half, content[half:])):
        assert client.head(where).headers["upload-offset"] == str(start)
        headers = {"upload-offset": str(start), "content-type": "application/offset+octet-stream"}
        assert client.patch(where, data=part, headers=headers).status_code == 204
    assert client.post(data, headers={"upload-finish": ""}, json={"image_quality": 70}).status_code == 202
    wait_until(lambda: client.get(f"/api/tasks/{task}").json().get("size") == 1, 30, "the file is taken in")
    frame = client.get(f"/api/tasks/{task}/data", params={"type": "frame", "number": "0", "quality": "original"})
    assert frame.content == content
