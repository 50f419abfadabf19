"""Makes what a lab brings itself: frames to annotate, and the model bundle to begin with.

Usage: python molecule/stand_ins/inputs.py

Both lie in .cache/inputs: frames.tar.gz, endoscopic_tool_segmentation.zip and the zip's sum in a file beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import context
import docker
from catalogue import CACHE, PREFIX, STAND_INS, published_names
from rich.console import Console

INPUTS = CACHE / "inputs"
FRAMES = INPUTS / "frames.tar.gz"
BUNDLE = INPUTS / "endoscopic_tool_segmentation.zip"


class TrainingError(Exception):
    """The bundle could not be trained."""


def draw_frames() -> None:
    """Packs the frames that are to be scored; their seed is none that the bundle has been trained on."""
    with TemporaryDirectory() as folder:
        subprocess.run([sys.executable, STAND_INS / "frames" / "generate.py", "--out", folder], check=True)
        with tarfile.open(FRAMES, "w:gz") as archive:
            for frame in sorted(Path(folder).iterdir()):
                archive.add(frame, frame.name)


def train_bundle(console: Console) -> None:
    """Trains the bundle inside MONAI Label's image, which has torch."""
    container = docker.from_env(timeout=600).containers.run(
        PREFIX + published_names()["monailabel"],
        ["python3", "/stand_ins/bundle/make_bundle.py", "--out", f"/out/{BUNDLE.name}"],
        volumes={str(STAND_INS): {"bind": "/stand_ins", "mode": "ro"}, str(INPUTS): {"bind": "/out"}},
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
        network_mode="none",
        labels={"endolab": "stand-in"},
        detach=True,
    )
    try:
        log = []
        with console.status("training the model bundle") as status:
            for line in container.logs(stream=True):
                log.append(line.decode(errors="replace").rstrip())
                status.update(f"training the model bundle: {log[-1][:90]}")
        if container.wait()["StatusCode"]:
            console.print("\n".join(log[-40:]))
            raise TrainingError("make_bundle.py failed; its last lines stand above")
    finally:
        container.remove(force=True)
    Path(f"{BUNDLE}.sha256").write_text(hashlib.sha256(BUNDLE.read_bytes()).hexdigest(), encoding="ascii")


def main() -> int:
    argparse.ArgumentParser(description="Make the frames and the model bundle, once.").parse_args()
    console = Console(highlight=False)
    INPUTS.mkdir(parents=True, exist_ok=True)
    made = INPUTS / "made-from"
    wanted = "".join(context.fingerprint(STAND_INS / folder) for folder in ("frames", "bundle"))
    if made.exists() and made.read_text(encoding="ascii") == wanted:
        return 0
    console.print("drawing frames and training the model bundle on others (a minute or two)")
    draw_frames()
    train_bundle(console)
    made.write_text(wanted, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
