"""The filter conf_value: a YAML value as MONAI Label reads it behind --conf KEY."""

from __future__ import annotations

DOCUMENTATION = r"""
name: conf_value
short_description: A value as MONAI Label reads it behind C(--conf KEY)
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - MONAI Label reads every C(--conf) value as text; this writes YAML's types in that text.
options:
  _input:
    description: A boolean (becomes C(true) or C(false)), a list of words (joined by commas without spaces), a list of
      dictionaries (JSON), or anything else (its text).
    type: raw
    required: true
"""

EXAMPLES = r"""
text: "{{ ['tooltracking', 'inbody'] | endolab.active_learning.conf_value }}"  # tooltracking,inbody
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

import json
from collections.abc import Callable
from typing import Any


def conf_value(value: Any) -> str:
    """The text for a boolean, a list of words, a list of dictionaries (as JSON), or a plain value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return json.dumps(value) if any(isinstance(item, dict) for item in value) else ",".join(map(str, value))
    return str(value)


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[[Any], str]]:
        return {"conf_value": conf_value}
