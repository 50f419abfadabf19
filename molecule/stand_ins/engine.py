"""Sees to it that a Docker engine answers on this machine, and that images can be built; says what it had to do.

Usage: python molecule/stand_ins/engine.py          starts one where none answers
       python molecule/stand_ins/engine.py --stop   stops the one that this has started, once nothing runs in it
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
from catalogue import CHECKOUT, STAND_INS
from docker.errors import DockerException

# What has to be on PATH, and the Debian package that brings it.
TOOLS = {
    "dockerd": "docker.io",
    "docker": "docker-cli",
    "chromium": "chromium",
    "mmdebstrap": "mmdebstrap",
    "restic": "restic",
    "ssh": "openssh-client",
}
SYSTEMD = Path("/run/systemd/system")
PLAYBOOK = STAND_INS / "engine.yml"
PID_FILES = {
    "dockerd": (Path("/var/run/docker.pid"),),
    "containerd": (Path("/run/docker/containerd/containerd.pid"), Path("/run/docker/containerd/docker-containerd.pid")),
}
LOG = Path("/var/log/dockerd.log")
STARTED = Path("/run/endolab-dockerd.pid")
"""Where the process that this has started is remembered."""
START_TIMEOUT = 90.0
"""Seconds that an engine may take until it answers; one with many old containers is slow."""
STOP_TIMEOUT = 60.0
"""Seconds that it may take to end."""


class EngineError(Exception):
    """There is no engine; the text says what to do."""


def refusal() -> str | None:
    """Why no engine answers, or None where one does."""
    try:
        docker.from_env(timeout=10).ping()
    except DockerException as error:
        return str(error)
    return None


def lacking(answers: bool) -> list[str]:
    """The Debian packages to install; an engine that answers may be somebody else's and is left as it is."""
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in TOOLS if shutil.which(name, path=search) is None]
    if answers and "dockerd" in missing:
        missing.remove("dockerd")
    if "dockerd" in missing and "docker" in missing:
        missing.remove("docker")  # Debian 12's docker.io brings the client, too
    return [TOOLS[name] for name in missing]


def install(packages: list[str]) -> None:
    """Installs Debian packages; Docker by the project's own role where there is systemd, which that needs.

    Raises EngineError where that cannot be done here.
    """
    if shutil.which("apt-get") is None:
        raise EngineError(f"This is no Debian machine: install {' and '.join(packages)} yourself, then run this again.")
    if os.geteuid() != 0:
        raise EngineError(f"Run this as root, or install it: apt-get install {' '.join(packages)}")
    if TOOLS["dockerd"] in packages and SYSTEMD.exists():
        packages = [name for name in packages if name != TOOLS["dockerd"]]
        if subprocess.run(["ansible-playbook", str(PLAYBOOK)], cwd=CHECKOUT, check=False).returncode:
            raise EngineError(f"{PLAYBOOK.name} could not install Docker; what it said stands above.")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "-q", *command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode != 0:
            raise EngineError(f"apt-get {' '.join(command)} failed:\n{done.stdout[-2000:]}")


def remove_stale_pid_files(proc: Path = Path("/proc")) -> None:
    """Removes pid files whose process is gone or has become another program: an engine would not start beside them."""
    for program, paths in PID_FILES.items():
        for path in paths:
            if not path.exists():
                continue
            name = proc / path.read_text().strip() / "comm"
            if not name.exists() or name.read_text().strip() != program:
                path.unlink()


def start() -> None:
    """Starts the engine and waits until it answers. Raises EngineError where it does not."""
    if os.geteuid() != 0:
        raise EngineError(
            f"No Docker engine answers ({refusal()}). Start it, or let this user speak to it (group docker)."
        )
    if SYSTEMD.exists():
        subprocess.run(["systemctl", "start", "docker.service"], check=False)
        process = None
    else:
        remove_stale_pid_files()
        with LOG.open("ab") as log:
            process = subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        STARTED.write_text(str(process.pid))
    deadline = time.monotonic() + START_TIMEOUT
    while (why := refusal()) is not None:
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            hint = "journalctl -u docker" if process is None else str(LOG)
            raise EngineError(f"The Docker engine does not start ({why}). Its own words: {hint}")
        time.sleep(0.2)


def stop() -> None:
    """Stops the engine that `start` has started, unless it is gone, another's by now, or still needed."""
    pid, running = (file.read_text().strip() if file.exists() else "" for file in (STARTED, PID_FILES["dockerd"][0]))
    if not pid or pid != running:
        return
    if docker.from_env().containers.list():
        return
    print("stopping the Docker engine", flush=True)
    process = Path("/proc", pid)
    os.kill(int(pid), signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while process.exists():
        if time.monotonic() > deadline:
            raise EngineError(f"The Docker engine does not stop; process {process.name}, its own words: {LOG}")
        time.sleep(0.2)
    STARTED.unlink()


def main() -> int:
    """Does what is needed; 1 where it cannot be done."""
    parser = argparse.ArgumentParser(description="See to it that a Docker engine answers here.")
    parser.add_argument(
        "--stop", action="store_true", help="stop the engine that this has started, if nothing runs in it"
    )
    try:
        if parser.parse_args().stop:
            stop()
            return 0
        for _ in range(2):  # what docker.io does not bring is known once it is there
            if packages := lacking(answers=refusal() is None):
                print(f"installing {', '.join(packages)}", flush=True)
                install(packages)
        if refusal() is not None:
            print("starting the Docker engine", flush=True)
            start()
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
