"""Sees to it that a Docker engine answers on this machine, and that images can be built; says what it had to do.

Usage: python molecule/stand_ins/engine.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import docker
from docker.errors import DockerException

# What has to be on PATH, and the Debian package that brings it.
TOOLS = {"dockerd": "docker.io", "mmdebstrap": "mmdebstrap"}
PID_FILES = {
    "dockerd": (Path("/var/run/docker.pid"),),
    "containerd": (Path("/run/docker/containerd/containerd.pid"), Path("/run/docker/containerd/docker-containerd.pid")),
}
LOG = Path("/var/log/dockerd.log")
START_TIMEOUT = 90.0
"""Seconds that an engine may take until it answers; one with many old containers is slow."""


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
    names = [name for name in TOOLS if not (answers and name == "dockerd")]
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [TOOLS[name] for name in names if shutil.which(name, path=search) is None]


def install(packages: list[str]) -> None:
    """Installs Debian packages. Raises EngineError where that cannot be done here."""
    if shutil.which("apt-get") is None:
        raise EngineError(f"This is no Debian machine: install {' and '.join(packages)} yourself, then run this again.")
    if os.geteuid() != 0:
        raise EngineError(f"Run this as root, or install it: apt-get install {' '.join(packages)}")
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
    if Path("/run/systemd/system").exists():
        subprocess.run(["systemctl", "start", "docker.service"], check=False)
        process = None
    else:
        remove_stale_pid_files()
        with LOG.open("ab") as log:
            process = subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
    deadline = time.monotonic() + START_TIMEOUT
    while (why := refusal()) is not None:
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            hint = "journalctl -u docker" if process is None else str(LOG)
            raise EngineError(f"The Docker engine does not start ({why}). Its own words: {hint}")
        time.sleep(0.2)


def main() -> int:
    """Does what is needed; 1 where it cannot be done."""
    argparse.ArgumentParser(description="See to it that a Docker engine answers here.").parse_args()
    try:
        packages = lacking(answers=refusal() is None)
        if packages:
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
