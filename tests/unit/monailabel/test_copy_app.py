"""copy_app.py copies an app out of the image, and leaves alone what is the lab's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "monailabel" / "files" / "copy_app.py"


class Image:
    """A MONAI Label with one sample app, and the directory of a lab's apps."""

    def __init__(self, directory: Path) -> None:
        self.apps = directory / "apps"
        self.apps.mkdir()
        self.samples = directory / "sample-apps"
        (self.samples / "endoscopy" / "model").mkdir(parents=True)
        (self.samples / "endoscopy" / "main.py").write_text("shipped")
        (self.samples / "endoscopy" / "model" / "weights").write_text("shipped")
        self.packages = directory / "packages"
        (self.packages / "monailabel").mkdir(parents=True)
        (self.packages / "monailabel" / "main.py").write_text(
            f"class Main:\n    def _get_installed_dir(self, *_):\n        return {str(self.samples)!r}\n"
        )

    def copy(self, name: str, verb: str = "copy") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SCRIPT), name, str(self.apps), verb],
            env={**os.environ, "PYTHONPATH": str(self.packages)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def test_the_app_is_copied_without_its_models(image: Image) -> None:
    assert image.copy("endoscopy").stdout == "changed endoscopy/main.py\n"
    assert {path.name for path in (image.apps / "endoscopy").iterdir()} == {"main.py"}


def test_a_second_copy_changes_nothing(image: Image) -> None:
    image.copy("endoscopy")
    assert image.copy("endoscopy").stdout == ""


def test_a_comparison_says_what_would_change_and_writes_nothing(image: Image) -> None:
    assert image.copy("endoscopy", "compare").stdout == "changed endoscopy/main.py\n"
    assert not (image.apps / "endoscopy").exists()


def test_trained_weights_outlive_a_newer_image(image: Image) -> None:
    image.copy("endoscopy")
    weights = image.apps / "endoscopy" / "model" / "weights"
    weights.parent.mkdir()
    weights.write_text("trained")
    (image.samples / "endoscopy" / "main.py").write_text("newer")
    assert image.copy("endoscopy").returncode == 0
    assert weights.read_text() == "trained"
    assert (image.apps / "endoscopy" / "main.py").read_text() == "newer"


def test_an_app_of_the_labs_own_stays_as_it_is(image: Image) -> None:
    (image.apps / "ours").mkdir()
    (image.apps / "ours" / "main.py").write_text("ours")
    assert image.copy("ours").returncode == 0
    assert (image.apps / "ours" / "main.py").read_text() == "ours"


def test_an_unknown_app_is_refused_with_the_names_there_are(image: Image) -> None:
    done = image.copy("endoscopi")
    assert done.returncode == 1
    assert "The image has no app 'endoscopi' (it has endoscopy)" in done.stderr
    assert not (image.apps / "endoscopi").exists()
