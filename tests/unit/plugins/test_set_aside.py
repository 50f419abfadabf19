"""The module set_aside, with a `docker` that only knows names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.modules import set_aside

Run = Callable[..., dict[str, Any]]

# A container is a file with its id and its state; the command whose number is in `breaks` fails.
DOCKER = """#!/bin/sh
cd "$0.d"
echo . >> calls
if [ "$(wc -l < calls)" = "$(cat breaks 2>/dev/null)" ]; then echo "broken off" >&2; exit 1; fi
case $1 in
  ps) cd containers; for name in *; do [ -e "$name" ] && echo "$name $(cut -d ' ' -f 1 "$name")"; done; true ;;
  stop) sed -i s/runs/stopped/ "containers/$2" ;;
  rename) mv "containers/$2" "containers/$3" ;;
  rm) rm "containers/$3" ;;
esac
"""


class Host:
    """A directory with settings, containers, and a place to set them aside."""

    def __init__(self, root: Path, run: Run) -> None:
        self.root, self.run = root, run
        self.settings, self.docker = root / "etc", root / "bin" / "docker.d"
        self.settings.mkdir()
        (self.docker / "containers").mkdir(parents=True)
        (root / "bin" / "docker").write_text(DOCKER)
        (root / "bin" / "docker").chmod(0o755)
        self.write("secret", "old", 0o600)
        self.container("monailabel", "old runs")

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        (self.settings / name).write_text(text)
        (self.settings / name).chmod(mode)

    def container(self, name: str, state: str) -> None:
        (self.docker / "containers" / name).write_text(state)

    def containers(self) -> dict[str, str]:
        return {file.name: file.read_text() for file in (self.docker / "containers").iterdir()}

    def files(self) -> dict[str, tuple[str, int]]:
        return {file.name: (file.read_text(), file.stat().st_mode & 0o777) for file in self.settings.iterdir()}

    def breaks(self, call: int) -> None:
        (self.docker / "calls").unlink(missing_ok=True)
        (self.docker / "breaks").write_text(str(call))

    def go(self, state: str = "present", check: bool = False, **more: Any) -> dict[str, Any]:
        return self.run(
            set_aside,
            check=check,
            state=state,
            directory=str(self.root / "aside"),
            files=[f"{self.root}/et*", str(self.root / "missing")],
            containers=["monailabel", "endolab-hop"],
            **more,
        )

    def upgrade(self) -> None:
        """Others take their place, and write over what is there."""
        self.write("secret", "new")
        self.write("added", "new")
        self.container("monailabel", "new runs")


@pytest.fixture
def host(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    return Host(tmp_path, run)


def test_what_was_there_comes_back(host: Host) -> None:
    assert host.go(notes={"toolkit": "1"})["changed"]
    assert host.containers() == {"monailabel-set-aside": "old stopped"}
    host.upgrade()
    back = host.go("restored")
    assert (back["changed"], back["notes"]) == (True, {"toolkit": "1"})
    assert host.files() == {"secret": ("old", 0o600)}
    assert host.containers() == {"monailabel": "old stopped"}


def test_files_come_back_with_their_times(host: Host) -> None:
    before = (host.settings / "secret").stat().st_mtime_ns
    assert before % 10**9
    host.go()
    host.upgrade()
    host.go("restored")
    assert (host.settings / "secret").stat().st_mtime_ns == before


def test_nobody_but_root_reads_what_is_aside(host: Host) -> None:
    host.go()
    assert (host.root / "aside").stat().st_mode & 0o777 == 0o700


def test_it_stays_what_was_set_aside_first(host: Host) -> None:
    host.go(notes={"toolkit": "1"})
    host.upgrade()
    assert host.go(notes={"toolkit": "2", "archive": "a"})["notes"] == {"toolkit": "1", "archive": "a"}
    assert not host.go(notes={"archive": "b"})["changed"]
    host.go("restored")
    assert host.files() == {"secret": ("old", 0o600)}
    assert host.containers() == {"monailabel": "old stopped"}


@pytest.mark.parametrize("call", range(1, 5))
def test_a_setting_aside_that_was_broken_off_is_ended(host: Host, call: int) -> None:
    host.breaks(call)
    assert host.go()["failed"]
    host.breaks(0)
    assert host.go()["changed"]
    host.upgrade()
    host.go("restored")
    assert host.files() == {"secret": ("old", 0o600)}
    assert host.containers() == {"monailabel": "old stopped"}


@pytest.mark.parametrize("call", range(3, 7))
def test_what_a_broken_off_setting_aside_has_stopped_comes_back(host: Host, call: int) -> None:
    host.container("endolab-hop", "old runs")
    host.breaks(call)
    assert host.go(notes={"toolkit": "1"})["failed"]
    host.breaks(0)
    assert host.go("restored")["notes"] == {"toolkit": "1"}
    host.go("absent")
    assert {text.split()[0] for text in host.containers().values()} == {"old"}
    assert set(host.containers()) == {"monailabel", "endolab-hop"}


def test_who_only_notes_something_leaves_the_new_ones_alone(host: Host) -> None:
    """Also where somebody has tidied away what stood aside."""
    host.go()
    host.upgrade()
    (host.docker / "containers" / "monailabel-set-aside").unlink()
    assert host.go(notes={"archive": "a"})["changed"]
    assert host.containers() == {"monailabel": "new runs"}


def test_notes_that_are_damaged_are_named_and_can_be_given_up(host: Host) -> None:
    host.go()
    (host.root / "aside" / "notes.json").write_text("")
    for state in ("present", "restored"):
        assert host.go(state)["msg"].startswith(f"{host.root}/aside/notes.json is damaged")
    assert host.go("absent")["changed"]
    assert not (host.root / "aside").exists()


def test_what_went_back_and_was_broken_off_before_its_end_is_set_aside_again(host: Host) -> None:
    host.go()
    host.upgrade()
    host.go("restored")
    assert host.go()["changed"]
    host.upgrade()
    host.go("restored")
    assert host.containers() == {"monailabel": "old stopped"}


@pytest.mark.parametrize("call", range(1, 4))
def test_a_bringing_back_that_was_broken_off_is_ended(host: Host, call: int) -> None:
    host.go()
    host.upgrade()
    host.breaks(call)
    assert host.go("restored")["failed"]
    host.breaks(0)
    host.go("restored")
    assert host.files() == {"secret": ("old", 0o600)}
    assert host.containers() == {"monailabel": "old stopped"}


def test_what_has_proved_itself_stays(host: Host) -> None:
    host.go()
    host.upgrade()
    assert host.go("absent")["changed"]
    assert host.containers() == {"monailabel": "new runs"}
    assert host.files()["secret"][0] == "new"
    assert not (host.root / "aside").exists()
    assert not host.go("absent")["changed"]


def test_nothing_is_done_where_nothing_is_aside(host: Host) -> None:
    assert not host.go("restored")["changed"]
    assert host.containers() == {"monailabel": "old runs"}


def test_leftovers_of_a_run_that_nobody_ended_make_way(host: Host) -> None:
    host.container("monailabel-set-aside", "older stopped")
    host.go()
    assert host.containers() == {"monailabel-set-aside": "old stopped"}


def test_check_mode_changes_nothing(host: Host) -> None:
    assert host.go(check=True)["changed"]
    assert host.containers() == {"monailabel": "old runs"}
    assert not (host.root / "aside").exists()


def test_a_fault_names_the_command(host: Host) -> None:
    host.breaks(3)
    assert host.go()["msg"] == "`docker stop …` failed: broken off."
