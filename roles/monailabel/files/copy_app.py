"""Runs inside MONAI Label's image: copies the sample app NAME into DIRECTORY, and says "changed" where that changes it.

A model directory that is already there stays as it is: training owns it. So does an app that is the lab's own.
With "compare" in place of "copy" nothing is written.
"""

import filecmp
import pathlib
import shutil
import sys

from monailabel.main import Main

name, directory, verb = sys.argv[1:]
samples = pathlib.Path(Main()._get_installed_dir(None, "sample-apps"))
source, target = samples / name, pathlib.Path(directory) / name
if not source.is_dir() and not (target / "main.py").is_file():
    known = ", ".join(sorted(path.name for path in samples.iterdir() if path.is_dir()))
    sys.exit(
        f"The image has no app {name!r} (it has {known}), and monailabel_apps_dir holds none of that name."
        " Mend monailabel_app, or put your own app, with its main.py, there."
    )
for file in sorted(source.rglob("*")):
    place = target / file.relative_to(source)
    if file.is_dir() or {"model", "logs", "__pycache__"} & set(place.relative_to(target).parts):
        continue
    if place.is_file() and filecmp.cmp(file, place, shallow=False):
        continue
    print("changed", place.relative_to(directory))
    if verb == "copy":
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)
