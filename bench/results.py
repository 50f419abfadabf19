"""Results as files: what was measured, where and when, beside what was committed last."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"

Result = dict[str, Any]


def machine() -> dict[str, Any]:
    """What the numbers are of; the load says how much else was going on."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": platform.system(),
        "load before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def write(part: str, result: Result) -> Path:
    """Writes what a part has measured to its file in bench/results; returns which."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{part}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def dated(result: Result) -> Result:
    return {"date": datetime.now(timezone.utc).isoformat(timespec="minutes"), **result}


def last(part: str) -> Result | None:
    """What was committed last of a part, or None where nothing was."""
    shown = subprocess.run(
        ["git", "show", f"HEAD:bench/results/{part}.json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return json.loads(shown.stdout) if shown.returncode == 0 else None
