"""Wheelhouses: the wheels of a requirements file, downloaded once, so that an image build needs no package index."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

# Images with Python packages are made on Debian 12, whatever Python this machine has.
PYTHON = "3.11"

# Its C library runs wheels made for any of these.
_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)] + [
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
]


def wheelhouse(requirements: Path, cache: Path) -> Path:
    """The folder below `cache` with what `requirements` pins, nothing resolved; downloads it where it is not there.

    Where the wheels come from (an index, a folder with a CPU build of torch) is for pip's own configuration to say.
    Raises CalledProcessError, with pip's output, where pip fails.
    """
    folder = cache / hashlib.sha256(PYTHON.encode() + requirements.read_bytes()).hexdigest()[:16]
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(partial)]
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON:
        command += [f"--python-version={PYTHON}", *(f"--platform={name}" for name in _PLATFORMS)]
    subprocess.run(
        [*command, "--requirement", str(requirements)],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    partial.rename(folder)
    return folder
