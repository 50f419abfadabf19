"""The filter nested: directories that lie in each other."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nested
short_description: Directories that lie in each other
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Names pairs of directories, one of each list, that are the same, or of which one lies somewhere in the other.
options:
  _input:
    description: Whole paths.
    type: list
    elements: path
    required: true
  others:
    description: Those that they are compared with.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
nested: "{{ ['/srv/frames', '/srv/apps/frames'] | endolab.active_learning.nested(['/srv/apps']) }}"
# => ["/srv/apps/frames and /srv/apps"]
"""

RETURN = r"""
_value:
  description: Each pair once, as C(ONE and OTHER).
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable
from itertools import product
from pathlib import PurePosixPath


def nested(directories: Iterable[str], others: Iterable[str]) -> list[str]:
    pairs = dict.fromkeys(product(map(PurePosixPath, directories), map(PurePosixPath, others)))
    return [f"{one} and {other}" for one, other in pairs if one.is_relative_to(other) or other.is_relative_to(one)]


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[[Iterable[str], Iterable[str]], list[str]]]:
        return {"nested": nested}
