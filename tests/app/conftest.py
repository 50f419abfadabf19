"""A CVAT of these tests' own, as the contract tests beside them count what they make; MONAI Label's image."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import docker

from tests.stand_ins.conftest import cvat, engine

__all__ = ["cvat", "engine"]

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "endolab/stand-in/projectmonai/monailabel:latest"

Scenario = Callable[[str], dict[str, Any]]


def found_in_image(script: str) -> Scenario:
    """Runs a script of this directory inside MONAI Label's image; what its scenarios found is known by their names."""
    with closing(docker.from_env(timeout=600)) as engine:
        container = engine.containers.run(
            IMAGE,
            ["python3", f"/checkout/tests/app/{script}"],
            volumes={str(ROOT): {"bind": "/checkout", "mode": "ro"}},
            environment={
                "OMP_NUM_THREADS": "1",  # two that wait for each other are ten times slower on busy cores
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": "/checkout:/checkout/apps/endoscopy",
            },
            network_mode="none",
            detach=True,
        )
        try:
            code = container.wait()["StatusCode"]
            assert code == 0, container.logs(tail=60).decode()
            lines = container.logs(stderr=False).decode().splitlines()
        finally:
            container.remove(force=True)
    found = {each["scenario"]: each for each in map(json.loads, filter(lambda line: line.startswith('{"sc'), lines))}

    def of(name: str) -> dict[str, Any]:
        assert "failed" not in found[name], found[name]["failed"]
        return dict(found[name])

    return of
