"""The module daemon_json: settings merged into Docker's daemon.json."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: daemon_json
short_description: Settings merged into Docker's daemon.json
version_added: 1.0.0
author: Endolab (@endolab)
description:
  - Merges settings into what is there and lets C(dockerd) validate the result before it is written.
  - A file that already says the same is not touched, whatever its layout.
options:
  path:
    description: The file.
    type: path
    default: /etc/docker/daemon.json
  settings:
    description: Keys that win over what is there. Dictionaries are merged, lists are united, other keys stay.
    type: dict
    default: {}
  defaults:
    description:
      - Groups of keys that belong together; a group is used only where the file and O(settings) have none of its keys.
      - Docker does not start with the options of one log driver on another, for example.
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: Shows the file before and after.
    support: full
"""

EXAMPLES = r"""
- name: Docker keeps containers when it restarts
  endolab.active_learning.daemon_json:
    settings:
      live-restore: true
"""

RETURN = r"""
settings:
  description: What the file says now, or would.
  returned: success
  type: dict
"""


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`new` laid over `old`: dictionaries merged, lists united in order, other values replaced."""
    merged = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            merged[key] = before + [item for item in value if item not in before]
        else:
            merged[key] = value
    return merged


def parse(path: str, text: str) -> dict[str, Any]:
    """The file's settings; a ValueError that says how to mend it where it has none."""
    try:
        settings = json.loads(text) if text.strip() else {}
    except ValueError as fault:
        raise ValueError(f"{path} is not valid JSON ({fault}). Mend or remove it, then run this again.") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds no JSON object. Mend or remove it, then run this again.")
    return settings


def write(module: AnsibleModule, path: Path, text: str) -> None:
    """Writes the file once dockerd, where it is there, finds nothing wrong with it."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    dockerd = shutil.which("dockerd")
    if dockerd:
        code, _, error = module.run_command([dockerd, "--validate", "--config-file", name])
        if code:
            module.fail_json(
                msg=f"dockerd refuses the settings for {path}: {error.strip()} Nothing was written; mend"
                " docker_engine_daemon_settings, or what the host's own file says."
            )
    if not path.exists():
        Path(name).chmod(0o644)
    module.atomic_move(name, str(path), keep_dest_attrs=path.exists())


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "settings": {"type": "dict", "default": {}},
            "defaults": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        old = parse(str(path), before)
    except ValueError as fault:
        module.fail_json(msg=str(fault))
    wanted = merge(old, module.params["settings"])
    for group in module.params["defaults"]:
        if not group.keys() & wanted.keys():
            wanted = {**wanted, **group}
    after = json.dumps(wanted, indent=2, sort_keys=True) + "\n"
    changed = wanted != old or not path.exists()
    if changed and not module.check_mode:
        write(module, path, after)
    diff = {
        "before": before,
        "after": after if changed else before,
        "before_header": str(path),
        "after_header": str(path),
    }
    module.exit_json(changed=changed, settings=wanted, diff=diff)


if __name__ == "__main__":
    main()
