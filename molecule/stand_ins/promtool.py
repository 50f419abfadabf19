"""Unpacks promtool from Debian's package prometheus, which is not installed: it would start a server on this machine.

Usage: python molecule/stand_ins/promtool.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from catalogue import CACHE

UNPACKED = CACHE / "promtool"
PROMTOOL = UNPACKED / "usr" / "bin" / "promtool"


def main() -> int:
    if PROMTOOL.exists():
        return 0
    print("fetching promtool", flush=True)
    with TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        subprocess.run(["apt-get", "-qq", "download", "prometheus"], cwd=folder, check=True)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, UNPACKED], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
