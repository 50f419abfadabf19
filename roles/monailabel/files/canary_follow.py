"""Prints the line of a canary's REPORT about STEP as soon as it is there; the verdict, where that comes before."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def find(report: Path, step: str) -> str | None:
    """The line, or None as long as there is none."""
    # What has no end yet is still being written.
    lines = report.read_text(encoding="utf-8").split("\n")[:-1] if report.exists() else []
    for line in lines:
        content = json.loads(line)
        if content.get("step") == step or "passed" in content:
            return line
    return None


def main() -> None:
    report, step = sys.argv[1:]
    while (line := find(Path(report), step)) is None:
        time.sleep(0.2)
    print(line)


if __name__ == "__main__":
    main()
