"""What the loop's tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.stack.lab import Lab


@pytest.fixture
def lab(host: Host, variables: dict[str, Any]) -> Lab:
    return Lab(host, variables)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is written what the lab held when its archive was made."""
    return tmp_path_factory.mktemp("archive") / "state.json"
