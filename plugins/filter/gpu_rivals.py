"""The filter gpu_rivals: which instances of a host want the same GPU."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gpu_rivals
short_description: Which instances of a host want the same GPU
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Compares what the instances want two by two, whether they name a GPU by its index or by its UUID.
options:
  _input:
    description: The instances, each with C(container) and C(gpus), which is C(all), C(none) or a list.
    type: list
    elements: dict
    required: true
  there:
    description: UUIDs of the host's GPUs, by index.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
rivals: "{{ places.values() | endolab.active_learning.gpu_rivals(ansible_facts.endolab_host.nvidia.gpus) }}"
"""

RETURN = r"""
_value:
  description: The names of two containers in a sentence's words, for each two.
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any


def gpu_rivals(places: Iterable[Mapping[str, Any]], there: Sequence[str]) -> list[str]:
    """Each two that want one GPU; a part of a GPU (MIG) is wanted by its own name."""
    wanted = [(each["container"], each["gpus"]) for each in places if each["gpus"] == "all" or is_list(each["gpus"])]
    return [
        f"{one} and {other}"
        for (one, ones), (other, others) in combinations(wanted, 2)
        if "all" in (ones, others) or known(ones, there) & known(others, there)
    ]


def is_list(gpus: Any) -> bool:
    """Whether it is a list, all else but `all` wants none, or is refused elsewhere."""
    return isinstance(gpus, Sequence) and not isinstance(gpus, str)


def known(gpus: Iterable[Any], there: Sequence[str]) -> set[str]:
    """A GPU's UUID where the driver has it, else what the inventory calls it."""
    names = map(str, gpus)
    return {there[int(name)] if name.isdecimal() and int(name) < len(there) else name for name in names}


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"gpu_rivals": gpu_rivals}
