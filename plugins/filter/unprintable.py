"""The filter unprintable: which variables hold what no line of text holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: unprintable
short_description: Which variables hold what no line of text holds
version_added: 1.0.0
author: Endolab (@endolab)
description:
  - A line break or another control character in a name, a path or an address would begin something else in the file
    that it is written to, and what cannot be seen cannot be checked. Passwords, and what is a file by itself, may hold
    anything.
options:
  _input:
    description: Values by the names of their variables.
    type: dict
    required: true
"""

EXAMPLES = r"""
names: "{{ {'edge_name': edge_name} | endolab.active_learning.unprintable }}"
"""

RETURN = r"""
_value:
  description: The names, sorted.
  type: list
  elements: str
"""


ANYTHING = ("_password", "_ssh_key", "_known_hosts")


def holds(value: Any) -> bool:
    """Whether a text in the value, however deep, cannot be printed as one line."""
    if isinstance(value, str):
        return not value.isprintable()
    if isinstance(value, Mapping):
        return any(holds(key) or (not str(key).endswith("password") and holds(inner)) for key, inner in value.items())
    return isinstance(value, (list, tuple)) and any(map(holds, value))


def unprintable(values: Mapping[str, Any]) -> list[str]:
    return [name for name, value in sorted(values.items()) if not name.endswith(ANYTHING) and holds(value)]


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Any]], list[str]]]:
        return {"unprintable": unprintable}
