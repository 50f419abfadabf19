"""Runs a command, and writes to FILE, as JSON, what it has used: seconds, processor seconds, KB of its largest process.

Usage: python bench/used.py FILE COMMAND...     ends as the command does

A process counts as large as the one that has started it, so that one is this small program.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    file, *command = sys.argv[1:]
    begun = time.perf_counter()
    code = subprocess.call(command)
    wall = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the command with all of its own children
    told = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss}
    Path(file).write_text(json.dumps(told), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
