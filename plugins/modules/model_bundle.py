"""The module model_bundle: a MONAI bundle staged completely or not at all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_bundle
short_description: A MONAI bundle staged completely or not at all
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Unpacks a bundle beside its place, checks that nothing is missing, and only then renames it.
  - A bundle that is there and whole is never touched again, because training owns it.
  - What is there but not whole is moved aside; MONAI Label neither starts with it nor downloads another.
options:
  src:
    description: The bundle's zip file, as a path on the host or a URL. Not looked at when the bundle is there.
    type: str
    required: true
  checksum:
    description: Its sum, C(sha256:) or C(sha1:) and hexadecimal digits.
    type: str
    required: true
  dest:
    description: The bundle's directory.
    type: path
    required: true
attributes:
  check_mode:
    description: Says whether the bundle would be staged.
    support: full
"""

EXAMPLES = r"""
- name: The bundle is staged completely or not at all
  endolab.active_learning.model_bundle:
    src: /var/cache/bundle.zip
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    dest: /srv/endolab/apps/endoscopy/model/endoscopic_tool_segmentation
"""

RETURN = r"""
moved_aside:
  description: Where a bundle that was not whole lies now.
  returned: when there was one
  type: str
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from datetime import datetime, timezone
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import fetch_file
from ansible_collections.endolab.active_learning.plugins.module_utils.model_bundles import faults


class Refusal(Exception):
    """What is wrong with the bundle, and how to mend it."""


def verify(archive: Path, checksum: str) -> None:
    """Refuses an archive whose sum is another."""
    algorithm, _, expected = checksum.partition(":")
    if algorithm not in ("sha256", "sha1"):
        raise Refusal(f"The checksum {checksum!r} begins with neither sha256: nor sha1:.")
    digest = hashlib.new(algorithm)
    with archive.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected.lower():
        raise Refusal(
            f"The bundle's {algorithm} is {digest.hexdigest()}, and {expected} was expected. Nothing was staged; mend"
            " monailabel_bundle or monailabel_bundle_checksum."
        )


def unpack(archive: Path, directory: Path) -> Path:
    """The archive's files below `directory`; returns the bundle's top, which may be a single folder of its own."""
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                parts = Path(member.filename).parts
                if member.filename.startswith(("/", "\\")) or ".." in parts:
                    raise Refusal(f"The bundle's archive names {member.filename!r}, which lies outside of it.")
            file.extractall(directory)
    except zipfile.BadZipFile as fault:
        raise Refusal(f"The bundle is no zip file ({fault}).") from None
    inside = list(directory.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else directory


def sync(bundle: Path) -> None:
    """Waits until every file is on the disk, so that no power cut leaves a renamed but hollow bundle."""
    for path in [*bundle.rglob("*"), bundle]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def stage(archive: Path, checksum: str, dest: Path) -> Path | None:
    """Puts the bundle into its place; returns where one that was not whole lies now."""
    verify(archive, checksum)
    dest.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    prefix = f".{dest.name}.staging-"
    for leftover in dest.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=dest.parent))
    try:
        bundle = unpack(archive, staging)
        missing = faults(bundle)
        if missing:
            raise Refusal(f"The bundle lacks {', '.join(missing)}. Nothing was staged; take a whole bundle.")
        bundle.chmod(0o755)
        sync(bundle)
        aside = None
        if dest.exists():
            aside = dest.with_name(f"{dest.name}.incomplete-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}")
            dest.rename(aside)
        bundle.rename(dest)
        return aside
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "str", "required": True},
            "checksum": {"type": "str", "required": True},
            "dest": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    src, dest = module.params["src"], Path(module.params["dest"])
    if not faults(dest):
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        archive = Path(fetch_file(module, src) if src.startswith(("http://", "https://")) else src)
        if not archive.is_file():
            raise Refusal(f"There is no bundle at {src}.")
        aside = stage(archive, module.params["checksum"], dest)
    except Refusal as fault:
        module.fail_json(msg=str(fault))
    except OSError as fault:
        module.fail_json(
            msg=f"The bundle cannot be staged at {dest}: {fault}. Nothing was staged; mend that, then run this again."
        )
    module.exit_json(changed=True, **({"moved_aside": str(aside)} if aside else {}))


if __name__ == "__main__":
    main()
