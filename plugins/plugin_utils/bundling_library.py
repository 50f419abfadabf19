"""What plugins use of the package bundling, which imports more than Ansible brings."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ansible.errors import AnsibleActionFail

PACKAGE = "ansible_collections.endolab.active_learning.bundling"


def bundling(name: str) -> ModuleType:
    """One of the package's modules, loaded when needed: Ansible loads plugins where libraries are missing, too.

    Raises AnsibleActionFail where they are.
    """
    try:
        return import_module(f"{PACKAGE}.{name}")
    except ImportError as fault:
        raise AnsibleActionFail(
            f"{fault}. Install what Endolab's requirements.txt names for the Python that runs ansible-playbook."
        ) from None
