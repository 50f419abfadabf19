"""Runs inside MONAI Label's image: copies the sample app NAME into DIRECTORY and leaves MARKER when all of it is there.

A model directory that is already there stays as it is: training owns it. So does an app that is the lab's own.
"""

import pathlib
import shutil
import sys

from monailabel.main import Main

name, directory, marker = sys.argv[1:]
samples = pathlib.Path(Main()._get_installed_dir(None, "sample-apps"))
target = pathlib.Path(directory) / name
if (samples / name).is_dir():
    for old in target.glob(".sha256-*"):
        old.unlink()
    shutil.copytree(
        samples / name, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("model", "logs", "__pycache__")
    )
elif not (target / "main.py").is_file():
    known = ", ".join(sorted(path.name for path in samples.iterdir() if path.is_dir()))
    sys.exit(
        f"The image has no app {name!r} (it has {known}), and monailabel_apps_dir holds none of that name."
        " Mend monailabel_app, or put your own app, with its main.py, there."
    )
(target / marker).touch()
