"""The module absent_paths: several files and directories taken away in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: absent_paths
short_description: Several files and directories taken away in one round trip
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Takes away paths with all that is below them, and directories only where nothing is in them.
  - Follows no links, and says nothing of what is below.
options:
  paths:
    description: Files, links, and directories with all that is below them.
    type: list
    elements: path
    default: []
  empty:
    description: >-
      Directories that go where they are empty and no mount points, after O(paths) and one after the other, so that a
      parent may follow its child.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Says what would go.
    support: full
"""

EXAMPLES = r"""
- name: Nothing of it is left
  endolab.active_learning.absent_paths:
    paths: [/srv/endolab/apps]
    empty: [/srv/endolab]
"""

RETURN = r"""
gone:
  description: What was taken away, or would be.
  returned: success
  type: list
  elements: str
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def goes_empty(path: Path, gone: list[Path]) -> bool:
    """Whether it is an empty directory, apart from what goes before it."""
    real = path.is_dir() and not path.is_symlink() and not path.is_mount()
    return real and set(path.iterdir()) <= set(gone)


def take(path: Path) -> None:
    """Takes a path away with all that is below it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> None:
    options = {"type": "list", "elements": "path", "default": []}
    module = AnsibleModule(argument_spec={"paths": options, "empty": options}, supports_check_mode=True)
    gone: list[Path] = []
    try:
        for path in map(Path, module.params["paths"]):
            if path.exists() or path.is_symlink():
                gone.append(path)
                if not module.check_mode:
                    take(path)
        for path in map(Path, module.params["empty"]):
            if goes_empty(path, gone):
                gone.append(path)
                if not module.check_mode:
                    path.rmdir()
    except OSError as fault:
        module.fail_json(
            msg=f"{fault.filename} cannot be taken away: {fault.strerror}. See what uses it, then run this again."
        )
    names = [str(path) for path in gone]
    listed = "".join(f"{name}\n" for name in names)
    module.exit_json(changed=bool(gone), gone=names, diff={"before": listed, "after": ""})


if __name__ == "__main__":
    main()
