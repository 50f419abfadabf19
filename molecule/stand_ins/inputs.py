"""Makes what a lab brings itself: frames to annotate, and the model bundle to begin with.

Usage: python molecule/stand_ins/inputs.py [--frames COUNT]

All lies in .cache/inputs: endoscopic_tool_segmentation.zip with its sum in a file beside it, and for each COUNT of
frames frames-COUNT/images.tar.gz and the true masks in frames-COUNT/masks.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import context
import in_monailabel
from catalogue import CACHE, STAND_INS
from rich.console import Console

INPUTS = CACHE / "inputs"
BUNDLE = INPUTS / "endoscopic_tool_segmentation.zip"

# The bundle has not been trained on brass instruments and does not see them, so that a lab has something to teach it.
BRASS = "0.3"


def frames(count: int) -> Path:
    """Where `count` frames lie: images.tar.gz, and masks/ with the truth under the frames' names."""
    return INPUTS / f"frames-{count}"


def draw_frames(count: int, console: Console) -> None:
    """Packs the frames that are to be scored; their seed is none that the bundle has been trained on either."""
    console.print(f"drawing {count} frames")
    with TemporaryDirectory() as folder:
        images, masks = Path(folder) / "images", frames(count) / "masks"
        command = [STAND_INS / "frames" / "generate.py", "--out", images, "--masks", masks]
        command += ["--count", count, "--brass", BRASS]
        subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(frames(count) / "images.tar.gz", "w:gz") as archive:
            for frame in sorted(images.iterdir()):
                archive.add(frame, frame.name)


def train_bundle(console: Console) -> None:
    """Trains the bundle; raises ProgramError where that fails."""
    console.print("training the model bundle (a minute or two)")
    with console.status("training the model bundle") as status:
        for line in in_monailabel.run("bundle/make_bundle.py", ["--out", f"/work/{BUNDLE.name}"], INPUTS):
            status.update(f"training the model bundle: {line[:90]}")
    Path(f"{BUNDLE}.sha256").write_text(hashlib.sha256(BUNDLE.read_bytes()).hexdigest(), encoding="ascii")


def made(path: Path, sources: str, make: Callable[[], None]) -> None:
    """Makes `path`, unless it has been made already from these sources, told by a fingerprint."""
    note = path.with_name(f"{path.name}.made-from")
    if not note.exists() or note.read_text(encoding="ascii") != sources:
        make()
        note.write_text(sources, encoding="ascii")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the frames and the model bundle, once.")
    parser.add_argument("--frames", type=int, default=24, metavar="COUNT", help="how many (default: %(default)s)")
    count = parser.parse_args().frames
    console = Console(highlight=False)
    frames(count).mkdir(parents=True, exist_ok=True)

    generator, template = (context.fingerprint(STAND_INS / folder) for folder in ("frames", "bundle"))
    made(frames(count), f"{generator} {BRASS}", lambda: draw_frames(count, console))
    made(BUNDLE, f"{generator} {template}", lambda: train_bundle(console))
    return 0


if __name__ == "__main__":
    sys.exit(main())
