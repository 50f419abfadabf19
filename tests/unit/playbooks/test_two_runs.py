"""Two runs of ansible-playbook do not change the same host at once, and none leaves a lock or a process behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.endolab.active_learning.plugins.action.lock import unclear
from ansible_collections.endolab.active_learning.plugins.module_utils.lock_file import alone, write_lock
from ansible_collections.endolab.active_learning.plugins.plugin_utils import watcher

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60  # seconds

# Takes the locks, also again, as rotate.yml does, and is at work on all hosts until the test says a line for each.
PLAYBOOK = """
- hosts: all
  gather_facts: false
  serial: "{{ batch | default('100%') }}"
  tasks: &take
    - name: Nobody else changes the host
      endolab.active_learning.lock:
        path: "{{ path }}.{{ inventory_hostname }}"
        wait: "{{ wait | default(0) }}"
        force: "{{ force | default(false) }}"
      throttle: 1
- hosts: "{{ 'all' if again | default(false) else 'all:!all' }}"
  gather_facts: false
  tasks: *take
- hosts: "{{ 'all' if work | default(false) else 'all:!all' }}"
  gather_facts: false
  tasks:
    - name: It is at work
      ansible.builtin.command: "sh -c 'touch {{ fifo }}.begun; read line < {{ fifo }}; exit $line'"
"""


class Run:
    """A run of ansible-playbook by somebody, with what tells its work to end."""

    def __init__(self, directory: Path, owner: str, *arguments: str, hosts: str = "gpu1", **variables: Any) -> None:
        self._name = f"ENDOLAB_TEST={uuid.uuid4()}"
        name, _, value = self._name.partition("=")
        fifo = directory / value
        self.begun = directory / f"{value}.begun"
        os.mkfifo(fifo)
        # With a reader of its own nobody waits to write.
        self._line = os.open(fifo, os.O_RDWR)
        # As a shell has that runs it below `exec 9>`, or below flock.
        self.pipe, pipe = os.pipe()
        given = json.dumps({"path": str(directory / "run/lock"), "fifo": str(fifo), **variables})
        self.process = subprocess.Popen(
            ["ansible-playbook", "-i", f"{hosts},", "-c", "local", directory / "site.yml", "-e", given, *arguments],
            cwd=ROOT,
            env={**os.environ, name: value, "SUDO_USER": owner, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[pipe],
        )
        os.close(pipe)
        self.said = ""

    def go_on(self, status: int = 0) -> None:
        """Lets the work on one host end."""
        os.write(self._line, f"{status}\n".encode())

    def until(self, words: str) -> None:
        """Waits until it says so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return
        raise AssertionError(self.said)

    def end(self) -> str:
        """What it has said up to its end."""
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.said = re.sub(r"\s+", " ", self.said + rest)
        return self.said

    def processes(self) -> dict[int, int]:
        """Its processes, by the name that it has given them, and the parent of each."""
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if self._name in (directory / "environ").read_text(errors="replace").split("\0"):
                    found[int(directory.name)] = int(
                        re.findall(r"(?m)^PPid:\s(\d+)", (directory / "status").read_text())[0]
                    )
            except (OSError, IndexError):
                continue  # it has ended meanwhile
        return found

    def watchers(self) -> list[int]:
        """Those that belong to nobody."""
        processes = self.processes()
        return [pid for pid, parent in processes.items() if parent not in processes and pid != self.process.pid]

    def wait_for_the_last(self) -> None:
        """Waits until none of its processes is left."""
        self.process.wait(PATIENCE)
        while found := self.processes():
            for pid in found:
                try:
                    end = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
                assert select.select([end], [], [], PATIENCE)[0], f"process {pid} stays"
                os.close(end)

    def close(self) -> None:
        """Leaves nothing of it, whatever the test has come to."""
        with self.process:
            self.process.kill()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.close(self._line)
        os.close(self.pipe)


class Lab:
    """A host, which is this machine, and those who come to change it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "site.yml").write_text(PLAYBOOK, encoding="utf-8")
        self.lock = directory / "run/lock.gpu1"
        self.runs: list[Run] = []

    def run(self, owner: str, *arguments: str, **variables: Any) -> Run:
        self.runs.append(Run(self._directory, owner, *arguments, **variables))
        return self.runs[-1]

    def at_work(self, owner: str, **variables: Any) -> Run:
        """A run that has the lock and works until it may go on."""
        run = self.run(owner, work=True, **variables)
        run.until("TASK [It is at work]")
        # Python forgets an interruption that comes while it forks.
        end = time.monotonic() + PATIENCE
        while not run.begun.exists():
            assert time.monotonic() < end, "its work has not begun"
            time.sleep(0.05)
        return run

    def holder(self) -> str | None:
        return str(json.loads(self.lock.read_text(encoding="utf-8"))["owner"]) if self.lock.exists() else None


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    for run in lab.runs:
        run.close()


def test_the_second_is_told_who_is_there_or_waits(lab: Lab) -> None:
    ann = lab.at_work("ann")
    assert lab.holder() == "ann"
    before = lab.lock.read_bytes()

    ben = lab.run("ben")
    said = ben.end()
    assert ben.process.returncode != 0
    assert re.search(r"ann@\S+ is changing gpu1 with site.yml, since \d{4}-\d\d-\d\dT", said), said
    assert "-e endolab_lock_wait=600" in said
    assert "-e endolab_lock_break=true" in said

    cid = lab.run("cid", "--check")
    assert "[WARNING]: ann@" in cid.end()
    assert cid.process.returncode == 0

    for run in (ben, cid):
        run.wait_for_the_last()
    assert lab.lock.read_bytes() == before

    dan = lab.run("dan", wait=PATIENCE)
    dan.until("Waiting for its end")
    ann.go_on()
    ann.end()
    assert ann.process.returncode == 0
    assert "ann@" in dan.end()
    assert dan.process.returncode == 0
    assert "WARNING" not in dan.said
    for run in (ann, dan):
        run.wait_for_the_last()
    assert lab.holder() is None


def test_check_mode_takes_nothing(lab: Lab) -> None:
    run = lab.run("ann", "--check")
    assert "WARNING" not in run.end()
    assert run.process.returncode == 0
    assert run.processes() == {}
    assert not lab.lock.parent.exists()


def fail(run: Run) -> None:
    run.go_on(status=1)


def send(number: signal.Signals) -> Callable[[Run], None]:
    return lambda run: run.process.send_signal(number)


@pytest.mark.parametrize(
    "end",
    [fail, send(signal.SIGINT), send(signal.SIGKILL)],
    ids=["fails", "interrupted", "killed"],
)
def test_a_run_that_is_broken_off_gives_the_lock_back(lab: Lab, end: Callable[[Run], None]) -> None:
    ann = lab.at_work("ann")
    (watching,) = ann.watchers()
    gone = os.pidfd_open(watching)
    end(ann)
    ann.process.wait(PATIENCE)
    assert ann.process.returncode != 0
    assert select.select([gone], [], [], 10)[0], "it takes longer than 10 s"
    os.close(gone)
    assert lab.holder() is None
    ann.go_on()  # what the killed run has left waits for it
    ann.wait_for_the_last()


def test_the_lock_of_a_dead_run_is_taken_and_it_is_said_whose_it_was(lab: Lab) -> None:
    dead = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    token = watcher.token(dead.pid)
    dead.kill()
    dead.communicate()
    lab.lock.parent.mkdir()
    write_lock(lab.lock, {"owner": "ann", "machine": "desk", "playbook": "site.yml", "since": "noon", "token": token})
    ben = lab.run("ben")
    assert "was that of ann@desk (site.yml, since noon), whose run has ended without giving it back." in ben.end()
    assert ben.process.returncode == 0
    ben.wait_for_the_last()
    assert lab.holder() is None


def test_who_loses_the_lock_does_not_give_back_that_of_another(lab: Lab) -> None:
    ann = lab.at_work("ann")
    ben = lab.at_work("ben", force=True)
    assert re.search(r"was that of ann@\S+ \(site.yml, since \S+\), from whom endolab_lock_break takes it", ben.said)
    ann.go_on()
    ann.end()
    ann.wait_for_the_last()
    assert lab.holder() == "ben"
    ben.go_on()
    ben.end()
    ben.wait_for_the_last()
    assert lab.holder() is None


def test_each_host_has_one_watcher_and_nobody_who_reads_waits_for_it(lab: Lab) -> None:
    run = lab.at_work("ann", hosts="gpu1,gpu2", batch=1, again=True)
    locks = [lab.lock.parent / f"lock.{host}" for host in ("gpu1", "gpu2")]
    assert sorted(lab.lock.parent.iterdir()) == locks
    assert len(run.watchers()) == 2
    with alone(lab.lock.parent):
        run.go_on()
        run.go_on()
        run.end()
        assert run.process.returncode == 0, run.said
        assert select.select([run.pipe], [], [], PATIENCE)[0]
        assert os.read(run.pipe, 1) == b""
        assert sorted(lab.lock.parent.iterdir()) == locks
    run.wait_for_the_last()
    assert list(lab.lock.parent.iterdir()) == []


CHANGE_NO_HOST = {"audit", "bundle", "hosts", "init", "lock", "status", "verify"}
# An archive is made by the host's own unit, which its timer starts as well, and which knows of no lock.
WITHOUT = CHANGE_NO_HOST | {"backup"}
# What they do on this machine, before they do anything on a host.
ON_THE_CONTROLLER = {"tasks/inventory.yml", "ansible.builtin.assert"}


def first_on_a_host(playbook: Path) -> str | None:
    """The first thing that a playbook does on a host."""
    for play in yaml.safe_load(playbook.read_text(encoding="utf-8")):
        if imported := play.get("ansible.builtin.import_playbook"):
            if imported != "hosts.yml":
                return first_on_a_host(playbook.parent / imported)
            continue
        for task in play["tasks"][0].get("block", play["tasks"]):
            does = [task.get("ansible.builtin.import_tasks"), *task]
            if not ON_THE_CONTROLLER.intersection(does):
                return str(does[0])
    return None


@pytest.mark.parametrize("playbook", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_who_changes_a_host_takes_its_lock_first(playbook: Path) -> None:
    takes = first_on_a_host(playbook) == "tasks/lock.yml"
    assert takes is (playbook.stem not in WITHOUT)


@pytest.mark.parametrize("wait", [0, "600"])
@pytest.mark.parametrize("force", [False, "true", "Yes"])
def test_what_is_clear_is_taken(wait: Any, force: Any) -> None:
    assert unclear(wait, force) == []


@pytest.mark.parametrize("wait", [-1, "soon", True, "1.5", [1], None], ids=str)
def test_no_time_to_wait_is_refused(wait: Any) -> None:
    (said,) = unclear(wait, False)
    assert said.startswith(f'endolab_lock_wait is "{wait}". Write')


@pytest.mark.parametrize("force", ["perhaps", ["true"], None], ids=str)
def test_neither_yes_nor_no_is_refused(force: Any) -> None:
    (said,) = unclear(0, force)
    assert said.startswith(f'endolab_lock_break is "{force}". Write')


def test_it_is_refused_before_a_host_is_touched(tmp_path: Path) -> None:
    hosts = {"hosts": {"gpu1": {"ansible_connection": "local"}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(dict.fromkeys(["cvat", "edge", "monailabel"], hosts)))
    wrong = json.dumps({"endolab_lock_wait": -1, "endolab_lock_break": "perhaps"})
    done = subprocess.run(
        ["ansible-playbook", "playbooks/teardown.yml", "--check", "-i", tmp_path / "hosts.yml", "-e", wrong],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    said = re.sub(r"\s+", " ", done.stdout)
    assert 'endolab_lock_wait is "-1". Write for how many seconds to wait' in said
    assert 'endolab_lock_break is "perhaps". Write true to take the hosts' in said
    assert "TASK [What the host is, is read]" not in said
