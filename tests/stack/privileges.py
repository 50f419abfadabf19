"""What containers may do beyond what every one may, as it runs and as docs/privileges.md says."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Any

from docker.models.containers import Container

from tests.stack.conftest import ROOT

TABLE = re.compile(r"^\| `(?P<container>[^`]+)` \| (?P<exception>[^|]+) \| (?P<reason>[^|]+) \|$", re.M)


def documented(names: Iterable[str]) -> set[tuple[str, str]]:
    """Container and exception of each line of the table; a star stands for several of these containers."""
    rows = TABLE.findall((ROOT / "docs" / "privileges.md").read_text(encoding="utf-8"))
    assert rows
    assert all(reason.strip() for _, _, reason in rows)
    return {(name, exception) for pattern, exception, _ in rows for name in fnmatch.filter(names, pattern)}


def running(containers: dict[str, Container]) -> set[tuple[str, str]]:
    """The same of what runs."""
    return {(name, each) for name, container in containers.items() for each in exceptions(container.attrs)}


def exceptions(attributes: dict[str, Any]) -> set[str]:
    host, found = attributes["HostConfig"], set()
    if attributes["Config"]["User"].partition(":")[0] in {"", "0", "root"}:
        found.add("root")
    if host["CapDrop"] != ["ALL"]:
        found.add("capabilities of Docker's own choice")
    found |= {f"capability {name.removeprefix('CAP_')}" for name in host["CapAdd"] or ()}
    if "no-new-privileges:true" not in (host["SecurityOpt"] or ()):
        found.add("new privileges")
    if host["Privileged"]:
        found.add("privileged")
    if not host["ReadonlyRootfs"]:
        found.add("writable root filesystem")
    for limit in ("Memory", "PidsLimit"):
        if (host[limit] or 0) <= 0:
            found.add(f"no limit to {limit}")
    log = host["LogConfig"]
    if log["Type"] == "json-file" and not {"max-size", "max-file"} <= set(log["Config"]):
        found.add("no limit to its log")
    for what, mode in (("network", "NetworkMode"), ("IPC", "IpcMode"), ("PID", "PidMode"), ("UTS", "UTSMode")):
        if host[mode] == "host":
            found.add(f"host {what}")
    if host["NetworkMode"] in {"default", "bridge"}:
        found.add("Docker's common network")
    if any("docker.sock" in mount["Source"] for mount in attributes["Mounts"]):
        found.add("Docker's socket")
    return found
