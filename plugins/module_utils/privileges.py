"""What a container may do beyond what every one of Endolab's may: the exceptions of docs/privileges.md."""

from __future__ import annotations

from typing import Any

# Directories of the host's that give the host away where a container has one of them whole.
WHOLE = {
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/usr",
    "/var",
    "/var/lib/docker",
    "/var/run",
}


def of_the_host(directory: str) -> str:
    return f"the host's {directory}"


# What gives the host away, whoever's container may do it.
GRAVE = {"privileged", "Docker's socket", "host PID", *map(of_the_host, WHOLE)}


def exceptions(attributes: dict[str, Any]) -> set[str]:
    """Those of a container, of what `docker inspect` says of it."""
    host, found = attributes["HostConfig"], set()
    options = host["SecurityOpt"] or ()
    if attributes["Config"]["User"].partition(":")[0] in {"", "0", "root"}:
        found.add("root")
    if host["CapDrop"] != ["ALL"]:
        found.add("capabilities of Docker's own choice")
    found |= {f"capability {name.removeprefix('CAP_')}" for name in host["CapAdd"] or ()}
    if "no-new-privileges:true" not in options:
        found.add("new privileges")
    found |= {f"no {name} profile" for name in ("seccomp", "apparmor") if f"{name}=unconfined" in options}
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
    sources = {mount["Source"] for mount in attributes["Mounts"] if mount["Type"] == "bind"}
    if any("docker.sock" in source for source in sources):
        found.add("Docker's socket")
    found |= {*map(of_the_host, sources & WHOLE)}
    return found
