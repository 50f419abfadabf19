"""A disk that fills: people are told in time, and what the loop writes is whole."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from endolab_loop import loop as loops
from endolab_loop import room
from endolab_loop.room import GIB

from tests.unit.app.worlds import World, full


class Usage(NamedTuple):
    total: int
    used: int
    free: int


Left = Callable[..., None]


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Left:
    """Says how many GiB are left on the disk of a directory, by its name."""

    def set_left(**gib: float) -> None:
        monkeypatch.setattr(
            "shutil.disk_usage", lambda path: Usage(100 * GIB, 0, int(gib.get(Path(path).name, 100) * GIB))
        )

    return set_left


def test_the_fuller_disk_counts(tmp_path: Path, left: Left) -> None:
    left(studies=9, app=7)
    found = room.least([tmp_path / "studies", tmp_path / "app"])
    assert (found.directory.name, found.free) == ("app", 7 * GIB)


def test_a_disk_that_is_gone_is_an_error_of_the_loop_and_the_others_are_shown(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.loop.written.append(tmp_path / "gone")
    world.turn()
    assert "gone" in world.loop.status["error"]["what"]
    assert [each.directory for each in room.left(world.loop.written)] == [tmp_path]


def test_people_are_told_while_there_is_time(tmp_path: Path, left: Left) -> None:
    world = World(tmp_path / "studies")
    left(studies=4.5)
    world.turns()
    assert world.loop.status["phase"] == "annotating"
    assert world.loop.status["warning"].startswith("4.5 GiB are left on the disk of ")
    left()
    world.turns()
    assert world.loop.status["warning"] is None


def test_nothing_is_begun_on_a_full_disk_and_it_goes_on_with_room(tmp_path: Path, left: Left) -> None:
    world = World(tmp_path / "studies")
    world.turns()
    (task,) = world.cvat.open()
    world.cvat.annotate(task)
    left(studies=0.9)
    for _ in range(9):
        world.turn()
    assert world.loop.status["error"]["what"].endswith("/studies is full")
    assert not world.lab.labels
    left()
    world.turns()
    assert world.loop.status["error"] is None
    assert world.lab.trained == [1]


def test_a_training_that_a_full_disk_ends_is_not_given_up(tmp_path: Path, left: Left) -> None:
    world = World(tmp_path / "studies")
    world.turns()
    (task,) = world.cvat.open()
    world.cvat.annotate(task)
    world.lab.failing = 9

    def train(iteration: int, before: Callable[[int], Any] = world.lab.train) -> Any:
        left(studies=0.5)
        return before(iteration)

    world.lab.train = train  # type: ignore[method-assign]
    for _ in range(9):
        left()
        world.turn()
    world.lab.failing = 0
    left()
    del world.lab.train
    world.turns()
    assert world.lab.trained == [1]


def test_a_status_that_cannot_be_written_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: Any, **__: Any) -> None:
        full()

    with monkeypatch.context() as patched:
        patched.setattr(loops, "write_json", write)
        for _ in range(3):
            world.turn()
        assert world.loop.status["error"]["what"].startswith("the disk is full")
        assert "make room" in world.loop.status["error"]["remedy"]
    world.turns()
    assert world.loop.status["phase"] == "annotating"
    assert world.loop.status["error"] is None


def test_other_errors_of_files_are_no_full_disk() -> None:
    assert room.is_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert not room.is_full(FileNotFoundError(errno.ENOENT, "none"))
    assert not room.is_full(ValueError("none"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
