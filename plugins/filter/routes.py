"""The filter routes: where people find each MONAI Label of a lab, behind its edge and in CVAT."""

from __future__ import annotations

DOCUMENTATION = r"""
name: routes
short_description: Where people find each MONAI Label of a lab, behind its edge and in CVAT
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - The only MONAI Label of a lab is found below C(/monailabel/) where it has no name, all others below
    C(/monailabel/NAME/), where an instance without a name has its host's.
options:
  _input:
    description: The lab's hosts with MONAI Label.
    type: list
    elements: str
    required: true
  variables:
    description: The variables of each host, by its name, as the inventory has them.
    type: dict
    required: true
  port:
    description: TCP port of an instance of which the inventory does not say another.
    type: int
    required: true
"""

EXAMPLES = r"""
routes: "{{ groups['monailabel'] | endolab.active_learning.routes(hostvars, 8000) }}"
"""

RETURN = r"""
_value:
  description: >-
    Of each instance C(host); C(name), empty where it has none; C(port) on that host's loopback; C(path) behind the
    edge; C(project) and C(task_prefix) in CVAT.
  type: list
  elements: dict
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.endolab.active_learning.plugins.filter.instances import whereabouts


def routes(hosts: Iterable[str], variables: Mapping[str, Mapping[str, Any]], port: int) -> list[dict[str, Any]]:
    """A route for each instance, in the order of the inventory."""
    known = {host: variables[host] for host in hosts}
    found = [
        {
            "host": host,
            "name": str(each.get("name", "")),
            "port": int(each.get("port", port)),
            **whereabouts(
                each.get("name", ""), {**settings(of_host.get("monailabel_conf")), **settings(each.get("conf"))}
            ),
        }
        for host, of_host in known.items()
        for each in entries(of_host)
    ]
    alone = len(found) == 1 and not found[0]["name"]
    return [
        {**each, "path": "/monailabel" if alone else f"/monailabel/{each['name'] or each['host']}"} for each in found
    ]


def entries(host: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """A host's instances; one where the inventory names none."""
    own = [each for each in host.get("monailabel_instances") or () if is_whole(each)]
    return own or [{"port": host["monailabel_port"]} if "monailabel_port" in host else {}]


def is_whole(entry: Any) -> bool:
    """Whether an entry can be had at all; its own host refuses others."""
    return isinstance(entry, Mapping) and {"name", "port"} <= set(entry) and str(entry["port"]).isdecimal()


def settings(conf: Any) -> dict[str, Any]:
    """What a host says for all of its instances, or for one; a text where it comes from the command line."""
    try:
        conf = json.loads(conf) if isinstance(conf, str) else conf
    except ValueError:  # its own host refuses it
        return {}
    return dict(conf) if isinstance(conf, Mapping) else {}


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"routes": routes}
