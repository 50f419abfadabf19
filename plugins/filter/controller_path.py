"""The filter controller_path: where a path that somebody has written lies on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: controller_path
short_description: Where a path that somebody has written lies on the controller
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Takes the path as a shell would, where modules and lookups of Ansible's begin at the playbook or at the role.
options:
  _input:
    description: The path; a relative one begins where ansible-playbook is run, and C(~) is who runs it.
    type: str
    required: true
"""

EXAMPLES = r"""
certificate: "{{ lookup('ansible.builtin.file', 'ca.pem' | endolab.active_learning.controller_path) }}"
"""

RETURN = r"""
_value:
  description: The whole path, whether anything is there or not.
  type: path
"""

from collections.abc import Callable
from pathlib import Path


def controller_path(path: str) -> str:
    return str(Path.cwd() / Path(path).expanduser())


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"controller_path": controller_path}
