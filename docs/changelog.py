"""CHANGELOG.md as a release would have it now, so that what is not released yet can be read, too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

# What antsibull-changelog looks at: releases and fragments, the version, and the version that each plugin came with.
LOOKED_AT = ("changelogs", "galaxy.yml", "plugins")


ESCAPED = re.compile(r"\\(.)")
# What need not be escaped within a sentence.
PUNCTUATION = re.compile(r"\\([^\w\s\\`*_<>\[\]#|])")


def plain(text: str) -> str:
    """Markdown that people can read as it is: antsibull-changelog writes code as HTML, and escapes all punctuation."""
    text = re.sub(r"<code>(.*?)</code>", lambda code: "`" + ESCAPED.sub(r"\1", code[1]) + "`", text)
    return PUNCTUATION.sub(r"\1", text)


def changelog(root: Path) -> str:
    """The changelog of the checkout at `root`, in which nothing is changed; its version is marked until it is released.

    Raises CalledProcessError where antsibull-changelog does not take a fragment.
    """
    version = yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    released = version in yaml.safe_load((root / "changelogs/changelog.yaml").read_text(encoding="utf-8"))["releases"]
    with TemporaryDirectory() as directory:
        copy = Path(directory)
        for name in LOOKED_AT:
            (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, copy / name)
        command = [sys.executable, "-m", "antsibull_changelog", "generate" if released else "release"]
        # It asks ansible-doc, which lies beside Python, about the plugins.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(command, cwd=copy, env={**os.environ, "PATH": path}, check=True, stdout=sys.stderr)
        text = plain((copy / "CHANGELOG.md").read_text(encoding="utf-8"))
    return text if released else text.replace(f"## v{version}\n", f"## v{version} (unreleased)\n")
