"""A host with a repository of restic's on this machine's disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from endolab_backup import backup, fits, journal, manifest, repository, restic, restore
from endolab_backup.settings import Settings


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every test has its host, as an archive holds paths."""
    return tmp_path_factory.mktemp("backup") / "host"


@pytest.fixture
def host(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Its settings; the repository is not begun yet."""
    if not shutil.which("restic"):
        pytest.skip("restic is not installed")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / "password").write_text("any password\n", encoding="utf-8")
    (home / "environment.json").write_text("{}", encoding="utf-8")
    (home / "ssh_key").write_text("\n", encoding="utf-8")
    for name in ("state", "state/archive", "studies"):
        (home / name).mkdir()
    monkeypatch.setattr(restic, "PASSWORD", home / "password")
    monkeypatch.setattr(restic, "ENVIRONMENT", home / "environment.json")
    monkeypatch.setattr(restic, "KEY", home / "ssh_key")
    monkeypatch.setattr(restic, "KNOWN_HOSTS", home / "known_hosts")
    monkeypatch.setattr(restic, "CACHE", home / "cache")
    monkeypatch.setattr(restic, "PAUSE", 0.1)
    monkeypatch.setattr(repository, "STATE", home / "state")
    for name in ("MANIFEST", "SUMS", "DUMP", "QUEUE"):
        place = home / "state/archive" / getattr(manifest, name).name
        for module in (backup, fits, restore, journal):
            monkeypatch.setattr(module, name, place, raising=False)
    monkeypatch.setattr(backup, "ARCHIVE", home / "state/archive")
    monkeypatch.setattr(backup, "LAST", home / "state/last.json")
    for module in (backup, fits, journal):
        monkeypatch.setattr(module, "JOURNAL", home / "state/journal.json")
        monkeypatch.setattr(module, "IN_PLACE", home / "state/in_place.json")
    monkeypatch.setattr(journal, "RESTORED", home / "state/restored")
    monkeypatch.setattr(journal, "running", lambda names: [])
    return Settings(
        lab="lab",
        host="gpu1",
        repository=str(home / "repository"),
        keep={"daily": 7, "weekly": 0, "monthly": 0},
        versions={"cvat": "2.73.0"},
        database=None,
        queue=None,
        cache=None,
        writers=[],
        trees=[{"name": "studies", "directory": str(home / "studies"), "linked": ["*.png"]}],
    )


def once(home: Path, name: str, make: Callable[[], object]) -> None:
    """Makes something of a host with restic, which takes seconds; from then on, copies what was made."""
    if (made := home.with_name(name)).exists():
        shutil.copytree(made, home, symlinks=True, dirs_exist_ok=True)
    else:
        make()
        shutil.copytree(home, made, symlinks=True)
