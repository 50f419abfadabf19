"""The filter doubles: what stands in a list more than once."""

from __future__ import annotations

DOCUMENTATION = r"""
name: doubles
short_description: What stands in a list more than once
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Names what several have that each should have for itself.
options:
  _input:
    description: The list.
    type: list
    elements: raw
    required: true
"""

EXAMPLES = r"""
doubles: "{{ ports | endolab.active_learning.doubles }}"
"""

RETURN = r"""
_value:
  description: Each of them once, in the list's order.
  type: list
  elements: raw
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable


def doubles(values: Iterable[Hashable]) -> list[Hashable]:
    return [value for value, number in Counter(values).items() if number > 1]


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[[Iterable[Hashable]], list[Hashable]]]:
        return {"doubles": doubles}
