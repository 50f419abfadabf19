"""A host with a repository of restic's on this machine's disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from endolab_backup import backup, fits, journal, manifest, repository, restic, restore
from endolab_backup.settings import Settings


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Its settings; the repository is not begun yet."""
    if not shutil.which("restic"):
        pytest.skip("restic is not installed")
    (tmp_path / "password").write_text("any password\n", encoding="utf-8")
    (tmp_path / "environment.json").write_text("{}", encoding="utf-8")
    (tmp_path / "ssh_key").write_text("\n", encoding="utf-8")
    for name in ("state", "state/archive", "studies"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(restic, "PASSWORD", tmp_path / "password")
    monkeypatch.setattr(restic, "ENVIRONMENT", tmp_path / "environment.json")
    monkeypatch.setattr(restic, "KEY", tmp_path / "ssh_key")
    monkeypatch.setattr(restic, "KNOWN_HOSTS", tmp_path / "known_hosts")
    monkeypatch.setattr(restic, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(restic, "PAUSE", 0.1)
    monkeypatch.setattr(repository, "STATE", tmp_path / "state")
    for name in ("MANIFEST", "SUMS", "DUMP", "QUEUE"):
        place = tmp_path / "state/archive" / getattr(manifest, name).name
        for module in (backup, fits, restore, journal):
            monkeypatch.setattr(module, name, place, raising=False)
    monkeypatch.setattr(backup, "ARCHIVE", tmp_path / "state/archive")
    monkeypatch.setattr(backup, "LAST", tmp_path / "state/last.json")
    for module in (backup, fits, journal):
        monkeypatch.setattr(module, "JOURNAL", tmp_path / "state/journal.json")
        monkeypatch.setattr(module, "IN_PLACE", tmp_path / "state/in_place.json")
    monkeypatch.setattr(journal, "RESTORED", tmp_path / "state/restored")
    monkeypatch.setattr(journal, "running", lambda names: [])
    return Settings(
        lab="lab",
        host="gpu1",
        repository=str(tmp_path / "repository"),
        keep={"daily": 7, "weekly": 0, "monthly": 0},
        versions={"cvat": "2.73.0"},
        database=None,
        queue=None,
        cache=None,
        writers=[],
        trees=[{"name": "studies", "directory": str(tmp_path / "studies"), "linked": ["*.png"]}],
    )
