"""Runs a program of the stand-ins inside MONAI Label's image, which has torch and MONAI Label itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
from catalogue import CHECKOUT, PREFIX, STAND_INS, published_names

LINES_TOLD = 40


class ProgramError(Exception):
    """The program failed; its last lines are the text."""


def run(program: str, arguments: list[str], directory: Path) -> Iterator[str]:
    """Yields what the program, a file below stand_ins, says. `directory` is /work to it; it has no network.

    Raises ProgramError where it does not end well.
    """
    volumes = {str(STAND_INS): {"bind": "/stand_ins", "mode": "ro"}, str(directory): {"bind": "/work"}}
    return run_with(["/stand_ins"], f"/stand_ins/{program}", arguments, volumes)


def run_of_checkout(program: str, arguments: list[str]) -> Iterator[str]:
    """Yields what the program, a file of the checkout, says. It finds the app, and what the stand-ins share."""
    paths = ["/checkout", "/checkout/apps/endoscopy", "/checkout/molecule/stand_ins"]
    return run_with(paths, f"/checkout/{program}", arguments, {str(CHECKOUT): {"bind": "/checkout", "mode": "ro"}})


def run_with(paths: list[str], program: str, arguments: list[str], volumes: dict[str, dict[str, str]]) -> Iterator[str]:
    """Yields what the program says, which looks for its modules in `paths`; raises ProgramError."""
    container = docker.from_env(timeout=600).containers.run(
        PREFIX + published_names()["monailabel"],
        ["python3", program, *arguments],
        volumes=volumes,
        # Threads that wait by turning are ten times slower where others work, too.
        environment={"PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"},
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
