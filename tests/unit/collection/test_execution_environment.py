"""The execution environment has what the controller needs, in the versions of requirements.txt."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
# What runs on the controller; module_utils runs there, too, and has nothing but Ansible beside Python on a host.
CONTROLLER = ("action", "callback", "filter", "lookup", "plugin_utils", "test")
PINNED = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
# Where a package and what is imported from it have other names.
IMPORTED = {"pyyaml": "yaml", "cyclonedx-python-lib": "cyclonedx", "packageurl-python": "packageurl"}


def named() -> list[str]:
    """The packages that the collection asks for."""
    own = yaml.safe_load((ROOT / "meta/execution-environment.yml").read_text(encoding="utf-8"))["dependencies"][
        "python"
    ]
    lines = (ROOT / own).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an image would be built from."""
    directory = tmp_path_factory.mktemp("image") / "context"
    done = subprocess.run(
        ["ansible-builder", "create", "--context", str(directory), "--output-filename", "Containerfile"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return directory


def test_the_image_has_what_is_named_in_the_versions_that_are_tested(context: Path) -> None:
    assert (context / "_build/requirements.txt").read_text(encoding="utf-8").split("\n")[1:] == [*named(), ""]
    copied = "_build/constraints/requirements.txt"
    assert (context / copied).read_bytes() == (ROOT / "requirements.txt").read_bytes()
    assert {*named(), "ansible", "ansible-core"} <= set(PINNED)
    steps = (context / "Containerfile").read_text(encoding="utf-8").split("\nFROM ")[1]
    constrained = steps.index("ENV PIP_CONSTRAINT=/etc/pip-constraints.txt")
    assert steps.index(f"COPY {copied} /etc/pip-constraints.txt") < constrained < steps.index("pip install")


def test_every_import_of_the_controllers_plugins_is_named() -> None:
    brought = [Requirement(each).name.lower() for each in metadata.requires("ansible-core") or []]
    known = {IMPORTED.get(name, name) for name in [*named(), *brought]} | sys.stdlib_module_names
    files = [path for directory in CONTROLLER for path in (ROOT / "plugins" / directory).rglob("*.py")]
    imported = {
        name.split(".")[0]
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom)
            else []
        )
    }  # fmt: skip
    assert imported - known == {"ansible", "ansible_collections"}


def test_every_package_that_a_role_packs_is_named() -> None:
    roles = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles").rglob("*.yml"))
    packed = re.findall(r"lookup\('endolab\.active_learning\.pure_python', '([\w-]+)'\)", roles)
    assert packed
    assert set(packed) <= set(named())
