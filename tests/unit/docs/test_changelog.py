"""CHANGELOG.md shows what is not released yet, and says the same once it is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from changelog import changelog, plain

ROOT = Path(__file__).resolve().parents[3]
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
RELEASES = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text(encoding="utf-8"))["releases"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One with a single change, which is not released."""
    (tmp_path / "changelogs/fragments").mkdir(parents=True)
    (tmp_path / "plugins").mkdir()
    for name in ("galaxy.yml", "changelogs/config.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "changelogs/changelog.yaml").write_text("ancestor: null\nreleases: {}\n", encoding="utf-8")
    change = "minor_changes: ['``edge_port``, and none beside it (of its own).']\n"
    (tmp_path / "changelogs/fragments/port.yml").write_text(change, encoding="utf-8")
    return tmp_path


def test_what_is_not_released_is_shown_and_called_so_until_it_is(checkout: Path) -> None:
    before = changelog(checkout)
    assert f"## v{VERSION} (unreleased)\n" in before
    assert "* `edge_port`, and none beside it (of its own).\n" in before
    assert not (checkout / "CHANGELOG.md").exists()

    subprocess.run([sys.executable, "-m", "antsibull_changelog", "release"], cwd=checkout, check=True)
    assert list((checkout / "changelogs/fragments").iterdir()) == []
    assert changelog(checkout) == before.replace(" (unreleased)", "")


def test_a_fragment_that_antsibull_does_not_take_is_refused(checkout: Path) -> None:
    (checkout / "changelogs/fragments/port.yml").write_text("changes: [Something]\n", encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        changelog(checkout)


def test_people_can_read_it_as_it_is() -> None:
    assert plain(r"<code>a\_b\.yml</code>\, it\'s \(new\) \*not\* \<c\>") == r"`a_b.yml`, it's (new) \*not\* \<c\>"


def test_no_change_waits_for_a_version_that_is_released() -> None:
    fragments = [path.name for path in (ROOT / "changelogs/fragments").glob("*.yml")]
    assert VERSION not in RELEASES or not fragments, f"galaxy.yml has the released {VERSION}; the next one is due."


def test_every_plugin_came_with_a_version_that_there_is() -> None:
    added = {
        str(path.relative_to(ROOT)): version
        for path in (ROOT / "plugins").rglob("*.py")
        for version in re.findall(r"^version_added: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert added
    assert {path: version for path, version in added.items() if version not in {VERSION, *RELEASES}} == {}
