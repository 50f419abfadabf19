"""Runs inside MONAI Label's image: copies the sample app NAME into DIRECTORY and leaves MARKER when all of it is there.

A model directory that is already there stays as it is: training owns it.
"""

import pathlib
import shutil
import sys

from monailabel.main import Main

name, directory, marker = sys.argv[1:]
source = pathlib.Path(Main()._get_installed_dir(None, "sample-apps")) / name
target = pathlib.Path(directory) / name
for old in target.glob(".sha256-*"):
    old.unlink()
shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("model", "logs", "__pycache__"))
(target / marker).touch()
