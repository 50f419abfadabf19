"""What iptables holds, as iptables-save prints it."""

from __future__ import annotations

import re
import shutil
import subprocess


def saved(family: str) -> str:
    """All of `iptables`, or of `ip6tables`; nothing where there is none."""
    program = shutil.which(f"{family}-save", path="/usr/sbin:/sbin:/usr/bin:/bin")
    return subprocess.run([program], capture_output=True, text=True, check=False).stdout if program else ""


def tables(text: str) -> dict[str, str]:
    """The lines of each table, by its name."""
    return {block[1 : block.index("\n")]: block for block in re.findall(r"^\*\S+$.*?^COMMIT$", text, re.M | re.S)}
