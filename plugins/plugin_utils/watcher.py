"""A process on the controller that outlives another one, and does what is due then."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.endolab.active_learning.plugins.module_utils.text import read

NAMESPACE = Path("/proc/self/ns/pid")
DEADLINE = 30  # seconds for one thing that a watcher does

Action = Callable[[], object]


def place() -> str:
    """Where a process has its number: this start of this kernel, and a namespace; the machine's name without /proc."""
    kernel = read("/proc/sys/kernel/random/boot_id").strip()
    return f"{kernel}/{NAMESPACE.readlink()}" if kernel else platform.node()


def started(pid: int) -> str:
    """When a process has started, in the kernel's ticks; empty where that cannot be seen."""
    return "".join(read(Path("/proc", str(pid), "stat")).rpartition(") ")[2].split()[19:20])


def token(pid: int) -> str:
    """What no other process has, although numbers come again."""
    return f"{place()} {pid} {started(pid)}"


def ended(process: str) -> bool:
    """Whether the process with this token is no more; false where that cannot be seen from here."""
    parts = re.fullmatch(r"(.+) (\d{1,9}) (\d*)", process)
    if not parts or parts[1] != place():
        return False
    try:
        os.kill(int(parts[2]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is another user's
    return started(int(parts[2])) not in ("", parts[3])


def watch(process: str, every: int, meanwhile: Action, afterwards: Action) -> None:
    """Leaves a process that does one thing every so many seconds, and another when the one with a token has ended."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    # Whatever happens, no copy of the caller goes on.
    try:
        os.setsid()
        if not os.fork():
            end = descriptor(process)
            let_go(end)
            while not ended_within(process, end, every):
                in_time(meanwhile)
            in_time(afterwards)
    finally:
        os._exit(0)


def descriptor(process: str) -> int | None:
    """What shows the process's end to those who wait; None where the system has no such thing, or the end has come."""
    try:
        return os.pidfd_open(int(process.split(" ")[1]))
    except (AttributeError, OSError):
        return None


def let_go(keep: int | None) -> None:
    """Gives up the caller's signals, and its pipes, so that nobody waits for their end; their numbers stay taken."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(each, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for number in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        if number not in (keep, null):
            os.dup2(null, number)


def ended_within(process: str, end: int | None, seconds: int) -> bool:
    """Waits until the process has ended, so many seconds at most."""
    if end is not None and not ended(process):
        poll = select.poll()
        poll.register(end, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    for _ in range(seconds):
        if ended(process):
            return True
        time.sleep(1)
    return False


def in_time(action: Action) -> None:
    """Does it in a group of processes that is gone afterwards, and after the deadline in any case."""
    if child := os.fork():
        os.waitpid(child, 0)
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGKILL)
        return
    try:
        os.setpgid(0, 0)
        signal.alarm(DEADLINE)
        action()
    finally:
        os._exit(0)
