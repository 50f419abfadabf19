"""The filter fleet_rows: what all hosts do, a line for each of their loops."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_rows
short_description: What all hosts do, a line for each of their loops
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Picks what people compare between hosts of what the filter C(host_status) has put together, for C(text_table).
options:
  _input:
    description: The status of each host.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
rows: "{{ statuses | endolab.active_learning.fleet_rows }}"
"""

RETURN = r"""
_value:
  description: >-
    Of each host, or of each of its loops, C(host); C(instance), the loop's name; C(gpu), names and memory; C(driver);
    of the loop C(phase), C(iteration), C(scored), C(labelled), C(unlabelled) and C(polled), how long ago it looked at
    CVAT; and C(problem), the host's first one and how many more there are. What there is not is left out, or null.
  type: list
  elements: dict
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from textwrap import shorten
from typing import Any

from ansible_collections.endolab.active_learning.plugins.filter.status_block import distance, left

# Columns for a problem; all of it is told with the host.
WIDTH = 60


def fleet_rows(statuses: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows; RETURN says what they are made of."""
    return [row(status, instance) for status in statuses for instance in status["instances"] or [{}]]


def row(status: Mapping[str, Any], instance: Mapping[str, Any]) -> dict[str, Any]:
    gpu, loop = status.get("gpu") or {"wanted": False}, instance.get("loop")
    shown = {
        "host": status["host"],
        "instance": instance.get("name") or None,
        "gpu": gpus(gpu["gpus"]) if gpu["wanted"] else None,
        "driver": gpu["driver"] if gpu["wanted"] else None,
        "problem": problem([each["what"] for each in status["problems"]]),
    }
    if loop:
        counts = loop["frames"]
        shown.update(phase=loop["phase"], iteration=loop["iteration"])
        shown.update(polled=distance(loop["polled_at"], status["at"]) if loop["polled_at"] else None)
        if counts:
            shown.update(scored=counts["scored"], labelled=counts["labelled"], unlabelled=left(counts))
    return shown


def gpus(found: Iterable[Mapping[str, Any]]) -> str | None:
    """Names and memory, equal ones counted; without nvidia-smi the driver knows but their numbers."""
    kinds = Counter(
        f"{each['name']}, {each['memory_total_mib']} MiB" if "name" in each else each["uuid"] for each in found
    )
    return " and ".join(f"{number} x {kind}" if number > 1 else kind for kind, number in kinds.items()) or None


def problem(problems: list[str]) -> str | None:
    if not problems:
        return None
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return shorten(problems[0], WIDTH, placeholder=" …") + more


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"fleet_rows": fleet_rows}
