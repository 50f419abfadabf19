"""The action lock: takes a host's lock for this run, or says who has it, and gives it back when the run has ended."""

from __future__ import annotations

import contextlib
import getpass
import math
import multiprocessing
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.action import ActionBase
from ansible_collections.endolab.active_learning.plugins.module_utils.lock_file import (
    BEAT,
    LOCK,
    SILENCE,
    beat_command,
    lives,
    release_command,
)
from ansible_collections.endolab.active_learning.plugins.plugin_utils.watcher import ended, token, watch

# Its documentation is that of the module of the same name.
MODULE = "endolab.active_learning.lock"
OPTIONS = {
    "path": {"type": "str", "default": LOCK},
    "wait": {"type": "int", "default": 0},
    "force": {"type": "bool", "default": False},
}
TELL = 10  # seconds after which who waits is told again for whom
YES_OR_NO = {"true", "false", "yes", "no"}


def owner() -> str:
    """Who has started this run, also where sudo has made him another user."""
    with contextlib.suppress(KeyError, OSError):  # a user without a name
        return os.environ.get("SUDO_USER") or getpass.getuser()
    return str(os.getuid())


def unclear(wait: Any, force: Any) -> list[str]:
    """What cannot be meant by the two variables that say how to meet others, each with what mends it."""
    faults = []
    if not re.fullmatch("[0-9]+", str(wait)):
        faults.append(
            f'endolab_lock_wait is "{wait}". Write for how many seconds to wait for somebody else who changes a host, '
            "0 or more; 600 are ten minutes."
        )
    if str(force).lower() not in YES_OR_NO:
        faults.append(
            f'endolab_lock_break is "{force}". Write true to take the hosts from a run that is known to be dead, or '
            "leave it out."
        )
    return faults


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs in a worker process of ansible-playbook's."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        if faults := unclear(self._task.args.get("wait", 0), self._task.args.get("force", False)):
            return {"failed": True, "msg": "\n".join(faults)}
        _, options = self.validate_argument_spec(argument_spec=OPTIONS)
        # Where the run was killed, getppid() is somebody else.
        parent = multiprocessing.parent_process()
        pid = parent.pid if parent and parent.pid else os.getppid()
        me = {
            "owner": owner(),
            "machine": platform.node(),
            "playbook": " ".join(Path(each).name for each in context.CLIARGS["args"]),
            "token": token(pid),
        }
        arguments = {"path": options["path"], "force": options["force"], "run": me}
        result = self._take(arguments, options["wait"], task_vars)
        before = result.get("lock")
        own = before is not None and before["token"] == me["token"]
        if not result.get("taken") or own or self._task.check_mode:
            return result
        if before:
            self._warn_whose_it_was(before, task_vars["inventory_hostname"])
        path = Path(options["path"])
        beat, release = beat_command(path, me["token"]), release_command(path, me["token"])
        watch(me["token"], BEAT, lambda: self._tell(beat), lambda: self._tell(release))
        return result

    def _take(self, arguments: dict[str, Any], wait: int, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the module says in the end; meanwhile who waits is told for whom."""
        deadline, pause, dead = time.monotonic() + wait, 0, ""
        while True:
            asked = {**arguments, "wait": pause, "dead": dead}
            result: dict[str, Any] = self._execute_module(module_name=MODULE, module_args=asked, task_vars=task_vars)
            if result.get("failed") or result["taken"]:
                return result
            lock = result["lock"]
            # Only this machine can tell, and the module is on another.
            if ended(lock["token"]):
                dead, pause = lock["token"], 0
                continue
            host, since = task_vars["inventory_hostname"], lock["since"]
            who = f"{lock['owner']}@{lock['machine']} is changing {host} with {lock['playbook']}, since {since}."
            if self._task.check_mode:
                self._display.warning(f"{who} What is found meanwhile may not stay so.")
                return result
            left = math.ceil(deadline - time.monotonic())
            if left <= 0 or ended(arguments["run"]["token"]):
                remedy = (
                    "Wait for that run with -e endolab_lock_wait=600, or end it. Where it is known to be dead, take "
                    f"its place with -e endolab_lock_break=true. Its last sign of life is {lock['silent']:.0f} s old; "
                    f"{SILENCE} s without one are taken for its end."
                )
                return {"failed": True, "msg": f"{who} {remedy}"}
            self._display.display(f"{who} Waiting for its end, {left} s at most.")
            pause = min(TELL, left)

    def _warn_whose_it_was(self, lock: dict[str, Any], host: str) -> None:
        if not lives(lock):
            why = f"whose run has shown no sign of life for {SILENCE} s"
        elif ended(lock["token"]):
            why = "whose run has ended without giving it back"
        else:
            why = "from whom endolab_lock_break takes it"
        whose = f"{lock['owner']}@{lock['machine']} ({lock['playbook']}, since {lock['since']})"
        self._display.warning(f"The lock of {host} was that of {whose}, {why}.")

    def _tell(self, command: str) -> None:
        """Has a command run on the host, whatever comes of it, with nobody left to show anything to."""
        self._display._final_q = None
        self._low_level_execute_command(command)
