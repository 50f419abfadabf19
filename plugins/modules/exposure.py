"""The module exposure: what a host lets others reach, do and read, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: exposure
short_description: What a host lets others reach, do and read
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Looks at who listens, at what containers may do, at Docker's own settings, at rights of files, at the certificate at
    the door, and for credentials where everybody could read them. Changes nothing, and judges little.
options:
  services:
    description: Names of the lab's own containers.
    type: list
    elements: str
    default: []
  privileges:
    description: >-
      What the lab's containers may do beyond what every one may, each with C(container), in which a star stands for
      several, and C(exception).
    type: list
    elements: dict
    default: []
  credentials:
    description: The credentials to look for, by their names; empty ones are not looked for.
    type: dict
    default: {}
  secrets:
    description: Directories with files that nobody but their owner may read.
    type: list
    elements: path
    default: []
  door:
    description: >-
      The C(port) on loopback that speaks TLS, the C(name) that people use, and the C(authority) in PEM that vouches for
      it where this is none that the host knows; nothing where the host has no door.
    type: dict
    default: {}
attributes:
  check_mode:
    description: It changes nothing anyway.
    support: full
"""

EXAMPLES = r"""
- name: What the host exposes is looked at
  endolab.active_learning.exposure:
    services: [endolab-edge]
    door: {port: 443, name: cvat.example.org}
  register: seen
"""

RETURN = r"""
listeners:
  description: >-
    Every TCP port that something listens on, with C(port), C(address), C(loopback), C(process) and C(container).
  returned: always
  type: list
  elements: dict
containers:
  description: >-
    Every container with C(name), C(own) and C(beyond), what it may do that it need not: of the lab's own all that is
    not among I(privileges), of others what gives the host away.
  returned: always
  type: list
  elements: dict
networks:
  description: For each of Docker's networks whether nothing leads out of it.
  returned: always
  type: dict
daemon:
  description: What the engine says of itself; empty where it does not answer.
  returned: always
  type: dict
administrators:
  description: Users who may use Docker, which is as good as root.
  returned: always
  type: list
  elements: str
open_files:
  description: Files that more people may read or write than should, with C(path) and C(mode).
  returned: always
  type: list
  elements: dict
shown:
  description: >-
    Where a credential can be read, each C(argument PLACE NAME), C(environment PLACE NAME) or C(inspect PLACE NAME). The
    place is a container, or a process that is in none.
  returned: always
  type: list
  elements: str
door:
  description: >-
    What is wrong with the certificate as C(fault), for how many C(days) it holds yet, and C(old), the versions of TLS
    before 1.2 that are spoken; empty without a door.
  returned: always
  type: dict
"""

import fnmatch
import grp
import pwd
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.docker_socket import SOCKET, ask_docker
from ansible_collections.endolab.active_learning.plugins.module_utils.listeners import container_of, listeners
from ansible_collections.endolab.active_learning.plugins.module_utils.privileges import GRAVE, exceptions
from ansible_collections.endolab.active_learning.plugins.module_utils.text import read

# The rights that these may have at most, and root as their owner.
RIGHTS = {
    "/etc/docker": 0o755,
    "/etc/docker/daemon.json": 0o644,
    "/etc/endolab": 0o755,
    "/lib/systemd/system/docker.service": 0o644,
    "/lib/systemd/system/docker.socket": 0o644,
    "/run/containerd/containerd.sock": 0o660,
    SOCKET: 0o660,
}

OLD = {"TLSv1": ssl.TLSVersion.TLSv1, "TLSv1.1": ssl.TLSVersion.TLSv1_1}
TIMEOUT_SECONDS = 20


def is_loopback(address: str) -> bool:
    return address.removeprefix("::ffff:").startswith("127.") or address == "::1"


def inspected() -> dict[str, dict[str, Any]]:
    """What Docker says of every container, by its name."""
    found = {}
    for each in ask_docker("/containers/json?all=1") or []:
        attributes = ask_docker(f"/containers/{each['Id']}/json")
        if attributes and "HostConfig" in attributes:  # else it has gone meanwhile
            found[attributes["Name"].lstrip("/")] = attributes
    return found


def beyond(name: str, attributes: dict[str, Any], own: bool, privileges: list[dict[str, Any]]) -> list[str]:
    """What a container may do that it need not."""
    may = exceptions(attributes)
    if not own:
        return sorted(may & GRAVE)
    return sorted(may - {each["exception"] for each in privileges if fnmatch.fnmatchcase(name, each["container"])})


def administrators(group: str = "docker") -> list[str]:
    """The members of Docker's group."""
    try:
        found = grp.getgrnam(group)
    except KeyError:
        return []
    return sorted({*found.gr_mem, *(user.pw_name for user in pwd.getpwall() if user.pw_gid == found.gr_gid)})


def open_files(secrets: list[str]) -> Iterator[dict[str, str]]:
    """Files that more people may read or write than should."""
    for path, allowed in RIGHTS.items():
        if Path(path).exists():
            found = Path(path).stat()
            if stat.S_IMODE(found.st_mode) & ~allowed or found.st_uid != 0:
                yield {"path": path, "mode": f"{stat.S_IMODE(found.st_mode):04o}"}
    for directory in secrets:
        for file in sorted(Path(directory).rglob("*")):
            mode = stat.S_IMODE(file.lstat().st_mode)
            if file.is_file() and mode & 0o077:
                yield {"path": str(file), "mode": f"{mode:04o}"}


def texts(value: Any) -> Iterator[str]:
    """Every text in what JSON has held, keys as well."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def shown(credentials: dict[str, Any], described: dict[str, dict[str, Any]]) -> set[str]:
    """Where a credential can be read."""
    wanted = {name: str(value) for name, value in credentials.items() if value}
    found = set()
    for place, attributes in described.items():
        held = "\0".join(texts(attributes))
        found |= {f"inspect {place} {name}" for name, value in wanted.items() if value in held}
    by_id = {attributes.get("Id"): place for place, attributes in described.items()}
    for process in Path("/proc").glob("[0-9]*"):
        place = by_id.get(container_of(process) or "", read(process / "comm").strip())
        for kind, file in (("argument", "cmdline"), ("environment", "environ")):
            held = read(process / file)
            found |= {f"{kind} {place} {name}" for name, value in wanted.items() if value in held}
    return found


def handshake(context: ssl.SSLContext, port: int, name: str) -> dict[str, Any]:
    """What the certificate says, where the context has had it examined."""
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as peer,
    ):
        return dict(peer.getpeercert() or {})


def speaks(version: ssl.TLSVersion, port: int, name: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # This side must not be the one that refuses.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    try:
        handshake(context, port, name)
    except OSError:
        return False
    return True


def door(port: int, name: str, authority: str | None) -> dict[str, Any]:
    """The door as a browser would see it that trusts the authority."""
    seen: dict[str, Any] = {"fault": "", "days": None, "old": []}
    try:
        context = ssl.create_default_context()
        if authority:  # beside those that everybody trusts
            context.load_verify_locations(cadata=authority)
        ends = ssl.cert_time_to_seconds(handshake(context, port, name)["notAfter"])
        seen["days"] = int((ends - time.time()) / 86400)
    except (OSError, ValueError) as fault:
        seen["fault"] = getattr(fault, "verify_message", "") or str(fault)
    seen["old"] = [each for each, version in OLD.items() if speaks(version, port, name)]
    return seen


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "str", "default": []},
            "privileges": {"type": "list", "elements": "dict", "default": []},
            "credentials": {"type": "dict", "default": {}, "no_log": True},
            "secrets": {"type": "list", "elements": "path", "default": [], "no_log": False},
            "door": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    given = module.params
    described = inspected()
    module.exit_json(
        changed=False,
        listeners=[{**each, "loopback": is_loopback(each["address"])} for each in listeners()],
        containers=[
            {"name": name, "own": own, "beyond": beyond(name, each, own, given["privileges"])}
            for name, each in sorted(described.items())
            for own in [name in given["services"]]
        ],
        networks={each["Name"]: each["Internal"] for each in ask_docker("/networks") or []},
        daemon=ask_docker("/info") or {},
        administrators=administrators(),
        open_files=list(open_files(given["secrets"])),
        shown=sorted(shown(given["credentials"], described)),
        door=door(int(given["door"]["port"]), given["door"]["name"], given["door"].get("authority"))
        if given["door"]
        else {},
    )


if __name__ == "__main__":
    main()
