"""The test image_name: whether Docker can read a text as the name of an image."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image_name
short_description: Whether Docker can read a text as the name of an image
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - The name has an optional registry, a path in lower case, and an optional tag or digest, as the reference grammar of
    the distribution project says.
options:
  _input:
    description: What may be a name.
    type: raw
    required: true
"""

EXAMPLES = r"""
right: "{{ edge_image is endolab.active_learning.image_name }}"
"""

RETURN = r"""
_value:
  description: Whether it is one.
  type: bool
"""

import re
from collections.abc import Callable
from typing import Any

WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
NAME = re.compile(
    r"(?:(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9])(?::[0-9]{1,5})?/)?"
    rf"{WORD}(?:/{WORD})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)


def image_name(text: Any) -> bool:
    """Whether it is such a name, of 255 characters at most."""
    return isinstance(text, str) and len(text) <= 255 and NAME.fullmatch(text) is not None


class TestModule:
    """Makes the test known to Ansible."""

    def tests(self) -> dict[str, Callable[[Any], bool]]:
        return {"image_name": image_name}
