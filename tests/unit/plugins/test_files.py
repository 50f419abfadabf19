"""The module files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.modules import files

Run = Callable[..., dict[str, Any]]
ME = {"owner": str(os.getuid()), "group": str(os.getgid())}


def test_what_differs_is_written_once(run: Run, tmp_path: Path) -> None:
    options = {
        "directories": [{"path": str(tmp_path / "a/b"), **ME}],
        "files": [{"path": str(tmp_path / "a/b/c"), "content": "ü 1\n\n", **ME}],
        "secrets": [{"path": str(tmp_path / "a/b/s"), "content": "hidden", **ME}],
    }
    first = run(files, **options)
    assert first["changed"] is True
    assert len(first["changed_paths"]) == 3
    assert (tmp_path / "a/b/c").read_bytes() == "ü 1\n\n".encode()
    assert (tmp_path / "a/b/s").stat().st_mode & 0o777 == 0o600
    second = run(files, **options)
    assert second["changed"] is False
    assert second["diff"] == []


def test_check_mode_writes_nothing_and_says_what_would_change(run: Run, tmp_path: Path) -> None:
    result = run(files, check=True, files=[{"path": str(tmp_path / "x/y"), "content": "1", **ME}])
    assert result["changed"] is True
    assert list(tmp_path.iterdir()) == []


def test_it_says_when_each_file_was_written(run: Run, tmp_path: Path) -> None:
    wanted = {"path": str(tmp_path / "f"), "content": "1", **ME}
    first = run(files, files=[wanted])["written"]
    assert first == run(files, files=[wanted])["written"] == {wanted["path"]: str((tmp_path / "f").stat().st_mtime_ns)}
    other = {**wanted, "content": "2"}
    assert run(files, check=True, files=[other])["written"] == {wanted["path"]: ""}
    assert run(files, files=[other])["written"] != first


def test_a_secret_is_shown_nowhere(run: Run, tmp_path: Path) -> None:
    secret = {"path": str(tmp_path / "s"), "content": "canary-one", **ME}
    run(files, secrets=[secret])
    result = run(files, secrets=[{**secret, "content": "canary-two"}])
    assert "canary" not in str(result)
    assert "(secret, changed)" in str(result["diff"])


@pytest.mark.parametrize("mode", ["0600", "0644"])
def test_a_changed_mode_is_mended(run: Run, tmp_path: Path, mode: str) -> None:
    wanted = [{"path": str(tmp_path / "f"), "content": "1", "mode": mode, **ME}]
    run(files, files=wanted)
    (tmp_path / "f").chmod(0o666)
    assert run(files, files=wanted)["changed"] is True
    assert (tmp_path / "f").stat().st_mode & 0o777 == int(mode, 8)


def test_no_window_in_which_a_secret_is_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    replace = Path.replace

    def watch(self: Path, target: Path) -> Path:
        seen.append(self.stat().st_mode & 0o777)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    files.write([files.Entry(tmp_path / "s", os.getuid(), os.getgid(), 0o600, b"x", True)])
    assert seen == [0o600]


def test_a_failed_file_leaves_none_of_them(tmp_path: Path) -> None:
    good = files.Entry(tmp_path / "good", os.getuid(), os.getgid(), 0o644, b"1")
    bad = files.Entry(tmp_path / "missing" / "bad", os.getuid(), os.getgid(), 0o644, b"1")
    with pytest.raises(FileNotFoundError):
        files.write([good, bad])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"path": "relative", "content": ""}, "is no absolute path"),
        ({"path": "/tmp/x", "content": "", "mode": "rw"}, "is no octal number such as 0644"),
        ({"path": "/tmp/x", "content": "", "owner": "nobody-of-this-name"}, "There is no owner"),
        ({"path": "/tmp", "content": ""}, "is there but no regular file"),
    ],
)
def test_what_cannot_be_written_is_refused(run: Run, entry: dict[str, str], sentence: str) -> None:
    result = run(files, files=[entry])
    assert result["failed"] is True
    assert sentence in result["msg"]
