"""The filter text_table: dictionaries as a table of text."""

from __future__ import annotations

DOCUMENTATION = r"""
name: text_table
short_description: Dictionaries as a table of text
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Lays out dictionaries as rows for people.
options:
  _input:
    description: The rows.
    type: list
    elements: dict
    required: true
  columns:
    description: The heading of each column, by the key that it shows. A key that a row lacks shows as a dash.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: The tasks are shown
  ansible.builtin.debug:
    msg: "{{ tasks | endolab.active_learning.text_table({'id': 'task', 'frames': 'frames'}) }}"
"""

RETURN = r"""
_value:
  description: The table, in lines, its headings first.
  type: str
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def text_table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """The rows as lines, each column as wide as its widest text."""

    def text(value: Any) -> str:
        return "-" if value is None else str(value)

    table = [list(columns.values()), *([text(row.get(key)) for key in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"text_table": text_table}
