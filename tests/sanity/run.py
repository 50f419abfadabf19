"""Runs ansible-test's sanity tests on the collection as `ansible-galaxy` builds and installs it.

Usage: python tests/sanity/run.py [ARGUMENT...]     arguments of `ansible-test sanity`, such as --test validate-modules
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import ansible
from ansible_test._internal.host_configs import VirtualPythonConfig
from ansible_test._internal.python_requirements import get_venv_packages

ROOT = Path(__file__).resolve().parents[2]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# Where ansible-test keeps the environments that it makes for its tests, so that the next run finds them.
HOME = ROOT / ".cache/ansible-test"

# Other collections, as `ansible` brings them.
COMMUNITY = Path(ansible.__file__).parents[1] / "ansible_collections/community"

# ruff and mypy look at Python, by the rules of this house.
SKIPPED = ["--skip-test", "pep8", "--skip-test", "pylint"]


def prepare_home() -> None:
    """Lets ansible-test, which hands nothing but its home to pip, find what pip needs there."""
    # It would fetch what installs pip from a host of its own; Python brings that along.
    version = get_venv_packages(VirtualPythonConfig(version=PYTHON))["pip"]
    script = HOME / f".ansible/test/cache/get_pip_{version.replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("import ensurepip\n\nensurepip.bootstrap()\n", encoding="utf-8")
    settings = HOME / ".config/pip"
    settings.parent.mkdir(exist_ok=True)
    if not os.path.lexists(settings):
        settings.symlink_to(Path.home() / ".config/pip")


def main() -> int:
    prepare_home()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment = {**own, "HOME": str(HOME), "PATH": path}
    with TemporaryDirectory() as directory:
        build = ["ansible-galaxy", "collection", "build", str(ROOT)]
        subprocess.run(build, cwd=directory, env=environment, check=True)
        (archive,) = Path(directory).glob("*.tar.gz")
        install = ["ansible-galaxy", "collection", "install", archive.name, "--no-deps", "--offline", "-p", directory]
        subprocess.run(install, cwd=directory, env=environment, check=True)
        # What a module imports of another collection.
        (Path(directory) / "ansible_collections/community").symlink_to(COMMUNITY)
        test = ["ansible-test", "sanity", "--python", PYTHON, *SKIPPED, *sys.argv[1:]]
        collection = Path(directory) / "ansible_collections/endolab/active_learning"
        return subprocess.run(test, cwd=collection, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
