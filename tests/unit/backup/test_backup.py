"""An archive is made of a host that is whole, or none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from endolab_backup import __main__ as program
from endolab_backup import backup, progress, restore, settings, trees
from endolab_backup.progress import Progress
from endolab_backup.repository import Repository
from endolab_backup.settings import Fault, Settings

from tests.unit.backup.conftest import once
from tests.unit.backup.test_trees import read, write

PROGRAM = Path(backup.__file__)


@pytest.fixture
def kept(host: Settings, home: Path) -> Settings:
    """There is an archive of the host."""

    def make() -> None:
        write(studies(host), {"a.png": "frame", "labels/final/a.png": "label"})
        Repository(host).make(known=False)
        made(host)

    once(home, "kept", make)
    return host


def studies(host: Settings) -> Path:
    return Path(host.trees[0]["directory"])


def made(host: Settings, emptied: bool = False) -> dict[str, Any]:
    return backup.backup(host, Progress(backup.LAST.with_name("progress.json")), emptied)


def test_an_archive_says_what_it_holds(kept: Settings) -> None:
    last = json.loads(backup.LAST.read_text(encoding="utf-8"))
    assert last["counts"] == {"images": 1, "label files": 1, "weights": 0}
    assert last["archive"] == Repository(kept).find("latest").short
    assert not (studies(kept) / trees.LINKED).exists()


def test_an_emptied_host_pushes_out_no_archive(kept: Settings) -> None:
    """Its disk is not mounted, or it came back empty."""
    shutil.rmtree(studies(kept))
    studies(kept).mkdir()
    for _ in range(2):
        with pytest.raises(Fault, match=r"gpu1 has nothing left of studies, images, label files.* run --emptied"):
            made(kept)
        shutil.rmtree(studies(kept), ignore_errors=True)
    assert len(Repository(kept).archives()) == 1
    studies(kept).mkdir()
    assert made(kept, emptied=True)["counts"]["images"] == 0
    made(kept)
    write(studies(kept), {"b.png": "frame"})
    made(kept)


def test_frames_alone_do_not_hide_that_the_labels_are_gone(kept: Settings) -> None:
    shutil.rmtree(studies(kept) / "labels")
    with pytest.raises(Fault, match="nothing left of label files"):
        made(kept)


def test_no_archive_is_made_of_half_a_restore(kept: Settings) -> None:
    backup.LAST.with_name("journal.json").write_text('{"phase": "out"}', encoding="utf-8")
    with pytest.raises(Fault, match="a restore was broken off here"):
        made(kept)
    assert len(Repository(kept).archives()) == 1


def test_it_is_looked_at_before_older_archives_are_removed(kept: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: Any) -> None:
        raise Fault("the repository is damaged")

    monkeypatch.setattr(Repository, "check", damaged)
    once = replace(kept, keep={"daily": 1, "weekly": 0, "monthly": 0})
    before = json.loads(backup.LAST.read_text(encoding="utf-8"))
    with pytest.raises(Fault, match="the repository is damaged"):
        made(once)
    assert len(Repository(kept).archives()) == 2
    now = json.loads(backup.LAST.read_text(encoding="utf-8"))
    assert now["archive"] == Repository(kept).archives()[-1].short != before["archive"], "the archive is made"


def test_what_changes_while_it_is_archived_is_archived_again(kept: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [["studies/a.png"], []]
    monkeypatch.setattr(trees, "changed", lambda *_: answers.pop(0))
    made(kept)
    assert len(Repository(kept).archives()) == 2
    assert len(json.loads(Repository(kept)._ask("snapshots", "--json"))) == 2


def test_an_archive_of_restics_comes_back(kept: Settings) -> None:
    shutil.rmtree(studies(kept))
    restore.restore(kept, "latest", False, lambda line: None)
    assert read(studies(kept)) == {"a.png": "frame", "labels/final/a.png": "label"}


def test_a_damaged_file_of_restics_can_be_done_without(kept: Settings) -> None:
    write(studies(kept), {f"labels/final/{number}.png": "label" for number in range(9)})
    made(kept)
    packs = set(Path(kept.repository, "data").rglob("*"))
    (studies(kept) / "b.png").write_bytes(os.urandom(100_000))
    made(kept)
    damaged = max(set(Path(kept.repository, "data").rglob("*")) - packs, key=lambda pack: pack.stat().st_size)
    damaged.chmod(0o600)
    with damaged.open("r+b") as pack:  # the manifest is in it, too
        pack.seek(damaged.stat().st_size // 2)
        pack.write(b"damaged")
    said: list[str] = []
    with pytest.raises(Fault):
        restore.restore(kept, "latest", True, said.append)
    assert (studies(kept) / "b.png").exists(), "nothing was changed"
    restore.restore(kept, "latest", True, said.append, damaged=True)
    assert "studies/b.png is damaged in the repository, and was left out" in said
    assert sorted(read(studies(kept))) == ["a.png", *(f"labels/final/{name}.png" for name in [*range(9), "a"])]


@pytest.fixture
def called(host: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program, with its state in a directory that is returned."""
    monkeypatch.setattr(Settings, "load", lambda: host)
    monkeypatch.setattr(program, "STATE", home / "state")
    monkeypatch.setattr(program, "Progress", lambda: Progress(home / "state/progress.json"))
    monkeypatch.setattr(sys, "argv", ["endolab-backup", "run"])
    return home / "state"


def test_a_night_without_an_archive_is_seen(
    called: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "active", lambda: False)
    with program.alone("restore"):
        assert program.main() == 1
    assert "a restore is under way here already" in capsys.readouterr().err
    assert "a restore is under way" in progress.state(called / "last.json", called / "progress.json")["fault"]


def test_a_second_run_leaves_the_first_ones_progress_alone(called: Path) -> None:
    with program.alone("run"):
        assert program.main() == 1
    assert not (called / "progress.json").exists()


def test_whoever_is_stopped_clears_up(called: Path, kept: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Repository, "backup", lambda *_: program.stopped())
    assert program.main() == 1
    assert not (studies(kept) / trees.LINKED).exists()
    assert json.loads((called / "progress.json").read_text(encoding="utf-8"))["fault"] == "it was stopped"


def test_what_a_killed_run_has_left_can_be_removed(
    called: Path, kept: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(studies(kept), {f"{trees.LINKED}/a.png": "frame", f"{trees.STAGED}/a.png": "frame"})
    monkeypatch.setattr(sys, "argv", ["endolab-backup", "clear"])
    assert program.main() == 0
    assert sorted(each.name for each in studies(kept).iterdir()) == ["a.png", "labels"]


def test_postgresql_is_waited_for_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endolab_backup.settings.time.sleep", lambda seconds: (tmp_path / "up").touch())
    settings.until_ready(["ls", str(tmp_path / "up")], "PostgreSQL", "cvat-db-1", 5)
    with pytest.raises(Fault, match=r"PostgreSQL does not answer: .*none.*See `docker logs cvat-db-1`"):
        settings.until_ready(["ls", str(tmp_path / "none")], "PostgreSQL", "cvat-db-1", 0)


def test_root_runs_no_module_of_the_directory_that_somebody_is_in(tmp_path: Path) -> None:
    """Not even where it has the name of one of Python's own, or of ours."""
    evil = "import sys; sys.exit('taken over')"
    write(tmp_path, {"own/endolab_backup/__main__.py": "import json; print('ours')"})
    write(tmp_path, {f"home/{name}.py": evil for name in ("json", "endolab_backup", "sitecustomize")})
    script = (PROGRAM.parents[1] / "endolab-backup").read_text(encoding="utf-8")
    done = subprocess.run(
        ["sh", "-c", script.replace("/usr/local/lib/endolab", str(tmp_path / "own"))],
        cwd=tmp_path / "home",
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "ours\n"), done.stderr
