"""The test in_place: whether directories and files are known to be on a host as they should be."""

from __future__ import annotations

DOCUMENTATION = r"""
name: in_place
short_description: Whether directories and files are known to be on a host as they should be
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Whether M(endolab.active_learning.files) would leave them as they are, by what
    M(endolab.active_learning.host_facts) has found.
options:
  _input:
    description: The options C(directories) and C(files) of that module, or one of them.
    type: dict
    required: true
  known:
    description: What has been found, the fact C(endolab_host.files).
    type: dict
    required: true
"""

EXAMPLES = r"""
right: "{{ {'files': files} is endolab.active_learning.in_place(ansible_facts.endolab_host.files) }}"
"""

RETURN = r"""
_value:
  description: Whether all of them are.
  type: bool
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.endolab.active_learning.plugins.plugin_utils.known_files import entries, right


def in_place(arguments: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether all of them are; one that is not known is not."""
    return all(right(entry, known) for entry in entries(arguments))


class TestModule:
    """Makes the test known to Ansible."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        return {"in_place": in_place}
