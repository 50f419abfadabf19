"""The bill of materials of a bundle, as CycloneDX: a component for each image, package, wheel and archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from ansible_collections.endolab.active_learning.plugins.module_utils.image_names import repository
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import parse_wheel_filename


def bill(manifest: dict[str, Any]) -> str:
    """The bill of what the manifest names, in JSON."""
    return JsonV1Dot6(Bom(components=[*_images(manifest["images"]), *_files(manifest)])).output_as_string(indent=1)


def _images(images: dict[str, str]) -> Iterator[Component]:
    for name, digest in images.items():
        bare = repository(name)
        tag = name.partition("@")[0].removeprefix(bare).removeprefix(":")
        url = PackageURL("oci", name=bare.rpartition("/")[2], version=digest, qualifiers={"tag": tag} if tag else None)
        yield _component(ComponentType.CONTAINER, bare, tag or None, digest.removeprefix("sha256:"), url)


def _files(manifest: dict[str, Any]) -> Iterator[Component]:
    system = manifest["system"]
    for path, entry in manifest["files"].items():
        file = PurePosixPath(path)
        if file.suffix == ".deb":
            name, version, architecture = unquote(file.stem).split("_")
            where = {"arch": architecture, "distro": system["codename"]}
            url = PackageURL("deb", system["id"], name, version, where)
            yield _component(ComponentType.LIBRARY, name, version, entry["sha256"], url)
        elif file.suffix == ".whl":
            name, parsed, *_ = parse_wheel_filename(file.name)
            url = PackageURL("pypi", name=name, version=str(parsed))
            yield _component(ComponentType.LIBRARY, name, str(parsed), entry["sha256"], url)
        elif file.parts[0] == "model":
            yield _component(ComponentType.MACHINE_LEARNING_MODEL, file.stem, None, entry["sha256"])
        elif file.parts[0] == "collection":
            name, _, version = file.name.removesuffix(".tar.gz").rpartition("-")
            yield _component(ComponentType.APPLICATION, name, version, entry["sha256"])


def _component(
    kind: ComponentType, name: str, version: str | None, sha256: str, url: PackageURL | None = None
) -> Component:
    return Component(
        type=kind, name=name, version=version, purl=url, hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)]
    )
