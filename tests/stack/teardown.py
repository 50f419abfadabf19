"""What a teardown leaves, by snapshots of a host before and after."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from testinfra.host import Host

TEARDOWN = ("playbooks/teardown.yml", "-e", "teardown_data=true")

# What differs, and why that is nobody's concern.
MAY_DIFFER = [
    # Copies of the state before the last change of a group, by the programs that make one.
    r"/etc/g(roup|shadow)-",
    # Ansible's, which comes with any playbook.
    r"/root/\.ansible(/.*)?",
]

EMPTY = re.compile(r"\*|COMMIT|:[A-Z]+ ACCEPT ")
# What a simulated host has of the engine outside, other at each start: the end of its cable, and its resolver.
OUTSIDE = re.compile(r".*\b127\.0\.0\.11\b.*|(?<=eth0)@if\d+")


def snapshot(host: Host) -> dict[str, Any]:
    """What a host is like now."""
    return dict(json.loads(host.check_output("python3 /srv/stand_ins/snapshot.py")))


def differences(before: Any, after: Any) -> dict[str, Any]:
    """What is other in each part of two snapshots: of lists and dictionaries the entries that are not the same."""
    found: dict[str, Any] = {}
    for part, old in before.items():
        pairs = [set(each.items()) if isinstance(each, dict) else set(each) for each in (old, after[part])]
        gone, new = (sorted(map(str, a - b)) for a, b in (pairs, pairs[::-1]))
        if gone or new:
            found[part] = {"gone": gone, "new": new}
    return found


def without_known(snapshot: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without what may differ."""
    known = re.compile("|".join(MAY_DIFFER))
    files = {path: what for path, what in snapshot["files"].items() if not known.fullmatch(path)}
    # Without nft nobody can take away a table of iptables; one without rules and with open policies does nothing.
    network = {
        part: [OUTSIDE.sub("", line) for line in snapshot[part] if not EMPTY.match(line)]
        for part in ("addresses", "listeners", "iptables", "ip6tables")
    }
    return {**snapshot, "files": files, **network}


def traces(host: Host) -> dict[str, Any]:
    """What differs on a host from what it was like before Endolab came."""
    before = json.loads(host.check_output("cat /srv/stand_ins/before.json"))
    return differences(without_known(before), without_known(snapshot(host)))


def changes(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The tasks that have, or would have, changed something."""
    assert done.returncode == 0, done.stdout
    tasks = re.split(r"^TASK ", done.stdout, flags=re.M)
    return [task.splitlines()[0] for task in tasks if re.search(r"^changed: ", task, re.M)]
