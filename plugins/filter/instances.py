"""The filter instances: where each instance of MONAI Label on a host has its things."""

from __future__ import annotations

DOCUMENTATION = r"""
name: instances
short_description: Where each instance of MONAI Label on a host has its things
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Lays each entry of C(monailabel_instances) over what the host says for all, and names what follows from both.
  - A host without entries has one instance, without a name.
options:
  _input:
    description: The entries, each with a C(name) and what it has of its own.
    type: list
    elements: dict
    required: true
  host:
    description: >-
      What counts where an entry says nothing: C(app), C(app_source), C(apps_dir), C(bundle), C(bundle_checksum),
      C(bundle_name), C(conf), C(cvat_username), C(datasets_dir), C(gpus), C(port) and C(studies).
    type: dict
    required: true
"""

EXAMPLES = r"""
places: "{{ monailabel_instances | endolab.active_learning.instances(monailabel) }}"
"""

RETURN = r"""
_value:
  description: >-
    By name, what the instance has, and C(prefix), what its variables are called in the inventory; C(container);
    C(endolabs), whether its app is Endolab's; C(directory) of its settings and C(secrets) in it; C(images_dir),
    C(app_dir), C(bundle_dir) and C(script) on the host; C(project) and C(task_prefix) in CVAT.
  type: dict
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

SETTINGS = "/etc/endolab/monailabel"

# What the app calls them where nobody has named them.
PROJECT = "MONAILabel"
TASK_PREFIX = "ActiveLearning_Iteration"


def instances(own: Sequence[Mapping[str, Any]], host: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The places by the instances' names; RETURN says what they are made of."""
    if not own:
        return {"": place("", host)}
    return {each["name"]: place(each["name"], laid_over(host, said(each))) for each in own}


def laid_over(host: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says over what its host says, and its keys of `conf` over the host's."""
    conf = {**host["conf"], **entry.get("conf", {})}
    return {**host, **below(host, entry["name"]), **entry, "conf": conf}


def said(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says; a key without a value says nothing."""
    return {key: value for key, value in entry.items() if value is not None}


def below(host: Mapping[str, Any], name: str) -> dict[str, str]:
    """Directories of an instance's own, where it does not name others."""
    return {kind: posixpath.join(host[kind], name) for kind in ("datasets_dir", "apps_dir")}


def place(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    conf = dict(values["conf"])
    where = whereabouts(name, conf)
    if name:
        conf["cvat_project"] = where["project"]
    directory = posixpath.join(SETTINGS, name) if name else SETTINGS
    app_dir = posixpath.join(values["apps_dir"], posixpath.basename(values["app"]))
    studies = str(values["studies"]).removeprefix("datasets").lstrip("/")
    without_password = {key: value for key, value in values.items() if key != "cvat_password"}
    return {
        **without_password,
        "name": name,
        "prefix": f"monailabel_instances.{name}." if name else "monailabel_",
        "conf": conf,
        "endolabs": values["app_source"] == "endolab" and values["app"] == "apps/endoscopy",
        "container": f"monailabel-{name}" if name else "monailabel",
        "directory": directory,
        "secrets": posixpath.join(directory, "secrets"),
        "images_dir": posixpath.join(values["datasets_dir"], studies).rstrip("/"),
        "app_dir": app_dir,
        "bundle_dir": posixpath.join(app_dir, "model", values["bundle_name"]),
        "script": posixpath.join(values["datasets_dir"], "run_monailabelinits.sh"),
        **where,
    }


def whereabouts(name: str, conf: Mapping[str, Any]) -> dict[str, str]:
    """Where its tasks are in CVAT: in the project that it is told, or one of its own name."""
    project = conf.get("cvat_project", name or PROJECT)
    return {"project": project, "task_prefix": conf.get("cvat_task_prefix", TASK_PREFIX)}


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., dict[str, dict[str, Any]]]]:
        return {"instances": instances}
