"""Runs a program of the stand-ins inside MONAI Label's image, which has torch and MONAI Label itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
from catalogue import PREFIX, STAND_INS, published_names

LINES_TOLD = 40


class ProgramError(Exception):
    """The program failed; its last lines are the text."""


def run(program: str, arguments: list[str], directory: Path) -> Iterator[str]:
    """Yields what the program, a file below stand_ins, says. `directory` is /work to it; it has no network.

    Raises ProgramError where it does not end well.
    """
    container = docker.from_env(timeout=600).containers.run(
        PREFIX + published_names()["monailabel"],
        ["python3", f"/stand_ins/{program}", *arguments],
        volumes={str(STAND_INS): {"bind": "/stand_ins", "mode": "ro"}, str(directory): {"bind": "/work"}},
        # Threads that wait by turning are ten times slower where others work, too.
        environment={"PYTHONPATH": "/stand_ins", "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        network_mode="none",
        labels={"endolab": "stand-in"},
        detach=True,
    )
    try:
        last: list[str] = []
        for line in container.logs(stream=True):
            last = [*last, line.decode(errors="replace").rstrip()][-LINES_TOLD:]
            yield last[-1]
        if container.wait()["StatusCode"]:
            raise ProgramError(f"{program} failed; its last lines:\n" + "\n".join(last))
    finally:
        container.remove(force=True)
