"""Images come from their registries as they are, and a host finds them in the bundle as in a registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import bundle_server
import pytest
import requests
from ansible_collections.endolab.active_learning.bundling import images
from ansible_collections.endolab.active_learning.bundling.fetching import fetch
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError

from tests.unit.bundling.conftest import INDEX, MANIFEST, Layout, served

Guard = Callable[[int], tuple[str, list[str | None]]]


def bundled(root: Path, registry: str, *names: str, architecture: str = "amd64") -> list[images.Image]:
    """Puts images into the bundle at `root`."""
    found = [images.find(name, f"{registry}/{name}", architecture, root / "images") for name in names]
    for image in found:
        for blob in image.blobs:
            fetch(blob, lambda _: None)
    images.write_layout(root / "images", found)
    return found


def test_an_image_keeps_its_digest(tmp_path: Path, layout: Layout, registry: str) -> None:
    for image, original in zip(bundled(tmp_path, registry, "postgres:15", "cvat/ui:v2"), layout.index, strict=True):
        assert image.descriptor == original


def test_of_several_architectures_one_is_fetched(tmp_path: Path, registry: str) -> None:
    bundled(tmp_path, registry, "postgres:15")
    held = {path.read_bytes()[:14] for path in (tmp_path / "images" / "blobs" / "sha256").iterdir()}
    assert {b"layer of amd64", b"common layer"} < held
    assert b"layer of arm64" not in held


def test_a_layer_that_two_images_have_lies_there_once(tmp_path: Path, registry: str) -> None:
    one, other = bundled(tmp_path, registry, "postgres:15", "cvat/ui:v2")
    common = {blob.path for blob in one.blobs} & {blob.path for blob in other.blobs}
    assert [path.read_bytes() for path in common] == [b"common layer"]


def test_a_digest_in_the_name_is_the_one_that_counts(tmp_path: Path, layout: Layout, registry: str) -> None:
    digest = layout.index[1]["digest"]
    image = images.find("cvat/ui:v2", f"{registry}/cvat/ui:v1@{digest}", "amd64", tmp_path)
    assert image.descriptor["digest"] == digest


@pytest.mark.parametrize(
    ("name", "architecture", "said"),
    [("postgres:16", "amd64", "cannot be pulled: 404"), ("postgres:15", "riscv64", "is not there for linux/riscv64")],
)
def test_what_the_registry_lacks_is_named(
    tmp_path: Path, registry: str, name: str, architecture: str, said: str
) -> None:
    with pytest.raises(BundleError, match=f"{registry}/{name} {said}"):
        images.find(name, f"{registry}/{name}", architecture, tmp_path)


def test_another_manifest_than_its_digest_says_is_refused(tmp_path: Path, layout: Layout, registry: str) -> None:
    digest = layout.index[1]["digest"]
    images.place(layout.root / "images", digest).write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match="is not the one of sha256:"):
        images.find("cvat/ui:v2", f"{registry}/cvat/ui:v2", "amd64", tmp_path)


def test_a_token_that_has_ended_is_followed_by_another(tmp_path: Path, guarded: Guard) -> None:
    address, tokens = guarded(2)
    bundled(tmp_path, address, "cvat/ui:v2")
    assert tokens == [None, None, None]
    assert (tmp_path / "images" / "index.json").is_file()


def test_who_is_not_let_in_is_told_what_helps(tmp_path: Path, guarded: Guard) -> None:
    address, _ = guarded(0)
    with pytest.raises(
        BundleError, match=r"cannot be pulled: 401 Unauthorized\. See that the name is right, or use `docker login`"
    ):
        bundled(tmp_path, address, "cvat/ui:v2")


@pytest.mark.parametrize(("name", "known_as"), [("redis:7", "https://index.docker.io/v1/"), ("r.lab/redis:7", "r.lab")])
def test_what_docker_login_has_written_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, known_as: str
) -> None:
    (tmp_path / ".docker").mkdir()
    login = {"auths": {known_as: {"auth": "bWU6c2VjcmV0"}, "other.lab": {"auth": "b3RoZXI="}}}
    (tmp_path / ".docker/config.json").write_text(json.dumps(login), encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert images.Repository(name).registry.auth._basic_auth == "bWU6c2VjcmV0"


def test_a_host_pulls_from_the_bundle(tmp_path: Path, layout: Layout, registry: str) -> None:
    bundled(tmp_path, registry, "postgres:15", "cvat/ui:v2")
    with served(bundle_server.serve(0, tmp_path)) as address:
        for name, kind, original in zip(("postgres:15", "cvat/ui:v2"), (INDEX, MANIFEST), layout.index, strict=True):
            repository, _, tag = name.partition(":")
            for reference in (tag, original["digest"]):
                answer = requests.get(f"http://{address}/v2/{repository}/manifests/{reference}", timeout=5)
                assert answer.headers["Content-Type"] == kind
                assert answer.headers["Docker-Content-Digest"] == original["digest"]
                assert f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == original["digest"]
        layer = hashlib.sha256(b"layer of ui").hexdigest()
        blob = requests.get(f"http://{address}/v2/cvat/ui/blobs/sha256:{layer}", timeout=5)
        assert blob.content == b"layer of ui"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/postgres/manifests/16",
        "/v2/redis/manifests/15",
        "/v2/postgres/manifests/sha256:00",
        "/",
        "/images/",
        "/v2/x",
    ],
)
def test_there_is_nothing_else(registry: str, path: str) -> None:
    assert requests.get(f"http://{registry}{path}", timeout=5).status_code == requests.codes.not_found


def test_it_is_a_registry_and_nothing_is_put_there(registry: str) -> None:
    assert requests.get(f"http://{registry}/v2/", timeout=5).ok
    for ask in (requests.post, requests.put, requests.delete):
        assert ask(f"http://{registry}/v2/postgres/blobs/uploads/", timeout=5).status_code == 501
