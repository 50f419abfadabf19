"""Runs in a host: writes down what it is like, for a comparison of before with after.

Usage: python3 snapshot.py FILE     without FILE to standard output
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

TREES = ["/etc", "/usr/local", "/opt", "/srv", "/var/lib", "/root"]
# Not looked into: dpkg and apt are asked for packages, and what stands in for the world belongs to no host.
SKIPPED = ["/var/lib/dpkg", "/var/lib/apt", "/srv/stand_ins"]
COMMANDS = {
    "packages": ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Status}\\n"],
    "holds": ["apt-mark", "showhold"],
    "automatic packages": ["apt-mark", "showauto"],
    "unit files": ["systemctl", "list-unit-files", "--no-legend", "--plain"],
    "failed units": ["systemctl", "list-units", "--failed", "--no-legend", "--plain"],
    "running units": ["systemctl", "list-units", "--state=running,listening,waiting", "--no-legend", "--plain"],
    "nftables": ["nft", "--stateless", "list", "ruleset"],
    "iptables": ["iptables-save"],
    "ip6tables": ["ip6tables-save"],
    "addresses": ["ip", "-brief", "address"],
    "routes": ["ip", "route"],
    "listeners": ["ss", "-H", "-l", "-n", "-t", "-u"],
    "users": ["getent", "passwd"],
    "groups": ["getent", "group"],
}


def lines(command: list[str]) -> list[str]:
    """What a command prints, without comments; nothing where it is missing."""
    if shutil.which(command[0]) is None:
        return []
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sorted(" ".join(line.split()) for line in output.splitlines() if line.strip() and not line.startswith("#"))


def described(path: Path) -> str:
    """A path's kind, mode, owner, and what it holds or where it leads."""
    found = path.lstat()
    line = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
    if stat.S_ISLNK(found.st_mode):
        return f"{line} {path.readlink()}"
    if stat.S_ISREG(found.st_mode):
        return f"{line} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return line


def files() -> dict[str, str]:
    """All that is below the trees."""
    found = {}
    for tree in TREES:
        for directory, below, names in os.walk(tree):
            below[:] = [name for name in below if str(Path(directory, name)) not in SKIPPED]
            for path in (Path(directory, name) for name in [*below, *names]):
                found[str(path)] = described(path)
    return found


def settings() -> dict[str, str]:
    """The kernel's settings of the host's network; its others are this machine's."""
    found = {}
    for path in Path("/proc/sys/net").rglob("*"):
        try:
            if path.is_file() and path.name != "nf_conntrack_count":
                found[str(path)] = path.read_text().strip()
        except OSError:
            continue  # some are only written
    return found


def main() -> None:
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    snapshot = {
        **{name: lines(command) for name, command in COMMANDS.items()},
        "files": files(),
        "settings": settings(),
        "mounts": sorted(" ".join(mount) for mount in mounts),
    }
    text = json.dumps(snapshot, indent=1, sort_keys=True)
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
