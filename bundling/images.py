"""Images as an OCI layout: byte for byte what their registries hold, so that digests stay, and each layer once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests
from ansible_collections.endolab.active_learning.bundling.fetching import TIMEOUT, Wanted
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError
from oras import defaults
from oras.container import Container
from oras.provider import Registry

DOCKER_HUB = "registry-1.docker.io"  # which answers for docker.io
# What helps where a registry gives nothing, by what it answers.
REMEDIES = {
    requests.codes.unauthorized: "See that the name is right, or use `docker login` where not everybody may have it.",
    requests.codes.forbidden: "Use `docker login` first, as somebody who may have it.",
    requests.codes.too_many_requests: "Wait, or use `docker login`: who has an account may ask for more.",
}
NAME = "org.opencontainers.image.ref.name"
ACCEPT = {"Accept": ", ".join(defaults.default_manifest_accepted_media_types)}


class Repository:
    """One image in its registry, named as `docker pull` takes it; plain HTTP on loopback alone, as for Docker."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.container = Container(reference)
        self.registry = Registry(insecure=str(self.container.registry).partition(":")[0] == "127.0.0.1")
        self.registry.session.request = partial(self.registry.session.request, timeout=TIMEOUT)
        hub = self.container.registry == defaults.registry.index_name
        if hub:
            self.container.registry = defaults.registry.index_server  # as `docker login` calls it
        self.registry.auth.load_configs(self.container)
        if hub:
            self.container.registry = DOCKER_HUB
            self.container.namespace = self.container.namespace or "library"

    def ask(self, url: str, headers: dict[str, str], method: str = "GET") -> requests.Response:
        """What the registry answers. Raises BundleError where it does not, or lets nobody have it."""
        answer = self._ask(url, headers, method)
        if answer.status_code == requests.codes.unauthorized:
            # A token is good for some minutes, and large images take longer.
            answer.close()
            self.registry.auth.token = None
            answer = self._ask(url, headers, method)
        if remedy := REMEDIES.get(answer.status_code):
            raise BundleError(f"{self.reference} cannot be pulled: {answer.status_code} {answer.reason}. {remedy}")
        return answer

    def _ask(self, url: str, headers: dict[str, str], method: str) -> requests.Response:
        try:
            answer: requests.Response = self.registry.do_request(
                f"{self.registry.prefix}://{url}", method, headers=dict(headers), stream=True
            )
        except ValueError as fault:  # of oras, where the registry wants a login in a way of its own
            raise BundleError(
                f"{self.reference} cannot be pulled: {fault} {REMEDIES[requests.codes.unauthorized]}"
            ) from None
        return answer

    def digest(self) -> str:
        """The digest that the name stands for now, or the one in the name."""
        if self.container.digest:
            return str(self.container.digest)
        answer = self.ask(self.container.manifest_url(), ACCEPT, "HEAD")
        if not answer.ok:
            raise BundleError(f"{self.reference} cannot be pulled: {answer.status_code} {answer.reason}.")
        return answer.headers["Docker-Content-Digest"]

    def manifest(self, digest: str) -> bytes:
        """The manifest of this digest, as it is."""
        answer = self.ask(self.container.manifest_url(digest), ACCEPT)
        if not answer.ok:
            raise BundleError(f"{self.reference} cannot be pulled: {answer.status_code} {answer.reason}.")
        if f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != digest:
            raise BundleError(f"{self.reference}: the registry's manifest is not the one of {digest}.")
        return answer.content

    def blob(self, layout: Path, descriptor: dict[str, Any]) -> Wanted:
        """A layer or a configuration, as a file of the layout."""
        url = self.container.get_blob_url(descriptor["digest"])
        return Wanted(
            path=place(layout, descriptor["digest"]),
            origin=f"{self.reference}, {descriptor['digest']}",
            ask=partial(self.ask, url),
            size=descriptor["size"],
            sum=descriptor["digest"],
        )


def place(layout: Path, digest: str) -> Path:
    """Where a layout has what has this digest."""
    return layout / "blobs" / digest.replace(":", "/")


@dataclass(frozen=True)
class Image:
    """An image of the layout: its descriptor in index.json, its manifests by their digests, and its other files."""

    descriptor: dict[str, Any]
    manifests: dict[str, bytes]
    blobs: list[Wanted]


def find(name: str, reference: str, architecture: str, layout: Path) -> Image:
    """What has to be fetched of an image for Linux on this architecture, as Debian calls it.

    `name` is how hosts ask for it, `reference` where it is now. Raises BundleError where there is none.
    """
    repository = Repository(reference)
    digest = repository.digest()
    raw = repository.manifest(digest)
    manifests, top = {digest: raw}, json.loads(raw)
    manifest, kind = top, defaults.default_manifest_media_type
    if "manifests" in top:
        kind = defaults.default_index_media_type
        own = next(_of(architecture, top["manifests"]), None)
        if own is None:
            raise BundleError(f"{reference} is not there for linux/{architecture}.")
        manifests[own["digest"]] = repository.manifest(own["digest"])
        manifest = json.loads(manifests[own["digest"]])
    descriptor = {
        "mediaType": top.get("mediaType", kind),
        "digest": digest,
        "size": len(raw),
        "annotations": {NAME: name},
    }
    blobs = [repository.blob(layout, each) for each in (manifest["config"], *manifest["layers"])]
    return Image(descriptor, manifests, blobs)


def _of(architecture: str, descriptors: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in descriptors:
        platform = each.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
            yield each


def write_layout(layout: Path, images: list[Image]) -> None:
    """Writes what names the images, when all their blobs are there."""
    for image in images:
        for digest, raw in image.manifests.items():
            path = place(layout, digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
    (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}), encoding="utf-8")
    index = {"schemaVersion": 2, "manifests": [image.descriptor for image in images]}
    (layout / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
