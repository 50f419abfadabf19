"""The module host_record: what a host is like before Endolab changes it, written down once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_record
short_description: What a host is like before Endolab changes it, written down once
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Writes a directory that root alone reads, with C(host.json), and C(daemon.json) where Docker has one.
  - C(host.json) comes last, so that what is there is whole; where it is there, it stays.
  - Where a teardown has left C(torn_down.json) beside it, which names those of Endolab's packages that stayed, what
    somebody has installed since is added.
options:
  path:
    description: The directory.
    type: path
    required: true
  paths:
    description: Files and directories of which to write down whether they are there, and whether they hold anything.
    type: list
    elements: path
    default: []
  units:
    description: Units of systemd's, as C(host_facts) describes them.
    type: dict
    default: {}
  daemon_json:
    description: Docker's settings.
    type: path
    default: /etc/docker/daemon.json
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows the record, without Docker's settings, which may hold the password of a proxy.
    support: full
"""

EXAMPLES = r"""
- name: The host is written down as it is found
  endolab.active_learning.host_record:
    path: /var/lib/endolab/found
    paths: [/etc/docker]
"""

RETURN = r"""
"""

import grp
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.docker_socket import ask_docker
from ansible_collections.endolab.active_learning.plugins.module_utils.iptables import saved, tables
from ansible_collections.endolab.active_learning.plugins.module_utils.text import read

DPKG = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Want} ${db:Status-Status}\\n"]
RPM = ["rpm", "-qa", "--qf", "%{NAME} install installed\\n"]
LOCKS = "/etc/dnf/plugins/versionlock.list"
FORWARDING = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"]


def output(command: list[str]) -> str:
    """What a command prints; nothing where it is missing or fails."""
    if shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def packages() -> dict[str, list[str]]:
    """Names of the packages that are installed, held, came with others, or are removed but for their settings."""
    rows = [line.split() for line in output(DPKG if shutil.which("dpkg-query") else RPM).splitlines()]
    return {
        "packages": sorted({name for name, _, status in rows if status == "installed"}),
        "held": sorted({name for name, want, _ in rows if want == "hold"} | set(locked(read(LOCKS)))),
        "automatic": sorted(output(["apt-mark", "showauto"]).split()),
        "settings_only": sorted({name for name, _, status in rows if status == "config-files"}),
    }


def locked(text: str) -> list[str]:
    """Names of the packages whose version dnf is told to keep, from NAME-EPOCH:VERSION-RELEASE.*"""
    return re.findall(r"^([^!#\s]+?)-\d+:[^-\s]+-[^-\s]+$", text, re.M)


def docker() -> dict[str, list[str]] | None:
    """What Docker holds; None where none answers."""
    images, volumes, networks = map(ask_docker, ("/images/json", "/volumes", "/networks"))
    if images is None or volumes is None or networks is None:
        return None
    return {
        "images": sorted({each["Id"] for each in images}),
        "tags": sorted({tag for each in images for tag in each["RepoTags"] or []}),
        "volumes": sorted(each["Name"] for each in volumes["Volumes"] or []),
        "networks": sorted(each["Name"] for each in networks),
    }


def chains(text: str) -> dict[str, dict[str, str]]:
    """The chains of each table, with the policies of the built-in ones, from what iptables-save prints."""
    return {name: dict(re.findall(r"^:(\S+) ([A-Z]+|-) ", block, re.M)) for name, block in tables(text).items()}


def network() -> dict[str, Any]:
    """Of the kernel's settings those that Docker changes."""
    return {
        "links": sorted(link.name for link in Path("/sys/class/net").iterdir()),
        "forwarding": {name: read(Path("/proc/sys", name)).strip() for name in FORWARDING},
        "iptables": chains(saved("iptables")),
        "ip6tables": chains(saved("ip6tables")),
    }


def described(record: dict[str, Any]) -> str:
    """The record as JSON, a line for each of its parts."""
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()) + "\n}\n"


def write(path: Path, content: bytes) -> None:
    """Puts a file into its place whole."""
    new = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def renewed(record: dict[str, Any], ours: list[str]) -> dict[str, Any]:
    """The record with what somebody has installed by now."""
    now = packages()
    since = set(now["packages"]) - set(now["automatic"]) - set(ours)
    return {**record, "packages": sorted({*record["packages"], *since})}


def first(paths: list[str], units: dict[str, Any]) -> dict[str, Any]:
    """The record of a host that Endolab has not changed yet."""
    there = [path for path in map(Path, paths) if path.exists()]
    return {
        **packages(),
        "units": units,
        "dockerd": shutil.which("dockerd") is not None,
        "docker": docker(),
        "groups": sorted(group.gr_name for group in grp.getgrall()),
        "network": network(),
        "watched": paths,
        "paths": {str(path): f"{path.stat().st_mode & 0o7777:04o}" for path in there},
        "filled": sorted(str(path) for path in there if path.is_dir() and any(path.iterdir())),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "paths": {"type": "list", "elements": "path", "default": []},
            "units": {"type": "dict", "default": {}},
            "daemon_json": {"type": "path", "default": "/etc/docker/daemon.json"},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["path"])
    file, torn_down, settings = (
        directory / "host.json",
        directory / "torn_down.json",
        Path(module.params["daemon_json"]),
    )
    before = read(file)
    if not before:
        after = described(first(module.params["paths"], module.params["units"]))
    else:
        ours = read(torn_down)
        after = described(renewed(json.loads(before), json.loads(ours))) if ours else before
    if not module.check_mode:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not before and settings.exists():
            shutil.copy2(settings, directory / "daemon.json")
            os.chown(directory / "daemon.json", settings.stat().st_uid, settings.stat().st_gid)
        if after != before:
            write(file, after.encode())
        torn_down.unlink(missing_ok=True)
    module.exit_json(changed=after != before, diff={"before": before, "after": after, "after_header": str(file)})


if __name__ == "__main__":
    main()
