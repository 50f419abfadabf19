"""The filter yaml_values: a YAML text with other values for some of its keys, and everything else as it is."""

from __future__ import annotations

DOCUMENTATION = r"""
name: yaml_values
short_description: A YAML text with other values for some of its keys
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Puts new texts in the place of values at the first level; comments, order and every other value stay as they are.
options:
  _input:
    description: The YAML text of a mapping.
    type: str
    required: true
  values:
    description: The new texts by their keys, all of which the text must have already.
    type: dict
    required: true
"""

EXAMPLES = r"""
text: "{{ vault | endolab.active_learning.yaml_values({'cvat_redis_password': new}) }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

import math
from collections.abc import Callable, Mapping

import yaml
from ansible.errors import AnsibleFilterError


def yaml_values(text: str, values: Mapping[str, str]) -> str:
    """The text with the new values; fails where it has no such key, without showing any of it."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        raise AnsibleFilterError(f"this is no YAML from line {mark.line + 1 if mark else 1} on") from None
    if any(isinstance(token, (yaml.AnchorToken, yaml.AliasToken)) for token in yaml.scan(text)):
        raise AnsibleFilterError("other values would change, too; write each out, without anchors (&) and aliases (*)")
    found = {key.value: value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    if missing := [name for name in values if name not in found]:
        raise AnsibleFilterError(f"there is no key {', '.join(missing)}")
    # From the last on, so that the places of those before stay true.
    for name in sorted(values, key=lambda name: found[name].start_mark.index, reverse=True):
        start, end = found[name].start_mark.index, found[name].end_mark.index
        before = " " if text[start - 1 : start] == ":" else ""  # there was no value
        after = "\n" if text[start:end].endswith("\n") else ""  # it was a block of lines
        quoted = yaml.safe_dump(str(values[name]), default_style='"', width=math.inf).strip()
        text = f"{text[:start]}{before}{quoted}{after}{text[end:]}"
    return text


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[[str, Mapping[str, str]], str]]:
        return {"yaml_values": yaml_values}
