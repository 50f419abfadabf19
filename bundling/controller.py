"""What a controller without a network is set up from: wheels of what is pinned, and Endolab itself as a collection."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError, digest
from packaging.utils import parse_wheel_filename

PINNED = "requirements.txt"


def _run(*command: str) -> None:
    done = subprocess.run(command, text=True, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise BundleError(f"{' '.join(command)} fails:\n{done.stderr or done.stdout}")


def fill_wheels(requirements: Path, wheels: Path) -> None:
    """Puts the wheels of what `requirements` pins, for this Python, into their directory, with their sums in a file.

    Raises BundleError where pip fails.
    """
    with TemporaryDirectory() as scratch:
        # From the index, or pip's own cache: nobody has looked after those that an earlier run has put there.
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
        _run(*pip, "wheel", "--no-deps", f"--wheel-dir={scratch}", f"--requirement={requirements}")
        with (Path(scratch) / PINNED).open("w", encoding="utf-8") as pinned:
            for wheel in sorted(Path(scratch).glob("*.whl")):
                name, version, *_ = parse_wheel_filename(wheel.name)
                pinned.write(f"{name}=={version} --hash=sha256:{digest(wheel)}\n")
        shutil.rmtree(wheels, ignore_errors=True)
        wheels.mkdir()
        for file in Path(scratch).iterdir():
            shutil.copyfile(file, wheels / file.name)


def refuse_other(checkout: Path) -> None:
    """Raises BundleError where this is no checkout."""
    if not (checkout / "galaxy.yml").is_file():
        raise BundleError(
            f"{checkout} is no checkout of Endolab, of which a collection could be made. Run bundle.yml in one."
        )


def fill_collection(checkout: Path, directory: Path) -> None:
    """Puts Endolab's collection, built from the checkout, into its directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    galaxy = str(Path(sys.executable).with_name("ansible-galaxy"))
    _run(galaxy, "collection", "build", "--force", f"--output-path={directory}", str(checkout))
