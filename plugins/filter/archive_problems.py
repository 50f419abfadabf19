"""The filter archive_problems: why a host has no archive of these days."""

from __future__ import annotations

DOCUMENTATION = r"""
name: archive_problems
short_description: Why a host has no archive of these days
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Judges what C(endolab-backup state) says on a host. A first archive is waited for as long.
options:
  _input:
    description: >-
      C(last), the last archive with its age in C(days), or null; C(waited), for how many days a first one has been
      waited for; C(fault), why the run after it failed, or null.
    type: dict
    required: true
"""

EXAMPLES = r"""
problems: "{{ {'last': {'days': 9}, 'fault': none} | endolab.active_learning.archive_problems }}"
"""

RETURN = r"""
_value:
  description: Problems, each with C(what) and C(remedy).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

# Days after which an archive is missing, also where one is made each week.
OLD = 8


def archive_problems(said: Mapping[str, Any]) -> list[dict[str, str]]:
    """The problems; DOCUMENTATION says of what."""
    if "fault" not in said:
        return [{"what": "the program that makes archives does not answer", "remedy": "run site.yml"}]
    if said["fault"]:
        what = f"the last archive was not made: {said['fault']}"
        return [{"what": what, "remedy": "mend that, and run backup.yml"}]
    # The program on the host may be older.
    days = said["last"]["days"] if said["last"] else said.get("waited", 0)
    if days > OLD:
        what = f"the last archive is {days} days old" if said["last"] else f"no archive was made in {days} days"
        return [{"what": what, "remedy": "see `systemctl list-timers endolab-backup.timer` on the host"}]
    return []


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, str]]]]:
        return {"archive_problems": archive_problems}
