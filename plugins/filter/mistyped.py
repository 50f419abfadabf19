"""The filter mistyped: variables whose value is not of the kind that their argument spec names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: mistyped
short_description: Variables whose value is not of the kind that their argument spec names
version_added: 1.0.0
author: Endolab (@endolab)
description:
  - M(ansible.builtin.validate_argument_spec) takes what it can make into the right kind, a list from a text for
    example, and leaves the variable as it is. What uses the variable would find a text. Of a list where a number should
    be it makes an exception of Python's.
options:
  _input:
    description: Values by the names of their variables.
    type: dict
    required: true
  options:
    description: The argument spec's options.
    type: dict
    required: true
  texts:
    description: Those of the dictionaries that may also be JSON in a text, as C(-e) gives them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
faults: "{{ {'firewall_ssh_from': '10.0.0.0/8'} | endolab.active_learning.mistyped(options) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each, sorted by name.
  type: list
  elements: str
"""

# What a value of each type may be in YAML, and how to write it; other types are validated as they are.
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str, int, float), "a text; put it in quotes"),
    "int": ((int, float, str), "a number"),
    "float": ((int, float, str), "a number"),
    "bool": ((bool, int, str), "true or false"),
    "path": ((str,), "a path; put it in quotes"),
    "list": ((list, tuple), "a list, such as [this, that]"),
    "dict": ((Mapping,), "a dictionary, such as {this: that}"),
}


def mistyped(values: Mapping[str, Any], options: Mapping[str, Any], texts: Sequence[str] = ()) -> list[str]:
    """A sentence for each value of another kind; passwords are judged, and never shown, by their roles."""
    faults = []
    for name, value in sorted(values.items()):
        kinds, remedy = KINDS.get(options[name]["type"], ((object,), "something"))
        if value is None:
            faults.append(f"{name} is empty: give it a value, or leave it out")
        elif name.endswith("_password") or (name in texts and isinstance(value, str)):
            continue
        elif not isinstance(value, kinds) or (isinstance(value, bool) and not {bool, object} & set(kinds)):
            faults.append(f"{name} must be {remedy}")
    return faults


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"mistyped": mistyped}
