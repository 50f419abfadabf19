"""The module bundle_check: whether a bundle on the host is whole; its action plugin asks it bit by bit."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_check
short_description: Whether a bundle on the host is whole
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Compares the manifest's sum, then which files there are and their sizes, then the sum of each, and names every file
    that is missing, damaged or not of the bundle.
  - Changes nothing. Says every few seconds how many bytes are done, and how long the rest will take.
options:
  path:
    description: The bundle's directory on the host.
    type: path
    required: true
  digest:
    description: SHA-256 of the manifest, in hexadecimal digits; empty where nobody has said it.
    type: str
    default: ""
  skip:
    description: How many files, in the manifest's order, are known to be right; the action says it.
    type: int
    default: 0
  seconds:
    description: After so many seconds no other file is begun; the action says it.
    type: int
    default: 5
attributes:
  check_mode:
    description: The same, as nothing is changed.
    support: full
"""

EXAMPLES = r"""
- name: The bundle is whole
  endolab.active_learning.bundle_check:
    path: /srv/bundle
"""

RETURN = r"""
system:
  description: C(id), C(codename) and C(architecture) of the hosts that it was made for.
  returned: success
  type: dict
suites:
  description: The suites of the distribution that it has packages of, by the names of their repositories in the bundle.
  returned: success
  type: dict
images:
  description: Digests of its images, by their names.
  returned: success
  type: dict
packages:
  description: The packages that it was made for, some with C(=) and a version; it holds what they need, too.
  returned: success
  type: list
  elements: str
model:
  description: C(name) and C(checksum) of the model bundle.
  returned: success
  type: dict
total:
  description: Bytes of all its files.
  returned: success
  type: int
checked:
  description: How many files are known to be right now, and their bytes.
  returned: success
  type: dict
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import (
    BundleError,
    digest,
    misfits,
    read,
)


def check(root: Path, expected: str, skip: int, seconds: int) -> dict[str, object]:
    """What RETURN says. Raises BundleError, which names each file that is not as it should be."""
    manifest = read(root, expected)
    files = manifest["files"]
    faults = misfits(root, files) if skip == 0 else []
    deadline, done = time.monotonic() + seconds, 0
    if not faults:
        for path in list(files)[skip:]:
            if done and time.monotonic() >= deadline:
                break
            try:
                if digest(root / path) != files[path]["sha256"]:
                    faults.append(f"{path} is damaged")
            except OSError as fault:
                faults.append(f"{path} cannot be read ({fault.strerror})")
            done += 1
    if faults:
        raise BundleError(
            f"The bundle in {root} is not whole: {'; '.join(faults)}. Copy it again, with"
            " `rsync --archive --checksum --delete`, or take away what is not of it; then run this again."
        )
    sizes = [entry["size"] for entry in files.values()]
    return {
        **{key: manifest[key] for key in ("system", "suites", "images", "packages", "model")},
        "total": sum(sizes),
        "checked": {"files": skip + done, "bytes": sum(sizes[: skip + done])},
        "whole": skip + done == len(files),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "digest": {"type": "str", "default": ""},
            "skip": {"type": "int", "default": 0},
            "seconds": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        found = check(Path(given["path"]), given["digest"], given["skip"], given["seconds"])
    except (BundleError, OSError) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
