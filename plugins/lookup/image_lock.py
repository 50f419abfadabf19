"""The lookup image_lock: the images of the stack, pinned to the byte where a lab has locked them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image_lock
short_description: The images of the stack, pinned to the byte where a lab has locked them
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Reads the file that C(lock.yml) writes, and says what does not fit in it.
  - An image that is locked has its digest in the place of its tag, as C(community.docker) finds none that has both.
options:
  _terms:
    description: Path of the file on the controller; where there is none, nothing is locked.
    type: path
    required: true
  tags:
    description: The name and tag of each image, without a registry, by the image's key.
    type: dict
    required: true
  registry:
    description: What is put in front of every name.
    type: str
    default: ""
"""

EXAMPLES = r"""
lock: "{{ lookup('endolab.active_learning.image_lock', '/lab/images.lock', tags={'caddy': 'caddy:2.10.2'}) }}"
"""

RETURN = r"""
_raw:
  description: >-
    For each file C(names), every image with its tag, and C(images), as it is to run, both by key; C(digests), of each
    that is locked by its name with the tag; and C(faults), what is wrong with the file, in words.
  type: list
  elements: dict
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.lookup import LookupBase
from ansible_collections.endolab.active_learning.plugins.module_utils.image_names import repository

LOCKED = re.compile(r"([^@\s]+)@(sha256:[0-9a-f]{64})")
# One of the lines that lock.yml writes.
LINE = re.compile(r"(?m)^(\w+):[ \t]*(\S*)[ \t]*$")


def parts(entry: Any) -> tuple[str, str] | None:
    """Name with tag, and digest, of one entry; None where it is no such text."""
    found = LOCKED.fullmatch(entry) if isinstance(entry, str) else None
    return (found[1], found[2]) if found else None


def doubtful(text: str) -> set[str]:
    """The keys that stand there twice with different images, as after a merge."""
    lines = set(LINE.findall(text))
    return {key for key, count in Counter(key for key, _ in lines).items() if count > 1}


def faults(lock: Any, twice: set[str], tags: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with what the file holds."""
    for key in sorted(twice):
        yield f"it has {key} twice, with different images"
    if not isinstance(lock, Mapping):
        yield "it is no YAML of a name and an image a line"
        return
    for key in sorted(map(str, lock.keys() - tags.keys())):
        yield f"it has {key}, which is no image of the stack"
    for key, tag in sorted(tags.items()):
        if key not in lock:
            yield f"it lacks {key}"
        elif not (found := parts(lock[key])):
            yield f'{key} is "{lock[key]}", and not {tag}@sha256: with 64 hexadecimal digits'
        elif found[0] != tag:
            yield f"{key} is locked as {found[0]}, and images.yml has {tag}"


def read(text: str) -> Any:
    """What the file holds; None where it is no YAML."""
    try:
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None


def locked(path: Path, tags: Mapping[str, str], registry: str) -> dict[str, Any]:
    """What RETURN describes, of one file."""
    there = path.is_file()
    text = path.read_text(encoding="utf-8", errors="replace") if there else "{}"
    lock, twice = read(text), doubtful(text)
    # One line that is no YAML does not take the others with it.
    lines = lock if isinstance(lock, Mapping) else dict(LINE.findall(text))
    entries = {key: parts(lines.get(key)) for key in tags if key not in twice}
    # An entry of another tag says nothing of this one.
    own = {key: entry[1] for key, entry in entries.items() if entry and entry[0] == tags[key]}
    names = {key: registry + tag for key, tag in tags.items()}
    return {
        "names": names,
        "images": {key: f"{repository(name)}@{own[key]}" if key in own else name for key, name in names.items()},
        "digests": {names[key]: digest for key, digest in own.items()},
        "faults": list(faults(lock, twice, tags)) if there else [],
    }


class LookupModule(LookupBase):  # type: ignore[misc]
    """Ansible's side of it."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        return [locked(Path(term), self.get_option("tags"), self.get_option("registry")) for term in terms]
