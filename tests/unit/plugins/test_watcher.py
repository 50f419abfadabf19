"""The process that outlives a run, and does what is due then."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.plugin_utils import watcher

PATIENCE = 20  # seconds


class Fifo:
    """Lets another process say something, and waits for it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # With a writer of its own it is never at its end.
        self._end = os.open(path, os.O_RDWR)

    def say(self, word: str) -> None:
        with self.path.open("w", encoding="ascii") as fifo:
            fifo.write(word)

    def hear(self, last: str = "") -> str:
        """What is said next, up to a word if one is given."""
        said = ""
        while not said or not said.endswith(last):
            assert select.select([self._end], [], [], PATIENCE)[0], f"no more than {said!r} was said"
            said += os.read(self._end, 100).decode()
        return said


@pytest.fixture
def fifo(tmp_path: Path) -> Fifo:
    return Fifo(tmp_path / "fifo")


@pytest.fixture
def main() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is told to end."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture(params=[True, False], ids=["with pidfd", "without"])
def _pidfd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.delattr(os, "pidfd_open")


@pytest.mark.usefixtures("_pidfd")
def test_it_does_one_thing_while_a_process_lives_and_another_afterwards(
    main: subprocess.Popen[bytes], fifo: Fifo
) -> None:
    watcher.watch(watcher.token(main.pid), 1, lambda: fifo.say("beat"), lambda: fifo.say("end"))
    assert fifo.hear() == "beat"
    assert fifo.hear() == "beat"
    main.kill()
    main.wait()
    fifo.hear("end")


def test_it_notices_the_end_at_once_also_of_a_process_that_nobody_has_buried(
    main: subprocess.Popen[bytes], fifo: Fifo
) -> None:
    watcher.watch(watcher.token(main.pid), 600, lambda: None, lambda: fifo.say("end"))
    main.kill()
    assert fifo.hear() == "end"


def test_it_takes_another_process_with_the_same_number_for_the_end(fifo: Fifo) -> None:
    earlier = f"{watcher.place()} {os.getpid()} 1"
    watcher.watch(earlier, 600, lambda: None, lambda: fifo.say("end"))
    assert fifo.hear() == "end"


def test_nobody_waits_for_it(main: subprocess.Popen[bytes], fifo: Fifo) -> None:
    """Neither who reads its parent's pipes, nor the terminal of its parent's session."""
    reading, writing = os.pipe()

    def report() -> None:
        fifo.say(f"{os.getsid(0) != session} {Path('/proc/self/fd/1').readlink()}")

    session = os.getsid(0)
    watcher.watch(watcher.token(main.pid), 600, lambda: None, report)
    os.close(writing)
    assert select.select([reading], [], [], PATIENCE)[0]
    assert os.read(reading, 1) == b""
    main.kill()
    assert fifo.hear() == "True /dev/null"


def test_what_takes_too_long_is_ended_with_all_that_it_has_started(
    fifo: Fifo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "DEADLINE", 1)
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    reading = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    command = f"exec > '{alive}'; echo begun > '{fifo.path}'; sleep 600; true"
    watcher.in_time(lambda: subprocess.run(["/bin/sh", "-c", command], check=False))
    assert fifo.hear() == "begun\n"
    assert select.select([reading], [], [], PATIENCE)[0], "something still has it open"
    assert os.read(reading, 1) == b""


def test_what_fails_ends_nothing_but_itself(main: subprocess.Popen[bytes], fifo: Fifo) -> None:
    def fail() -> None:
        fifo.say("beat")
        raise RuntimeError

    watcher.watch(watcher.token(main.pid), 1, fail, lambda: fifo.say("end"))
    assert fifo.hear() == "beat"
    main.kill()
    main.wait()
    fifo.hear("end")


def test_processes_are_told_apart(main: subprocess.Popen[bytes]) -> None:
    token = watcher.token(main.pid)
    place, number, started = token.rsplit(" ", 2)
    assert number == str(main.pid)
    assert not watcher.ended(token)
    assert not watcher.ended(f"elsewhere {number} 1"), "a number says nothing of another machine"
    assert watcher.ended(f"{place} {number} {int(started) - 1}"), "the number has come again"
    for nothing in ("", "x", f"{place} 0x1 1", f"{place} {'9' * 30} 1"):
        assert not watcher.ended(nothing)
    main.kill()
    main.wait()
    assert watcher.ended(token)


def test_a_process_that_is_hidden_lives(main: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another user's, where /proc is mounted with hidepid."""

    def refuse(*_: Any) -> None:
        raise PermissionError

    token = watcher.token(main.pid)
    monkeypatch.setattr(os, "kill", refuse)
    assert not watcher.ended(token)
    monkeypatch.setattr(watcher, "started", lambda _: "")
    assert not watcher.ended(token)


def test_a_system_that_says_less_is_lived_with(main: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "read", lambda _: "")
    token = watcher.token(main.pid)
    assert token == f"{os.uname().nodename} {main.pid} "
    assert not watcher.ended(token)
    main.send_signal(signal.SIGKILL)
    main.wait()
    assert watcher.ended(token)
