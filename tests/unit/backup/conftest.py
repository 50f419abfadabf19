"""A host with a repository of restic's on this machine's disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from endolab_backup import backup, manifest, repository, restic
from endolab_backup.settings import Settings


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Its settings; the repository is not begun yet."""
    if not shutil.which("restic"):
        pytest.skip("restic is not installed")
    (tmp_path / "password").write_text("any password\n", encoding="utf-8")
    (tmp_path / "environment.json").write_text("{}", encoding="utf-8")
    for name in ("state", "state/archive", "studies"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(restic, "PASSWORD", tmp_path / "password")
    monkeypatch.setattr(restic, "ENVIRONMENT", tmp_path / "environment.json")
    monkeypatch.setattr(restic, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(restic, "PAUSE", 0.1)
    monkeypatch.setattr(repository, "STATE", tmp_path / "state")
    for name in ("MANIFEST", "SUMS", "DUMP", "QUEUE"):
        place = tmp_path / "state/archive" / getattr(manifest, name).name
        monkeypatch.setattr(backup, name, place)
    monkeypatch.setattr(backup, "ARCHIVE", tmp_path / "state/archive")
    for name in ("LAST", "JOURNAL", "IN_PLACE"):
        monkeypatch.setattr(backup, name, tmp_path / "state" / f"{name.lower()}.json")
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
