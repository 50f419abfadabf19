"""What the contract tests share: one running stand-in with an administrator."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from tests.stand_ins.deployment import ADMIN, Cvat, Http, running


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def cvat(engine: docker.DockerClient) -> Iterator[Cvat]:
    with running(engine) as started:
        started.make_superuser(*ADMIN)
        yield started


@pytest.fixture(scope="session")
def client(cvat: Cvat) -> Iterator[Http]:
    """The administrator, by plain HTTP and Basic auth."""
    with Http(cvat.url, ADMIN) as client:
        yield client
