"""Every recorded exchange with a real CVAT 2.73.0, played against the stand-in."""

from __future__ import annotations

import docker
import pytest

from tests.stand_ins.deployment import running
from tests.stand_ins.recording import Exchange, Reply, differences, recorded
from tests.stand_ins.story import Story

EXCHANGES = list(recorded())


@pytest.fixture(scope="module")
def replies(engine: docker.DockerClient) -> dict[str, Reply]:
    """The live replies of a server of its own; each call builds on those before it, so that all are made for any."""
    with running(engine) as cvat:
        return {str(exchange): reply for exchange, reply in Story(cvat).play(EXCHANGES)}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_reply_is_the_recorded_one(exchange: Exchange, replies: dict[str, Reply]) -> None:
    assert differences(exchange, replies[str(exchange)]) == []
