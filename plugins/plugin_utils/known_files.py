"""Whether what a run knows of a host's files is what a task of the module files wants."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ansible_collections.endolab.active_learning.plugins.module_utils.file_defaults import MODES, OWNER


def entries(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The directories and files that the task names, each with what it does not say itself."""
    return [
        {"owner": OWNER, "group": OWNER, "mode": MODES[kind], **entry}
        for kind in ("directories", "files")
        for entry in arguments.get(kind) or []
    ]


def right(entry: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether what is known of a path is what the entry wants; owners by name are for the host to resolve."""
    facts = known.get(entry["path"], {})
    wanted = {"uid": str(entry["owner"]), "gid": str(entry["group"]), "mode": f"{entry['mode']!s:0>4}"}
    if "content" in entry:
        content = str(entry["content"]).encode("utf-8", "surrogateescape")
        wanted |= {"kind": "file", "sha256": hashlib.sha256(content).hexdigest()}
    else:
        wanted["kind"] = "directory"
    return all(str(facts.get(key)) == value for key, value in wanted.items())
