"""How far a backup has come, step by step, for whoever follows it from elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .settings import STATE, Fault, run

UNIT = "endolab-backup.service"
PROGRESS = STATE / "progress.json"

# In this order; a follower may ask for each.
STEPS = ["files", "database", "25 %", "50 %", "75 %", "archive", "repository"]


class Progress:
    """Says on standard error what is done, and keeps it in a file."""

    def __init__(self, path: Path = PROGRESS) -> None:
        self.path, self.start = path, time.monotonic()
        self.steps: list[dict[str, Any]] = []
        self._write(ended=False)

    def step(self, name: str, what: str) -> None:
        """A step is done."""
        print(what, file=sys.stderr, flush=True)
        self.steps.append({"step": name, "what": what, "seconds": round(time.monotonic() - self.start, 1)})
        self._write(ended=False)

    def part(self, share: float, what: str) -> None:
        """So much of the archive is written, 0 to 1."""
        for name in ("25 %", "50 %", "75 %"):
            if share * 100 >= float(name[:2]) and name not in (each["step"] for each in self.steps):
                self.step(name, what)

    def end(self, fault: str | None = None) -> None:
        """It is over; `fault` says why it failed."""
        self._write(ended=True, fault=fault)

    def _write(self, **more: Any) -> None:
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"steps": self.steps, **more}) + "\n", encoding="utf-8")
        partial.replace(self.path)


def state(last: Path, path: Path = PROGRESS) -> dict[str, Any]:
    """The last archive with its age, if there is one; why the run after it failed, None where it did not."""
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"ended": True}
    broken_off = None if said["ended"] or active() else f"it was broken off; see `journalctl -u {UNIT}`"
    known = json.loads(last.read_text(encoding="utf-8")) if last.exists() else None
    if known:
        known["days"] = (datetime.now(timezone.utc) - datetime.fromisoformat(known["at"])).days
    return {"last": known, "fault": said.get("fault") or broken_off}


def active() -> bool:
    shown = subprocess.run(["systemctl", "is-active", UNIT], capture_output=True, text=True, check=False)
    return shown.stdout.strip() in ("active", "activating")


def begin(path: Path = PROGRESS) -> bool:
    """Lets systemd make an archive, unless it does already."""
    if active():
        return False
    path.unlink(missing_ok=True)
    run("systemctl", "start", "--no-block", UNIT)
    return True


def follow(step: str, path: Path = PROGRESS) -> dict[str, Any]:
    """Waits until a step is done, and says what it has done; a small archive skips some."""
    while True:
        alive = active()
        said: dict[str, Any] = {"steps": [], "ended": False}
        if path.exists():
            said = json.loads(path.read_text(encoding="utf-8"))
        done = {each["step"]: each for each in said["steps"]}
        later = [done[name] for name in STEPS[STEPS.index(step) :] if name in done]
        if later:
            return dict(later[0])
        if said["ended"] or not alive:
            raise Fault(said.get("fault") or f"it was broken off; see `journalctl -u {UNIT}`")
        time.sleep(0.5)
