"""Files that may not be there."""

from __future__ import annotations

from pathlib import Path


def read(path: str | Path) -> str:
    """A file's text; empty where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
