"""What an archive holds, for a person to read and for a restore to compare with."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from .settings import STATE, Fault
from .trees import Sum

# Another form of archive has another number.
FORMAT = 1

# What belongs to an archive beside the trees. It lies at this path in every archive.
ARCHIVE = STATE / "archive"
MANIFEST, SUMS, DUMP, QUEUE = (ARCHIVE / name for name in ("manifest.json", "sums.jsonl", "database.dump", "queue.rdb"))

# Tables of CVAT's that people know, as they call them.
COUNTED = {
    "projects": "engine_project",
    "tasks": "engine_task",
    "jobs": "engine_job",
    "frames": "engine_image",
    "shapes": "engine_labeledshape",
    "tracks": "engine_labeledtrack",
    "tags": "engine_labeledimage",
}


# What a lab that is at work has some of, however small it gets.
NEEDED = ("tasks", "images", "label files", "weights")

# Of one loop's studies, or of each one's by its name.
FRAME = re.compile(r"studies(-[^/]+)?/[^/]+\.(png|jpe?g|bmp|tiff?)$", re.IGNORECASE)
LABEL_FILE = re.compile(r"studies(-[^/]+)?/labels/final/")


@dataclass(frozen=True)
class Manifest:
    """format: of the archive. at: when the lab looked like this, UTC.

    parts: path in the archive, files, bytes and the sum of sums of each tree. tables: rows of each of the database's
    tables, and a sum of them. dump, queue: SHA-256 of their files. dump_bytes: of the dump.
    """

    format: int
    lab: str
    host: str
    at: str
    versions: dict[str, str]
    counts: dict[str, int]
    parts: dict[str, dict[str, Any]]
    tables: dict[str, dict[str, Any]] | None
    dump: str | None
    queue: str | None
    dump_bytes: int

    @classmethod
    def read(cls, text: str) -> Manifest:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise Fault(
                f"the archive has form {content['format']}, and this Endolab reads form {FORMAT}. "
                "Bring it back with the Endolab that made it"
            )
        return cls(**content)


def part(path: Path, found: dict[str, Sum]) -> dict[str, Any]:
    """What a manifest says of a tree."""
    total = sum(each.bytes for each in found.values())
    lines = "".join(f"{each.sha256} {name}\n" for name, each in sorted(found.items()))
    digest = sha256(lines.encode(errors="surrogateescape")).hexdigest()
    return {"path": str(path), "files": len(found), "bytes": total, "sha256": digest}


def counts(tables: dict[str, dict[str, Any]] | None, found: dict[str, Sum]) -> dict[str, int]:
    """What a person counts: CVAT's rows, frames on disk, label files and weights."""
    known = {name: tables[table]["rows"] for name, table in COUNTED.items() if tables and table in tables}
    labels = sum(bool(LABEL_FILE.match(name)) for name in found)
    weights = sum(name.endswith(".pt") for name in found)
    images = sum(bool(FRAME.match(name)) for name in found)
    return {**known, "images": images, "label files": labels, "weights": weights}


def missing(before: Manifest, now: Manifest) -> list[str]:
    """What an archive of before has some of, and the lab has nothing left of."""
    gone = [name for name, known in before.parts.items() if known["files"] and not now.parts.get(name, {}).get("files")]
    return gone + [name for name in NEEDED if before.counts.get(name) and not now.counts.get(name)]
