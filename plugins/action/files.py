"""The action files: asks the host only where this run does not know yet that all is as it should be."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.endolab.active_learning.plugins.plugin_utils.known_files import entries, right

# Its documentation is that of the module of the same name.
MODULE = "endolab.active_learning.files"


class ActionModule(ActionBase):  # type: ignore[misc]
    """What the run knows is the fact that the module host_facts has made of its option files."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        facts = task_vars["ansible_facts"]
        written_since = facts.get("endolab_written", [])
        known = {
            path: each
            for path, each in facts.get("endolab_host", {}).get("files", {}).items()
            if path not in written_since
        }
        # A secret is not known by its digest, and these facts are of one host, once for each task.
        if known and not (self._task.args.get("secrets") or self._task.loop or self._task.delegate_to):
            wanted = entries(self._task.args)
            if all(right(entry, known) for entry in wanted):
                written = {entry["path"]: known[entry["path"]]["written"] for entry in wanted if "content" in entry}
                return {"changed": False, "changed_paths": [], "written": written, "diff": []}
        result: dict[str, Any] = self._execute_module(module_name=MODULE, task_vars=task_vars)
        if result.get("changed") and not self._task.check_mode:
            result["ansible_facts"] = {"endolab_written": [*written_since, *result["changed_paths"]]}
        return result
