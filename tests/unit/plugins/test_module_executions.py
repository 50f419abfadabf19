"""The callback module_executions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.endolab.active_learning.plugins.callback.module_executions import CallbackModule


def action(transport: str) -> Any:
    """What an action plugin has of a task."""
    return SimpleNamespace(
        _connection=SimpleNamespace(transport=transport),
        _task=SimpleNamespace(action="template", get_name=lambda: "A file is there"),
    )


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the callback shows after four executions on two hosts and one on the controller."""
    monkeypatch.setattr(ActionBase, "_execute_module", lambda _, name=None, *args, **kwargs: {"ran": name})
    callback = CallbackModule()
    lines: list[str] = []
    callback._display = SimpleNamespace(display=lines.append, v=lines.append)
    for host in ("a", "b", "a", "a"):
        result = ActionBase._execute_module(action("ssh"), "copy", task_vars={"inventory_hostname": host})
        assert result == {"ran": "copy"}
    ActionBase._execute_module(action("local"), "copy", {}, None, {"inventory_hostname": "a"})
    callback.v2_playbook_on_stats(None)
    return lines


def test_the_executions_on_each_host_are_counted(shown: list[str]) -> None:
    assert shown[-2:] == ["Module executions on a: 3", "Module executions on b: 1"]


def test_each_is_shown_with_its_task(shown: list[str]) -> None:
    assert shown[:-2] == [f"module execution on {host}: copy (A file is there)" for host in ("a", "b", "a", "a")]
