"""The test merged_with: whether daemon.json says already what the module daemon_json would make it say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.endolab.active_learning.plugins.module_utils.daemon_settings import merge_with_defaults

DOCUMENTATION = r"""
name: merged_with
short_description: Whether daemon.json says already what it shall say
version_added: 1.0.0
author: Endolab (@endolab)
description:
  - Whether M(endolab.active_learning.daemon_json) would leave the file as it is.
options:
  _input:
    description: What the file says; an empty dictionary where there is none.
    type: dict
    required: true
  settings:
    description: The settings that are to be merged into it.
    type: dict
    required: true
  defaults:
    description: Groups of settings, each used where the file has none of the group.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
right: "{{ {'live-restore': true} is endolab.active_learning.merged_with({'live-restore': true}) }}"
"""

RETURN = r"""
_value:
  description: Whether it does.
  type: bool
"""


def merged_with(now: dict[str, Any], settings: dict[str, Any], defaults: Sequence[dict[str, Any]] = ()) -> bool:
    """Whether merging would change nothing; a file that says nothing would be written."""
    return bool(now) and merge_with_defaults(now, settings, list(defaults)) == now


class TestModule:
    """Makes the test known to Ansible."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        return {"merged_with": merged_with}
