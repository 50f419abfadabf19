"""What sanity/run.py prepares is where ansible-test, and pip below it, look."""

from __future__ import annotations

import re
from pathlib import Path

import ansible_test
import pytest

from tests.sanity import run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of ansible-test; that of the user is beside it."""
    monkeypatch.setattr(run, "HOME", tmp_path / "cache")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return tmp_path / "cache"


def test_ansible_test_looks_for_its_bootstrap_script_there(home: Path) -> None:
    run.prepare_home()
    (script,) = (home / ".ansible/test/cache").iterdir()
    source = (Path(ansible_test.__file__).parent / "_util/target/setup/requirements.py").read_text(encoding="utf-8")
    assert '~/.ansible/test/cache/get_pip_%s.py\' % pip_version.replace(".", "_")' in source, (
        "ansible-test looks elsewhere; see bootstrap() in its requirements.py"
    )
    assert re.fullmatch(r"get_pip_\d+(_\d+)+[.]py", script.name)


@pytest.mark.parametrize(
    "there", [[], [".config"], [".config/other"]], ids=["bare", "a directory", "with another's in it"]
)
def test_pip_finds_its_settings_whatever_else_is_there(home: Path, tmp_path: Path, there: list[str]) -> None:
    for name in there:
        (home / name).mkdir(parents=True)
    (tmp_path / "user/.config/pip").mkdir(parents=True)
    (tmp_path / "user/.config/pip/pip.conf").write_text("[global]\n", encoding="utf-8")
    for _ in range(2):
        run.prepare_home()
        assert (home / ".config/pip/pip.conf").read_text(encoding="utf-8") == "[global]\n"
        assert all((home / name).is_dir() for name in there)
