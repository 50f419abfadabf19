"""The module_utils listeners."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.endolab.active_learning.plugins.module_utils import listeners


def test_containers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [
        {"Id": "a" * 64, "Names": ["/cvat-server-1"], "Ports": [{"PrivatePort": 8080, "PublicPort": 8081}]},
        {"Id": "b" * 64, "Names": ["/monailabel"], "Ports": []},
    ]
    monkeypatch.setattr(listeners, "ask_docker", lambda _: answer)
    assert listeners.containers() == ({"a" * 64: "cvat-server-1", "b" * 64: "monailabel"}, {8081: "cvat-server-1"})


def test_a_process_that_ends_meanwhile_has_no_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = str(os.fstat(server.fileno()).st_ino)
        assert inode in listeners.sockets_of(Path("/proc/self"))
    assert listeners.sockets_of(Path("/proc/0")) == set()
