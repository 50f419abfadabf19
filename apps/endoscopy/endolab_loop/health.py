"""Is the loop alive? The server and the container's health check judge by the same rule.

Run as a program, with the studies directory and the server's address, it is the health check itself.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

STATUS = Path("loop") / "status.json"

# The phases that take as long as they take.
WORKING = ("scoring", "uploading", "collecting", "training")


def ailment(status: dict[str, Any], at: datetime | None = None) -> str | None:
    """What is wrong with a loop of this status, as a sentence; None when it is alive.

    It is alive while its thread shows itself, and either works or has seen CVAT within three intervals and a minute.
    Uploads and collections show themselves with every request.
    """
    at = at or datetime.now(timezone.utc)
    patience = 3 * status["interval"] + 60

    def age(key: str) -> float:
        # What is of the future is from before the clock was set back.
        return abs((at - datetime.fromisoformat(status[key])).total_seconds()) if status[key] else float("inf")

    if age("alive_at") > patience:
        return f"the loop's thread has not shown itself since {status['alive_at']}"
    if status["phase"] not in WORKING and age("polled_at") > patience:
        error = status["error"] or {"what": "the loop has not seen CVAT yet", "remedy": "wait"}
        return f"{error['what']}: {error['remedy']}"
    return None


def main() -> None:
    studies, url = sys.argv[1:]
    try:
        status = json.loads((Path(studies) / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"the loop has no status yet: {error}")
    if wrong := ailment(status):
        sys.exit(wrong)
    with urllib.request.urlopen(f"{url}/loop", timeout=9):
        print(status["phase"])


if __name__ == "__main__":
    main()
