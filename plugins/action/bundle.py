"""The action bundle: all that a lab is installed from where there is no network, in one directory on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError, present
from ansible_collections.endolab.active_learning.plugins.plugin_utils.bundling_library import bundling

CHECKOUT = Path(__file__).resolve().parents[2]
# Its documentation is in the file of its name among the modules; it needs no host.
OPTIONS = {
    "path": {"type": "path", "required": True},
    "images": {"type": "dict", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    "repositories": {"type": "list", "elements": "dict", "required": True},
    "keyring": {"type": "path", "required": True},
    "lock": {"type": "path", "required": True},
    "model": {"type": "dict", "required": True},
    "system": {"type": "dict", "required": True},
}


def source(repository: dict[str, str], keyring: Path) -> Any:
    """A repository as the playbook names it: with apt's source, or with the suites of a distribution."""
    suites = repository.get("suites", "")
    text = f"Types: deb\nURIs: {repository['url']}\nSuites: {suites}\nComponents: main\n"
    return bundling("making").Source(
        name=repository["name"],
        url=repository["url"].rstrip("/"),
        source=repository.get("source", text),
        keyring=keyring,
        suites=suites,
        key=repository.get("key", ""),
        fingerprint=repository.get("fingerprint", ""),
    )


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs in a worker process of ansible-playbook's."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec=OPTIONS)
        root, display, making = Path(given["path"]), Display(), bundling("making")
        request = making.Request(
            images=given["images"],
            packages=given["packages"],
            sources=[source(each, Path(given["keyring"])) for each in given["repositories"]],
            lock=Path(given["lock"]),
            model=making.Model(**given["model"]),
            system=given["system"],
            checkout=CHECKOUT,
        )
        try:
            if self._task.check_mode:
                making.refuse(root, request)
                return {"changed": True, "path": str(root)}
            digest = making.make(root, request, display.display)
        except (BundleError, OSError) as fault:
            raise AnsibleActionFail(str(fault)) from None
        return {"changed": True, "path": str(root), "digest": digest, "bytes": sum(present(root).values())}
