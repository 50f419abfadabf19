"""The callback module_executions: how many modules a run has executed on each host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: module_executions
type: aggregate
short_description: How many modules a run has executed on each host
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Each execution of a module is a round trip to the host, and the round trips are what a run without changes costs.
  - An action may execute several modules, C(template) two and C(copy) of a directory several a file.
  - Modules on the controller do not count.
  - With C(-v) each execution is shown with its task.
requirements:
  - Enable it with E(ANSIBLE_CALLBACKS_ENABLED=endolab.active_learning.module_executions).
"""

import os
import tempfile
from collections import Counter
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Counts every execution of a module, whichever worker process it happens in, and shows the sums at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "endolab.active_learning.module_executions"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        # Workers are forks: they inherit this file, and a short append is never torn.
        self._log = tempfile.NamedTemporaryFile("a+", encoding="utf-8")  # noqa: SIM115
        self._count(self._log.fileno())

    @staticmethod
    def _count(log: int) -> None:
        execute = ActionBase._execute_module

        def counted(action: Any, module_name: Any = None, module_args: Any = None, *args: Any, **kwargs: Any) -> Any:
            if action._connection.transport not in ("local", "ansible.builtin.local"):
                variables = kwargs.get("task_vars") or (args[1] if len(args) > 1 else {})
                host = variables.get("inventory_hostname", "another host")
                name = module_name or action._task.action
                os.write(log, f"{host}\t{name}\t{action._task.get_name()}\n".encode())
            return execute(action, module_name, module_args, *args, **kwargs)

        ActionBase._execute_module = counted

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._log.seek(0)
        executions = [line.rstrip("\n").split("\t", 2) for line in self._log]
        for host, name, task in executions:
            self._display.v(f"module execution on {host}: {name} ({task})")
        for host, count in sorted(Counter(host for host, *_ in executions).items()):
            self._display.display(f"Module executions on {host}: {count}")
