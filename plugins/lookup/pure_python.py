"""The lookup pure_python: a Python package with all that it needs, as one zip file."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pure_python
short_description: A Python package with all that it needs, as one zip file
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Packs an installed distribution of the controller, and those that it requires, into a zip file.
  - Distributions with compiled parts are left out; whoever imports the zip has to have them.
  - The same versions make the same file, byte for byte.
options:
  _terms:
    description: Names of distributions, as pip knows them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: cvat-sdk lies beside the app
  ansible.builtin.copy:
    src: "{{ lookup('endolab.active_learning.pure_python', 'cvat-sdk') }}"
    dest: /srv/endolab/apps/endoscopy/libraries/cvat-sdk.zip
    mode: "0644"
"""

RETURN = r"""
_raw:
  description: >-
    Path of the zip file on the controller, for each name, in a directory that is called as its SHA-256; it is there
    until the run ends.
  type: list
  elements: path
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

COMPILED = (".so", ".pyd")
EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip knows no earlier date
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def closure(name: str) -> list[metadata.Distribution]:
    """The distribution `name` and what it requires, itself first; extras and other platforms are left out."""
    found: dict[str, metadata.Distribution] = {}
    wanted = [name]
    while wanted:
        one = wanted.pop(0)
        key = re.sub(r"[-_.]+", "-", one).lower()
        if key in found:
            continue
        try:
            found[key] = metadata.distribution(one)
        except metadata.PackageNotFoundError as error:
            raise AnsibleError(
                f"{one}, which Endolab brings to the host, is not installed beside Ansible;"
                f" pip install --requirement {REQUIREMENTS}"
            ) from error
        for requirement in found[key].requires or []:
            if ";" not in requirement and (match := REQUIREMENT.match(requirement)):
                wanted.append(match[0])
    return list(found.values())


def modules(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    """The files of a distribution that can be imported, with their names in the zip; none where one is compiled."""
    files = distribution.files or []
    if any(file.suffix in COMPILED for file in files):
        return
    for file in files:
        if ".." not in file.parts and ".dist-info" not in file.parts[0] and file.suffix != ".pyc":
            yield str(file), Path(str(distribution.locate_file(file)))


def pack(name: str, directory: Path) -> Path:
    """Packs `name` into a directory below `directory` that is called as the zip file's digest; returns the zip file."""
    partial = directory / f"{name}.{os.getpid()}"
    with zipfile.ZipFile(partial, "w") as archive:
        for arcname, path in sorted(entry for one in closure(name) for entry in modules(one)):
            entry = zipfile.ZipInfo(arcname, EARLIEST)
            entry.external_attr = 0o644 << 16
            # Every run packs anew what most often is there already: quickly rather than tightly.
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=1)
    target = directory / hashlib.sha256(partial.read_bytes()).hexdigest() / f"{name}.zip"
    target.parent.mkdir(exist_ok=True)
    partial.replace(target)
    return target


class LookupModule(LookupBase):  # type: ignore[misc]
    """Ansible's side of it; a run packs a distribution once, for all its hosts and instances."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        directory = Path(constants.DEFAULT_LOCAL_TMP)
        return [str(next(directory.glob(f"*/{name}.zip"), None) or pack(name, directory)) for name in terms]
