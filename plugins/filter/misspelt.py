"""The filter misspelt: names that are not among the known ones, each with the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

DOCUMENTATION = r"""
name: misspelt
short_description: Names that are not among the known ones
version_added: 1.0.0
author: Endolab (@endolab)
description:
  - Ansible accepts a misspelt variable in silence; this finds it and names what was probably meant.
options:
  _input:
    description: The names to look at.
    type: list
    elements: str
    required: true
  known:
    description: The names that exist.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
wrong: "{{ query('ansible.builtin.varnames', '^edge_') | endolab.active_learning.misspelt(['edge_http_port']) }}"
"""

RETURN = r"""
_value:
  description: One text for each unknown name, such as C(edge_port (did you mean edge_http_port?)).
  type: list
  elements: str
"""


def misspelt(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The `names` that are not `known`, in order, each with the nearest known name where one is near."""
    known = list(known)
    found = []
    for name in sorted(set(names) - set(known)):
        nearest = difflib.get_close_matches(name, known, n=1)
        found.append(f"{name} (did you mean {nearest[0]}?)" if nearest else name)
    return found


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"misspelt": misspelt}
