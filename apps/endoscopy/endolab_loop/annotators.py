"""Who annotates, as the role writes it into a file beside the credentials."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Annotators:
    """User names with their ids in CVAT; those who have `left` keep only what they have completed."""

    present: Mapping[str, int] = field(default_factory=dict)
    left: frozenset[int] = frozenset()


def annotators() -> Annotators:
    """Those of the file that ENDOLAB_ANNOTATORS_FILE names, read anew each time; nobody without one."""
    file = os.environ.get("ENDOLAB_ANNOTATORS_FILE")
    if not file:
        return Annotators()
    known = json.loads(Path(file).read_text(encoding="utf-8"))
    return Annotators(known["present"], frozenset(known["left"]))
