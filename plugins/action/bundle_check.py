"""The action bundle_check: asks the host bit by bit whether its bundle is whole, and says how far that is."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.endolab.active_learning.plugins.plugin_utils.bundling_library import bundling

# Its documentation is that of the module of the same name.
MODULE = "endolab.active_learning.bundle_check"


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs in a worker process of ansible-playbook's."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        progress, checked = None, {"files": 0, "bytes": 0}
        while True:
            arguments = {**self._task.args, "skip": checked["files"]}
            result: dict[str, Any] = self._execute_module(
                module_name=MODULE, module_args=arguments, task_vars=task_vars
            )
            if result.get("failed") or result["whole"]:
                return result
            if progress is None:
                work = f"{task_vars['inventory_hostname']}, reading the bundle"
                progress = bundling("progress").Progress(work, result["total"], Display().display, period=0)
            progress.advance(result["checked"]["bytes"] - checked["bytes"])
            checked = result["checked"]
