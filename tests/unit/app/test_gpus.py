"""The GPUs that the container sees."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from endolab_loop import gpus
from endolab_loop.gpus import MIB, Fresh, Gpu


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_what_the_driver_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["0, NVIDIA A100, 10 MiB, 40960 MiB", "WARNING: infoROM is corrupted", "1, NVIDIA A100, [N/A], [N/A]"]
    driver(tmp_path, monkeypatch, "\n".join(f"echo '{line}'" for line in lines))
    assert gpus.read() == [Gpu("0", "NVIDIA A100", 10 * MIB, 40960 * MIB), Gpu("1", "NVIDIA A100", None, None)]


def test_a_driver_that_fails_shows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, "echo 'Failed to initialize NVML: Unknown Error'; exit 255")
    assert gpus.read() == []
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert gpus.read() == []


def test_a_driver_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "TIMEOUT", 0.2)
    driver(tmp_path, monkeypatch, "exec sleep 60")
    assert gpus.read() == []


def test_the_gpus_that_were_given_are_counted(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus.given(tmp_path) == 2


def test_the_driver_is_not_asked_at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    fresh = Fresh(lambda: asked.append(clock[0]) or [])  # type: ignore[func-returns-value]
    for clock[0] in (1.0, 2.0, 20.0):
        fresh()
    assert asked == [1.0, 20.0]


class Driver:
    """Shows one GPU, but says nothing while it hangs."""

    def __init__(self) -> None:
        self.asked, self.answers = 0, threading.Event()

    def __call__(self) -> list[Gpu]:
        self.asked += 1
        assert self.answers.wait(60)
        return [Gpu("0", "A100", 1, 2)]


@pytest.fixture
def hanging() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.answers.set()


def test_a_driver_that_hangs_for_good_shows_none_and_is_not_asked_again(
    hanging: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "FRESH", 0)
    monkeypatch.setattr(gpus, "TIMEOUT", 0.2)
    fresh = Fresh(hanging)
    hanging.answers.set()
    assert fresh()
    hanging.answers.clear()
    assert [fresh() for _ in range(8)] == [[]] * 8
    assert hanging.asked == 2


def test_who_looks_while_the_driver_is_asked_has_its_last_answer(
    hanging: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "FRESH", 0)
    fresh = Fresh(hanging)
    hanging.answers.set()
    last = fresh()
    hanging.answers.clear()
    monkeypatch.setattr(gpus, "TIMEOUT", 60)
    looking = threading.Thread(target=fresh)
    looking.start()
    while hanging.asked < 2:
        assert looking.is_alive()
    assert fresh() == last
    hanging.answers.set()
    looking.join()
