"""The module lock: who changes a host; its action plugin asks it, and gives the lock back when the run has ended."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lock
short_description: One run at a time changes a host
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Takes the host's lock for this run of C(ansible-playbook), or says who has it. A run may take its own again.
  - The lock is given back when the run has ended, in whatever way, by a process that the action leaves on the
    controller. That process shows every minute that the run lives.
  - A run is dead when it has not shown that for five minutes, or when it was on the same controller and its process is
    gone. Its lock is taken, with a warning that says whose it was.
options:
  path:
    description: The lock's file on the host; its directory is made.
    type: path
    default: /run/endolab/lock.json
  wait:
    description: Seconds to wait for a run that has the lock.
    type: int
    default: 0
  force:
    description: Take the lock from whoever has it, with a warning.
    type: bool
    default: false
  run:
    description: This run; the action says it.
    type: dict
    suboptions:
      owner:
        description: Who has started it.
        type: str
        required: true
      machine:
        description: Name of the controller.
        type: str
        required: true
      playbook:
        description: What it runs.
        type: str
        required: true
      token:
        description: What no other run has.
        type: str
        required: true
  dead:
    description: Token of a run that has ended without giving its lock back; the action says it.
    type: str
    default: ""
attributes:
  check_mode:
    description: Takes nothing, and warns where another run has the lock.
    support: full
"""

EXAMPLES = r"""
- name: Nobody else changes the host
  endolab.active_learning.lock:
    wait: 600
"""

RETURN = r"""
taken:
  description: Whether the lock is this run's; in check mode whether it could be.
  returned: always
  type: bool
lock:
  description:
    - The lock as it was found, with C(owner), C(machine), C(playbook), C(since), C(token), and C(silent), the seconds
      since its run's last sign of life; null where there was none.
  returned: always
  type: dict
"""

import contextlib
import datetime
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.lock_file import (
    LOCK,
    alone,
    lives,
    read_lock,
    write_lock,
)

LOOK = 0.5  # seconds between two looks at a lock that another run has


def take(
    path: Path, run: dict[str, str], dead: str, force: bool, check_mode: bool
) -> tuple[bool, dict[str, Any] | None]:
    """Whether the run may have the lock, which it then has, and the lock that was there."""
    with contextlib.nullcontext() if check_mode else alone(path.parent):
        found = read_lock(path)
        if found and lives(found) and found["token"] not in (run["token"], dead) and not force:
            return False, found
        if not check_mode:
            own = found is not None and found["token"] == run["token"]
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            write_lock(path, {**run, "since": found["since"] if found and own else now})
        return True, found


def main() -> None:
    text = {"type": "str", "required": True}
    token = {**text, "no_log": False}  # everybody may know it
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": LOCK},
            "wait": {"type": "int", "default": 0},
            "force": {"type": "bool", "default": False},
            "run": {"type": "dict", "options": {"owner": text, "machine": text, "playbook": text, "token": token}},
            "dead": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    path, deadline = Path(module.params["path"]), time.monotonic() + module.params["wait"]
    try:
        if not module.check_mode and not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o755)
        while True:
            taken, lock = take(
                path, module.params["run"], module.params["dead"], module.params["force"], module.check_mode
            )
            if taken or time.monotonic() >= deadline:
                break
            time.sleep(LOOK)
    except OSError as fault:
        module.fail_json(msg=f"The lock {path} cannot be taken: {fault}.")
    module.exit_json(changed=False, taken=taken, lock=lock)


if __name__ == "__main__":
    main()
