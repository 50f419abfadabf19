"""The module daemon_json: settings merged into Docker's daemon.json."""

from __future__ import annotations

DOCUMENTATION = r"""
module: daemon_json
short_description: Settings merged into Docker's daemon.json
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Merges settings into what is there and lets C(dockerd) validate the result before it is written.
  - A file that already says the same is not touched, whatever its layout.
  - Takes them out again, and nothing that somebody has changed or added since.
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
  state:
    description: >-
      C(present) merges the settings. C(absent) puts back what O(original) says instead of each that the file still
      has as O(settings) and O(defaults) say it.
    type: str
    choices: [present, absent]
    default: present
  original:
    description: The file as it was before; with C(absent), and not there where there was none.
    type: path
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: >-
      Shows the keys in O(settings) and O(defaults), before and after; another one may hold a proxy's password.
    support: full
"""

EXAMPLES = r"""
- name: Docker keeps containers when it restarts
  endolab.active_learning.daemon_json:
    settings:
      live-restore: true
"""

RETURN = "# nothing but what every module returns"

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.daemon_settings import merge_with_defaults
from ansible_collections.endolab.active_learning.plugins.module_utils.text import read


def unmerge(now: dict[str, Any], new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """`now` without what merging `new` into `old` has changed; what is otherwise now stays."""
    left = dict(now)
    for key in new.keys() & now.keys():
        value, before = now[key], old.get(key)
        if isinstance(value, dict) and isinstance(new[key], dict):
            value = unmerge(value, new[key], before if isinstance(before, dict) else {})
            ours = not value and not isinstance(before, dict)
        elif isinstance(value, list) and isinstance(new[key], list):
            kept = before if isinstance(before, list) else []
            value = [item for item in value if item not in new[key] or item in kept]
            ours = not value and not isinstance(before, list)
        else:
            ours = value == new[key]
        if not ours:
            left[key] = value
        elif key in old:
            left[key] = before
        else:
            del left[key]
    return left


def parse(path: Path) -> dict[str, Any]:
    """The file's settings, none where it is not there; a ValueError that says how to mend one that has none."""
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        settings = json.loads(text) if text.strip() else {}
    except ValueError as fault:
        raise ValueError(f"{path} is not valid JSON ({fault}). Mend or remove it, then run this again.") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds no JSON object. Mend or remove it, then run this again.")
    return settings


def shown(module: AnsibleModule, settings: dict[str, Any]) -> str:
    """What a diff says of the file's settings."""
    ours = {key for group in [module.params["settings"], *module.params["defaults"]] for key in group}
    return text_of({key: value for key, value in settings.items() if key in ours})


def text_of(settings: dict[str, Any]) -> str:
    """The settings as the file has them."""
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


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


def wanted_without(module: AnsibleModule, now: dict[str, Any], original: dict[str, Any]) -> dict[str, Any]:
    """What the file shall say without them."""
    wanted = unmerge(now, module.params["settings"], original)
    for group in module.params["defaults"]:
        if all(now.get(key) == value and key not in original for key, value in group.items()):
            wanted = {key: value for key, value in wanted.items() if key not in group}
    return wanted


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "settings": {"type": "dict", "default": {}},
            "defaults": {"type": "list", "elements": "dict", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "original": {"type": "path"},
        },
        required_if=[("state", "absent", ["original"])],
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    original = Path(module.params["original"] or "/nonexistent")
    try:
        old = parse(path)
        first = parse(original)
    except ValueError as fault:
        module.fail_json(msg=str(fault))
    if module.params["state"] == "present":
        wanted = merge_with_defaults(old, module.params["settings"], module.params["defaults"])
        after, changed = text_of(wanted), wanted != old or not path.exists()
    else:
        wanted = wanted_without(module, old, first)
        # What says the same as before gets its layout back, too.
        after = (read(original) if wanted == first else text_of(wanted)) if wanted or original.exists() else ""
        changed = path.exists() and wanted != old
    if changed and not module.check_mode:
        if after or original.exists():
            write(module, path, after)
        else:
            path.unlink()
    diff = {
        "before": shown(module, old),
        "after": shown(module, wanted),
        "before_header": str(path),
        "after_header": str(path),
    }
    module.exit_json(changed=changed, diff=diff)


if __name__ == "__main__":
    main()
