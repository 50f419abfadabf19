"""How far a backup has come, step by step, for whoever follows it from elsewhere."""

from __future__ import annotations

import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .settings import STATE, Fault, read_json, run, say, write_json

UNIT = "endolab-backup.service"
PROGRESS = STATE / "progress.json"
# Since it was written archives are to be made.
TIMER = Path("/etc/systemd/system/endolab-backup.timer")

# In this order; a follower may ask for each.
QUARTERS = {"25 %": 0.25, "50 %": 0.5, "75 %": 0.75}
STEPS = ["files", "database", *QUARTERS, "archive", "repository"]

BROKEN_OFF = f"it was broken off; see `journalctl -u {UNIT}`"


class Progress:
    """Says on standard error what is done, and keeps it in a file."""

    def __init__(self, path: Path = PROGRESS) -> None:
        self.path, self.start = path, time.monotonic()
        self.steps: list[dict[str, Any]] = []
        self._write(ended=False)

    def step(self, name: str, what: str) -> None:
        """A step is done."""
        say(what)
        self.steps.append({"step": name, "what": what, "seconds": round(time.monotonic() - self.start, 1)})
        self._write(ended=False)

    def part(self, share: float, what: str) -> None:
        """So much of the archive is written, 0 to 1."""
        for name, quarter in QUARTERS.items():
            if share >= quarter and name not in (each["step"] for each in self.steps):
                self.step(name, what)

    def end(self, fault: str | None = None) -> None:
        """It is over; `fault` says why it failed."""
        self._write(ended=True, fault=fault)

    def _write(self, **more: Any) -> None:
        write_json(self.path, {"steps": self.steps, **more})


def state(last: Path, path: Path = PROGRESS, timer: Path = TIMER) -> dict[str, Any]:
    """The last archive with its age, if there is one; why the run after it failed, None where it did not.

    Without an archive it says for how many days one has been waited for.
    """
    alive = active()  # first: what ends in between has said so
    said = read_json(path) or {"ended": True}
    broken_off = None if said["ended"] or alive else BROKEN_OFF
    known = read_json(last)
    if known:
        known["days"] = (datetime.now(timezone.utc) - datetime.fromisoformat(known["at"])).days
    waited = int(time.time() - timer.stat().st_mtime) // 86400 if timer.exists() and not known else 0
    return {"last": known, "waited": waited, "fault": said.get("fault") or broken_off}


def active() -> bool:
    shown = subprocess.run(["systemctl", "is-active", UNIT], capture_output=True, text=True, check=False)
    return shown.stdout.strip() in ("active", "activating")


def begin(path: Path = PROGRESS) -> dict[str, Any]:
    """Lets systemd make an archive, unless it does already; says which steps can be followed."""
    begun = not active()
    if begun:
        path.unlink(missing_ok=True)
        run("systemctl", "start", "--no-block", UNIT)
    return {"begun": begun, "steps": STEPS}


def follow(step: str, path: Path = PROGRESS) -> dict[str, Any]:
    """Waits until a step is done, and says what it has done; a small archive skips some."""
    while True:
        alive = active()
        said = read_json(path) or {"steps": [], "ended": False}
        done = {each["step"]: each for each in said["steps"]}
        later = [done[name] for name in STEPS[STEPS.index(step) :] if name in done]
        if later:
            return dict(later[0])
        if said["ended"] or not alive:
            raise Fault(said.get("fault") or BROKEN_OFF)
        time.sleep(0.5)
