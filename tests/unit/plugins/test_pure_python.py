"""The lookup packs a distribution with what it needs, the same way each time."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible_collections.endolab.active_learning.plugins.lookup import pure_python


def test_cvat_sdk_can_be_imported_from_the_zip(tmp_path: Path) -> None:
    """With nothing else but what has compiled parts."""
    packed = pure_python.pack("cvat-sdk", tmp_path)
    names = set(zipfile.ZipFile(packed).namelist())
    assert {"cvat_sdk/__init__.py", "platformdirs/__init__.py", "attrs/__init__.py"} <= names
    assert not [name for name in names if name.startswith("PIL/") or name.endswith((".so", ".pyc"))]
    code = f"import sys; sys.path.insert(0, {str(packed)!r}); import cvat_sdk.masks; print(cvat_sdk.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(packed))


def test_the_same_versions_make_the_same_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert pure_python.pack("cvat-sdk", first).read_bytes() == pure_python.pack("cvat-sdk", second).read_bytes()


def test_a_run_packs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pure_python.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    lookup = pure_python.LookupModule()
    packed = lookup.run(["cvat-sdk"])
    monkeypatch.setattr(pure_python, "pack", None)
    assert lookup.run(["cvat-sdk"]) == packed


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match="no-such-thing, which Endolab brings to the host, is not installed"):
        pure_python.pack("no-such-thing", tmp_path)
