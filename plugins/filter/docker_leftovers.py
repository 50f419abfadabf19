"""The filter docker_leftovers: what an engine holds beyond the lab's containers."""

from __future__ import annotations

DOCUMENTATION = r"""
name: docker_leftovers
short_description: What an engine holds beyond the lab's containers
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Tells which images are the lab's and may go, and what is somebody else's.
  - >-
    An image is the lab's where it was not there before, its repository is one of the lab's, in whatever version, and no
    container of somebody else's uses it.
options:
  _input:
    description: >-
      What C(docker_host_info) says with C(containers), C(images), C(volumes) and C(networks), all of it verbose.
    type: dict
    required: true
  lab:
    description: >-
      The lab's C(images) as they are named, its C(containers), C(volumes) and C(networks), each a pattern for
      whole names.
    type: dict
    required: true
  found:
    description: >-
      What Docker held before, as C(host_record) writes it; null where there was no Docker.
    type: dict
"""

EXAMPLES = r"""
held: "{{ docker | endolab.active_learning.docker_leftovers(lab=lab, found=none) }}"
lab: {images: [caddy:2.10.2], containers: monailabel, volumes: cvat_.*, networks: cvat_.*}
"""

RETURN = r"""
_value:
  description: >-
    C(images), the lab's, each by a name to remove it by; C(data), the lab's volumes; C(foreign), what is not the
    lab's, each in words.
  type: dict
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.endolab.active_learning.plugins.module_utils.image_names import repository

NOTHING: dict[str, list[str]] = {"images": [], "tags": [], "volumes": [], "networks": []}
DOCKERS_NETWORKS = {"bridge", "host", "none"}


def names(image: Mapping[str, Any], kind: str) -> list[str]:
    """An image's tags, or digests, without the place-holders of older engines."""
    return [name for name in image.get(kind) or [] if not name.startswith("<none>")]


def docker_leftovers(
    held: Mapping[str, Any], lab: Mapping[str, Any], found: Mapping[str, list[str]] | None = None
) -> dict[str, list[str]]:
    """What the engine holds; DOCUMENTATION says of what."""
    before = found or NOTHING
    lab_repositories = set(map(repository, lab["images"]))
    foreign: list[str] = []
    used: set[str] = set()
    for container in held["containers"]:
        name = container["Names"][0].lstrip("/")
        if not re.fullmatch(lab["containers"], name):
            foreign.append(f"container {name}")
            used.add(container["ImageID"])
    images = []
    for image in held["images"]:
        tags, digests = names(image, "RepoTags"), names(image, "RepoDigests")
        new = [tag for tag in tags if repository(tag) in lab_repositories and tag not in before["tags"]]
        others = set(tags) - set(new)
        dangling = not tags and digests and set(map(repository, digests)) <= lab_repositories
        if image["Id"] not in used:
            images += new or ([image["Id"]] if dangling and image["Id"] not in before["images"] else [])
        if image["Id"] not in before["images"] and (others or not (new or dangling)):
            foreign.append(f"image {(sorted(others) or [image['Id']])[0]}")
    volumes = {volume["Name"] for volume in held["volumes"]}
    networks = {network["Name"] for network in held["networks"]} - DOCKERS_NETWORKS
    data = sorted(name for name in volumes if re.fullmatch(lab["volumes"], name))
    foreign += [f"volume {name}" for name in sorted(volumes - set(data))]
    foreign += [f"network {name}" for name in sorted(networks) if not re.fullmatch(lab["networks"], name)]
    return {"images": images, "data": data, "foreign": foreign}


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., dict[str, list[str]]]]:
        return {"docker_leftovers": docker_leftovers}
