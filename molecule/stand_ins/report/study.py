"""Brings together what a report needs: the lab's files, what the annotator would draw, frames nobody has seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import docker
import in_monailabel
import numpy as np
from annotator import Annotator
from catalogue import STAND_INS
from inputs import BRASS
from PIL import Image
from report.history import BUNDLE, Iteration, iterations
from rich.console import Console
from rich.progress import Progress

# The frames that measure the model: of another seed than the lab's, and than those that the bundle has seen.
TEST_SEED = 8
TEST_FRAMES = 32

# One loop that chooses at random says little; each takes as long as all trainings of the lab.
RANDOM_LOOPS = 2


class Study:
    """A directory, made anew, in which it all lies.

    endolab/ is the lab's, start.zip the bundle that it began with, drawn/ a label image for each of its frames, test/
    the frames that no loop sees with their masks, and out/ what was measured.
    """

    def __init__(self, directory: Path, bundle: Path) -> None:
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir()
        self.directory = directory
        self.studies = directory / "endolab" / "datasets" / "images"
        self.out = directory / "out"
        self.start = directory / "start.zip"
        shutil.copy(bundle, self.start)

    def fetch_lab(self, host: str) -> None:
        """Copies what the simulated host keeps of its loop, frames, labels and weights included."""
        with TemporaryFile() as file:
            chunks, _ = docker.from_env(timeout=600).containers.get(host).get_archive("/srv/endolab")
            file.writelines(chunks)
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                archive.extractall(self.directory)

    def draw(self, annotator: Annotator, masks: Path) -> None:
        """Draws every frame as the annotator would, for loops that ask for other frames than the lab's."""
        (self.directory / "drawn").mkdir()
        for mask in masks.iterdir():
            Image.fromarray(annotator.draw(mask.name).astype(np.uint8)).save(self.directory / "drawn" / mask.name)

    def turns(self) -> list[Iteration]:
        """The lab's iterations."""
        with zipfile.ZipFile(self.start) as archive:
            start = archive.read(f"{BUNDLE}/models/model.pt")
        return iterations(self.studies / "loop", sha256(start).hexdigest())

    def make_test_frames(self) -> None:
        test = self.directory / "test"
        command = [STAND_INS / "frames" / "generate.py", "--out", test / "images", "--masks", test / "masks"]
        command += ["--seed", TEST_SEED, "--count", TEST_FRAMES, "--brass", BRASS]
        subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL)

    def measure(self, conf: dict[str, Any], console: Console) -> None:
        """Measures, in MONAI Label's image, how the lab and loops that choose at random get on."""
        self.out.mkdir()
        arguments = [f"--{name}=/work/{path}" for name, path in (
            ("lab", "endolab"), ("start", "start.zip"), ("drawn", "drawn"), ("test", "test"), ("out", "out")
        )]  # fmt: skip
        arguments += [f"--conf={json.dumps(conf)}", f"--random-loops={RANDOM_LOOPS}"]
        with Progress(console=console) as progress:
            bar = progress.add_task("measuring", total=None)
            for line in in_monailabel.run("report/measure.py", arguments, self.directory):
                if line.startswith('{"done"'):
                    told = json.loads(line)
                    progress.update(bar, completed=told["done"], total=told["of"], description=told["what"])
