"""The filter docker_leftovers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.filter.docker_leftovers import docker_leftovers
from ansible_collections.endolab.active_learning.plugins.module_utils.image_names import repository

LAB = {
    "images": ["registry.lab:5000/cvat/server:v2", "postgres:15-alpine"],
    "containers": "",
    "volumes": "cvat_(db|data)",
    "networks": "",
}


def image(name: str, *tags: str, digests: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"Id": f"sha256:{name}", "RepoTags": list(tags), "RepoDigests": list(digests)}


def held(*images: dict[str, Any], **more: list[dict[str, Any]]) -> dict[str, Any]:
    networks = [{"Name": name} for name in ("bridge", "host", "none")]
    return {"containers": [], "images": list(images), "volumes": [], "networks": networks, **more}


def test_the_labs_images_go_in_whatever_version() -> None:
    engine = held(
        image("new", "registry.lab:5000/cvat/server:v2"),
        image("old", "registry.lab:5000/cvat/server:v1"),
        image("replaced", digests=("postgres@sha256:1",)),
    )
    found = docker_leftovers(engine, LAB)
    assert found["images"] == [
        "registry.lab:5000/cvat/server:v2",
        "registry.lab:5000/cvat/server:v1",
        "sha256:replaced",
    ]
    assert found["foreign"] == []


def test_a_locked_image_goes_and_one_that_was_there_by_its_tag_stays() -> None:
    lab = {**LAB, "images": ["registry.lab:5000/cvat/server@sha256:2", "postgres@sha256:1"]}
    before = {"images": ["sha256:1"], "tags": ["postgres:15-alpine"], "volumes": [], "networks": []}
    engine = held(
        image("1", "postgres:15-alpine", digests=("postgres@sha256:1",)),
        image("2", digests=("registry.lab:5000/cvat/server@sha256:2",)),
        image("3", "registry.lab:5000/cvat/server:v2", digests=("registry.lab:5000/cvat/server@sha256:3",)),
    )
    found = docker_leftovers(engine, lab, before)
    assert found == {"images": ["sha256:2", "registry.lab:5000/cvat/server:v2"], "data": [], "foreign": []}


def test_what_was_there_before_is_nobodys_reason_and_stays() -> None:
    before = {"images": ["sha256:1"], "tags": ["postgres:15-alpine"], "volumes": [], "networks": []}
    engine = held(image("1", "postgres:15-alpine", "registry.lab:5000/cvat/server:v2"))
    found = docker_leftovers(engine, LAB, before)
    assert found == {"images": ["registry.lab:5000/cvat/server:v2"], "data": [], "foreign": []}


def test_what_is_somebody_elses_is_named() -> None:
    engine = held(
        image("built", "theirs:1"),
        image("shared", "postgres:15-alpine", "theirs:2"),
        image("nameless"),
        image("used", "postgres:16"),
        containers=[{"Names": ["/web"], "ImageID": "sha256:used"}],
        volumes=[{"Name": "cvat_db"}, {"Name": "cvat_theirs"}],
    )
    engine["networks"].append({"Name": "theirs_default"})
    found = docker_leftovers(engine, LAB)
    assert found["images"] == ["postgres:15-alpine"]
    assert found["data"] == ["cvat_db"]
    assert found["foreign"] == [
        "container web",
        "image theirs:1",
        "image theirs:2",
        "image sha256:nameless",
        "volume cvat_theirs",
        "network theirs_default",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("postgres", "postgres"),
        ("registry.lab:5000/cvat/server:v2", "registry.lab:5000/cvat/server"),
        ("registry.lab:5000/cvat/server@sha256:1", "registry.lab:5000/cvat/server"),
        ("redis:7@sha256:1", "redis"),
    ],
)
def test_a_repository_is_a_name_without_tag_and_digest(name: str, expected: str) -> None:
    assert repository(name) == expected
