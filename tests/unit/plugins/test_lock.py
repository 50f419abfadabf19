"""The module lock and its action: who may have a host, and what the shell on the host does for a run."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.endolab.active_learning.plugins.action.lock import ActionModule
from ansible_collections.endolab.active_learning.plugins.module_utils import lock_file
from ansible_collections.endolab.active_learning.plugins.module_utils.lock_file import (
    alone,
    beat_command,
    read_lock,
    release_command,
    write_lock,
)
from ansible_collections.endolab.active_learning.plugins.modules import host_facts, lock
from ansible_collections.endolab.active_learning.plugins.plugin_utils import watcher

Run = Callable[..., dict[str, Any]]

ANN = {"owner": "ann", "machine": "desk", "playbook": "site.yml", "token": "kernel/ns 12 345"}
BEN = {"owner": "ben", "machine": "lap", "playbook": "rotate.yml", "token": "kernel/ns 12 34"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a lab's" / "lock.json"


@pytest.fixture
def hosts_uptime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Says for how long the host has been up."""
    monkeypatch.setattr(lock_file, "UPTIME", str(tmp_path / "uptime"))

    def say(seconds: float) -> None:
        (tmp_path / "uptime").write_text(f"{seconds:.2f} 1.00\n", encoding="ascii")

    return say


def test_a_free_host_is_taken(run: Run, path: Path) -> None:
    before = os.umask(0o077)
    result = run(lock, path=str(path), run=ANN)
    os.umask(before)
    assert (result["taken"], result["lock"], result["changed"]) == (True, None, False)
    assert ANN.items() <= json.loads(path.read_text(encoding="utf-8")).items()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert list(path.parent.iterdir()) == [path]


def test_a_run_takes_its_own_again(run: Run, path: Path, hosts_uptime: Callable[[float], None]) -> None:
    hosts_uptime(1000)
    run(lock, path=str(path), run=ANN)
    earlier = {**json.loads(path.read_text(encoding="utf-8")), "since": "2026-11-25T12:00:00+00:00"}
    path.write_text(json.dumps(earlier), encoding="utf-8")
    hosts_uptime(1100)
    result = run(lock, path=str(path), run=ANN)
    assert (result["taken"], result["lock"]["silent"]) == (True, 100)
    assert json.loads(path.read_text(encoding="utf-8")) == {**earlier, "beat": 1100}


def test_a_run_that_lives_keeps_its_host_from_others(run: Run, path: Path) -> None:
    run(lock, path=str(path), run=ANN)
    before = path.read_bytes()
    for dead in ("", BEN["token"], "kernel/ns 99 1"):
        result = run(lock, path=str(path), run=BEN, dead=dead)
        assert result["taken"] is False
        assert ANN.items() <= result["lock"].items()
        assert path.read_bytes() == before


@pytest.mark.parametrize("options", [{"dead": ANN["token"]}, {"force": True}], ids=str)
def test_a_lock_is_taken_from_who_is_said_to_be_dead(run: Run, path: Path, options: dict[str, Any]) -> None:
    run(lock, path=str(path), run=ANN)
    result = run(lock, path=str(path), run=BEN, **options)
    assert result["taken"] is True
    assert result["lock"]["owner"] == "ann"
    assert json.loads(path.read_text(encoding="utf-8"))["owner"] == "ben"


@pytest.mark.parametrize(
    ("uptime", "taken"), [(1000, False), (1300, False), (1300.01, True), (99000, True), (999.99, True)], ids=str
)
def test_a_run_without_a_sign_of_life_is_dead(
    run: Run, path: Path, hosts_uptime: Callable[[float], None], uptime: float, taken: bool
) -> None:
    """A sign of life from after now is one from before the host has restarted."""
    hosts_uptime(1000)
    run(lock, path=str(path), run=ANN)
    hosts_uptime(uptime)
    assert (host_facts.lock(path) is None) is taken
    assert run(lock, path=str(path), run=BEN)["taken"] is taken


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00+00:00", "2199-01-01T00:00:00+00:00"])
def test_a_clock_that_is_set_breaks_no_lock(run: Run, path: Path, since: str) -> None:
    run(lock, path=str(path), run=ANN)
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "since": since}), encoding="utf-8")
    os.utime(path, (0, 0))
    result = run(lock, path=str(path), run=BEN)
    assert (result["taken"], result["lock"]["since"]) == (False, since)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", json.dumps({**ANN, "since": "", "beat": "soon"}), "\x00\xff"]
)
def test_what_is_no_lock_keeps_nobody_out(run: Run, path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    result = run(lock, path=str(path), run=ANN)
    assert (result["taken"], result["lock"]) == (True, None)
    assert ANN.items() <= json.loads(path.read_text(encoding="utf-8")).items()


def test_check_mode_takes_nothing(run: Run, path: Path) -> None:
    assert run(lock, check=True, path=str(path), run=ANN)["taken"] is True
    assert not path.parent.exists()
    run(lock, path=str(path), run=ANN)
    before = path.read_bytes()
    assert run(lock, check=True, path=str(path), run=BEN)["taken"] is False
    assert run(lock, check=True, path=str(path), run=ANN)["taken"] is True
    assert path.read_bytes() == before


def test_who_waits_has_it_when_it_is_free(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(lock, path=str(path), run=ANN)
    pauses = iter([lambda: None, path.unlink])
    monkeypatch.setattr("time.sleep", lambda _: next(pauses)())
    assert run(lock, path=str(path), run=BEN, wait=60)["taken"] is True
    assert json.loads(path.read_text(encoding="utf-8"))["owner"] == "ben"


def test_a_lock_that_cannot_be_written_is_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(lock, path=str(tmp_path / "file/lock.json"), run=ANN)
    assert result["failed"] is True
    assert "lock.json cannot be taken" in result["msg"]


def test_of_two_at_the_same_time_one_has_it(path: Path) -> None:
    path.parent.mkdir()
    outcomes = []
    ben = threading.Thread(target=lambda: outcomes.append(lock.take(path, BEN, "", False, False)))
    with alone(path.parent):
        ben.start()
        ben.join(0.3)  # it would end if it did not wait
        write_lock(path, {**ANN, "since": ""})
    ben.join()
    assert [taken for taken, _ in outcomes] == [False]


def shell(command: str) -> int:
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
    return done.returncode


def test_the_shell_shows_that_the_run_lives(path: Path) -> None:
    path.parent.mkdir()
    write_lock(path, {**ANN, "since": "now"})
    silent = {**json.loads(path.read_text(encoding="utf-8")), "beat": 0.25}
    path.write_text(json.dumps(silent), encoding="utf-8")
    assert shell(beat_command(path, BEN["token"])) != 0
    assert json.loads(path.read_text(encoding="utf-8")) == silent
    assert shell(beat_command(path, ANN["token"])) == 0
    found = read_lock(path)
    assert found is not None
    assert 0 <= found["silent"] < 60
    assert {**ANN, "since": "now"}.items() <= found.items()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_shell_gives_back_what_is_the_runs_own(path: Path) -> None:
    path.parent.mkdir()
    write_lock(path, {**ANN, "since": "now"})
    assert shell(release_command(path, BEN["token"])) != 0
    assert path.exists()
    assert shell(release_command(path, ANN["token"])) == 0
    assert not path.exists()
    for command in (release_command, beat_command):
        assert shell(command(path, ANN["token"])) != 0


@pytest.mark.parametrize("command", [release_command, beat_command])
def test_the_shell_waits_for_who_takes_it(path: Path, command: Callable[[Path, str], str]) -> None:
    path.parent.mkdir()
    write_lock(path, {**ANN, "since": "now"})
    with alone(path.parent):
        ann = subprocess.Popen(["/bin/sh", "-c", command(path, ANN["token"])])
        with pytest.raises(subprocess.TimeoutExpired):
            ann.wait(0.3)
        write_lock(path, {**BEN, "since": "now"})
        ben = path.read_bytes()
    assert ann.wait() != 0
    assert path.read_bytes() == ben


class Action(ActionModule):  # type: ignore[misc]
    """The action, with what the module answers in turn."""

    def __init__(self, *answers: dict[str, Any], check_mode: bool = False, **options: Any) -> None:
        self._answers = iter(answers)
        self._task = SimpleNamespace(check_mode=check_mode, args=options)
        self._display = SimpleNamespace(display=self._say, warning=self._say, _final_q="the run's queue")
        self.asked: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.told: list[str] = []

    def _say(self, words: str) -> None:
        self.said.append(words)

    def _execute_module(self, module_args: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.asked.append(module_args)
        return next(self._answers)

    def _low_level_execute_command(self, command: str) -> None:
        assert self._display._final_q is None, "who is killed while it holds the queue stops the run"
        self.told.append(command)

    def asked_for(self, name: str) -> list[Any]:
        return [each[name] for each in self.asked]


TAKEN: dict[str, Any] = {"taken": True, "lock": None}
LOCK = {**ANN, "since": "noon", "silent": 7.2}
HELD = {"taken": False, "lock": LOCK}
HOST = {"inventory_hostname": "gpu1"}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Has ansible-playbook run rotate.yml here, and shows what is to be watched."""
    watches: list[Any] = []
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr("ansible.context.CLIARGS", {"args": ["/lab/playbooks/rotate.yml"]})
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=os.getpid()))
    monkeypatch.setattr(
        "ansible_collections.endolab.active_learning.plugins.action.lock.watch", lambda *a: watches.extend(a)
    )
    return watches


def test_a_free_host_is_one_execution_of_a_module(watched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ben")
    action = Action(TAKEN, wait=600)
    assert action.run(None, HOST) == TAKEN
    run = {
        "owner": "ben",
        "machine": os.uname().nodename,
        "playbook": "rotate.yml",
        "token": watcher.token(os.getpid()),
    }
    assert action.asked == [{"path": lock_file.LOCK, "force": False, "run": run, "wait": 0, "dead": ""}]
    assert action.said == []

    token, every, meanwhile, afterwards = watched
    assert (token, every) == (run["token"], lock_file.BEAT)
    meanwhile()
    afterwards()
    path = Path(lock_file.LOCK)
    assert action.told == [beat_command(path, token), release_command(path, token)]


@pytest.mark.parametrize("arguments", [{"wait": -1}, {"force": "perhaps"}], ids=str)
def test_what_cannot_be_meant_asks_no_host(watched: list[Any], arguments: dict[str, Any]) -> None:
    action = Action(TAKEN, **arguments)
    assert action.run(None, HOST)["failed"]
    assert (action.asked, watched) == ([], [])


@pytest.mark.parametrize(
    ("answer", "check_mode"),
    [
        (TAKEN, True),
        (HELD, True),
        (HELD, False),
        ({**TAKEN, "lock": {**LOCK, "token": watcher.token(os.getpid())}}, False),
    ],
    ids=["free in check mode", "held in check mode", "held", "its own"],
)
def test_what_it_has_not_taken_now_is_not_given_back(
    watched: list[Any], answer: dict[str, Any], check_mode: bool
) -> None:
    action = Action(answer, check_mode=check_mode, wait=0)
    action.run(None, HOST)
    assert len(action.asked) == 1
    assert watched == []


@pytest.mark.parametrize(
    ("lock", "why"),
    [
        ({"silent": 301}, "whose run has shown no sign of life for 300 s"),
        ({"silent": -5}, "whose run has shown no sign of life for 300 s"),
        ({"token": f"{watcher.place()} {os.getpid()} 1"}, "whose run has ended without giving it back"),
        ({}, "from whom endolab_lock_break takes it"),
    ],
)
def test_it_says_whose_lock_it_takes(watched: list[Any], lock: dict[str, Any], why: str) -> None:
    action = Action({"taken": True, "lock": {**LOCK, **lock}})
    action.run(None, HOST)
    assert action.said == [f"The lock of gpu1 was that of ann@desk (site.yml, since noon), {why}."]
    assert watched


@pytest.mark.usefixtures("watched")
def test_whose_process_is_gone_is_dead_at_once() -> None:
    gone = f"{watcher.place()} {os.getpid()} 1"
    action = Action({"taken": False, "lock": {**LOCK, "token": gone}}, TAKEN, wait=600)
    assert action.run(None, HOST) == TAKEN
    assert action.asked_for("dead") == ["", gone]
    assert action.asked_for("wait") == [0, 0]


@pytest.mark.usefixtures("watched")
def test_who_waits_is_told_for_whom_until_it_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0, 0.2, 10.4, 20.6, 25.1])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    action = Action(HELD, HELD, HELD, HELD, wait="25")
    result = action.run(None, HOST)
    assert action.asked_for("wait") == [0, 10, 10, 5]
    who = "ann@desk is changing gpu1 with site.yml, since noon."
    assert action.said == [f"{who} Waiting for its end, {left} s at most." for left in (25, 15, 5)]
    assert result["failed"] is True
    assert result["msg"].startswith(f"{who} Wait for that run with -e endolab_lock_wait=600, or end it.")
    assert "Its last sign of life is 7 s old; 300 s without one" in result["msg"]


@pytest.mark.usefixtures("watched")
def test_a_run_that_is_killed_while_it_waits_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        multiprocessing, "parent_process", lambda: SimpleNamespace(pid=2**22 + 1)
    )  # no number is as high
    assert Action(HELD, wait=600).run(None, HOST)["failed"] is True
