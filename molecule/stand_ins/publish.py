"""Pushes images to the stand-in registry under the names that a lab's host asks for.

Usage: python molecule/stand_ins/publish.py [--registry ADDRESS] [--missing] [NAME...]
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import docker
import requests
from catalogue import Image, catalogue
from rich.console import Console

# The manifest whose config digest is the image's id on the machine that pushed it.
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class PublishError(Exception):
    """The registry or the engine refused an image."""


def held_id(registry: str, name: str) -> str | None:
    """The id of the image that `registry` holds under NAME:TAG, None where it holds none.

    Raises requests.RequestException where the registry does not answer.
    """
    repository, _, tag = name.rpartition(":")
    url = f"http://{registry}/v2/{repository}/manifests/{tag}"
    answer = requests.get(url, headers={"Accept": _MANIFEST}, timeout=30)
    if answer.status_code == requests.codes.not_found:
        return None
    answer.raise_for_status()
    return str(answer.json()["config"]["digest"])


def missing(engine: docker.DockerClient, registry: str) -> dict[str, Image]:
    """By published name, the images that `registry` lacks or holds in another build."""
    return {
        image.published: image
        for image in catalogue()
        if isinstance(image, Image)
        and image.published
        and engine.images.get(image.tag).id != held_id(registry, image.published)
    }


def publish(engine: docker.DockerClient, registry: str, image: Image, name: str) -> None:
    """Pushes `image` as `name`. Raises PublishError where it is refused."""
    repository, _, tag = f"{registry}/{name}".rpartition(":")
    engine.images.get(image.tag).tag(repository, tag)
    try:
        for event in engine.images.push(repository, tag, stream=True, decode=True):
            if "error" in event:
                raise PublishError(f"{name}: {event['error']}")
    finally:
        # The name was only the way to the registry.
        engine.images.remove(f"{repository}:{tag}", noprune=True)


def main() -> int:
    """Pushes what the registry lacks; 1 where it refuses."""
    parser = argparse.ArgumentParser(description="Push to the stand-in registry what it lacks.")
    parser.add_argument("--registry", default="127.0.0.1:5000", help="address of the registry (default: %(default)s)")
    parser.add_argument("--missing", action="store_true", help="print the names it lacks as JSON and push nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help="push these only")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    engine = docker.from_env(timeout=600)
    lacking = missing(engine, arguments.registry)
    if arguments.missing:
        print(json.dumps(list(lacking)))
        return 0
    for name, image in lacking.items():
        if arguments.names and name not in arguments.names:
            continue
        started = time.monotonic()
        with console.status(f"{name}: on its way to {arguments.registry}"):
            try:
                publish(engine, arguments.registry, image, name)
            except PublishError as error:
                console.print(f"[red]failed[/red] {error}")
                return 1
        console.print(f"[green]pushed[/green] {name:<40} {time.monotonic() - started:6.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
