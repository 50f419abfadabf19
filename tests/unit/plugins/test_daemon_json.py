"""The module daemon_json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.module_utils.daemon_settings import merge
from ansible_collections.endolab.active_learning.plugins.modules import daemon_json, host_facts
from hypothesis import given
from hypothesis import strategies as st

Run = Callable[..., dict[str, Any]]
values = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=4)


@given(old=objects, new=objects)
def test_merging_twice_is_merging_once(old: dict[str, Any], new: dict[str, Any]) -> None:
    once = merge(old, new)
    assert merge(once, new) == once


@given(old=objects, new=objects)
def test_what_is_not_named_stays(old: dict[str, Any], new: dict[str, Any]) -> None:
    merged = merge(old, new)
    assert all(merged[key] == old[key] for key in old.keys() - new.keys())


@pytest.fixture(autouse=True)
def _no_dockerd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_json.shutil, "which", lambda _: None)


def test_the_hosts_own_keys_survive(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"dns": ["10.0.0.1"], "features": {"buildkit": true}, "log-driver": "journald"}')
    result = run(
        daemon_json,
        path=str(file),
        settings={"features": {"cdi": True}, "dns": ["10.0.0.2"]},
        # The options of json-file would keep Docker from starting with journald.
        defaults=[{"log-driver": "json-file", "log-opts": {"max-size": "20m"}}, {"live-restore": True}],
    )
    assert result["changed"] is True
    assert json.loads(file.read_text()) == {
        "dns": ["10.0.0.1", "10.0.0.2"],
        "features": {"buildkit": True, "cdi": True},
        "log-driver": "journald",
        "live-restore": True,
    }


def test_a_file_that_says_the_same_keeps_its_layout(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"live-restore":    true}')
    assert run(daemon_json, path=str(file), settings={"live-restore": True})["changed"] is False
    assert file.read_text() == '{"live-restore":    true}'


def test_a_broken_file_is_refused_and_left(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"a": 1,}')
    result = run(daemon_json, path=str(file), settings={"b": 2})
    assert "is not valid JSON" in result["msg"]
    assert "line 1 column" in result["msg"]
    assert file.read_text() == '{"a": 1,}'


def test_what_else_the_file_says_is_not_shown(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"proxies": {"https-proxy": "http://lab:secret@proxy:3128"}, "live-restore": false}')
    result = run(daemon_json, path=str(file), settings={"live-restore": True})
    assert "secret" not in json.dumps(result)
    assert [json.loads(result["diff"][side]) for side in ("before", "after")] == [
        {"live-restore": False},
        {"live-restore": True},
    ]


def test_a_file_in_another_encoding_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_bytes(b'{"data-root": "/srv/M\xfcller"}')
    assert "is not valid JSON" in run(daemon_json, path=str(file), settings={"b": 2})["msg"]


def test_what_dockerd_refuses_is_not_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dockerd = tmp_path / "dockerd"
    dockerd.write_text("#!/bin/sh\necho unable to configure: unknown key >&2\nexit 1\n")
    dockerd.chmod(0o755)
    monkeypatch.setattr(daemon_json.shutil, "which", lambda _: str(dockerd))
    result = run(daemon_json, path=str(tmp_path / "daemon.json"), settings={"b": 2})
    assert "dockerd refuses the settings" in result["msg"]
    assert "unknown key" in result["msg"]
    assert not (tmp_path / "daemon.json").exists()


@given(old=objects, new=objects)
def test_taking_out_what_was_merged_gives_what_was_there(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert daemon_json.unmerge(merge(old, new), new, old) == old


SETTINGS = {"features": {"cdi": True}, "dns": ["10.0.0.2"], "live-restore": True}
LOGS = {"log-driver": "json-file", "log-opts": {"max-size": "20m"}}


def test_the_file_gets_its_own_layout_back(run: Run, tmp_path: Path) -> None:
    file, original = tmp_path / "daemon.json", tmp_path / "original.json"
    original.write_text('{"dns":   ["10.0.0.1"]}')
    file.write_text(original.read_text())
    run(daemon_json, path=str(file), settings=SETTINGS, defaults=[LOGS])
    options = {
        "path": str(file),
        "settings": SETTINGS,
        "defaults": [LOGS],
        "original": str(original),
        "state": "absent",
    }
    assert run(daemon_json, check=True, **options)["changed"] is True
    assert run(daemon_json, **options)["changed"] is True
    assert file.read_text() == original.read_text()
    assert run(daemon_json, **options)["changed"] is False


def test_what_somebody_has_changed_or_added_since_stays(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    run(daemon_json, path=str(file), settings=SETTINGS, defaults=[LOGS])
    changed = {**json.loads(file.read_text()), "live-restore": False, "debug": True, "log-opts": {"max-size": "1g"}}
    file.write_text(json.dumps(changed))
    options = {"settings": SETTINGS, "defaults": [LOGS], "original": str(tmp_path / "none"), "state": "absent"}
    assert run(daemon_json, path=str(file), **options)["changed"] is True
    assert json.loads(file.read_text()) == {
        "live-restore": False,
        "debug": True,
        "log-driver": "json-file",
        "log-opts": {"max-size": "1g"},
    }


def test_a_file_that_was_not_there_goes(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    run(daemon_json, path=str(file), settings=SETTINGS, defaults=[LOGS])
    options = {"settings": SETTINGS, "defaults": [LOGS], "original": str(tmp_path / "none"), "state": "absent"}
    assert run(daemon_json, path=str(file), **options)["changed"] is True
    assert not file.exists()
    assert run(daemon_json, path=str(file), **options)["changed"] is False


@pytest.mark.parametrize("now", [{}, SETTINGS, {**SETTINGS, **LOGS}, {**SETTINGS, "log-driver": "journald", "x": 1}])
def test_whether_it_would_change_something_is_known_before(now: dict[str, Any], run: Run, tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    if now:
        file.write_text(json.dumps(now))
    result = run(daemon_json, check=True, path=str(file), settings=SETTINGS, defaults=[LOGS])
    wanted = {"ours": {"settings": SETTINGS, "defaults": [LOGS]}}
    known = host_facts.daemon_json(file.read_text() if now else None, wanted)
    assert known["holds"] == {"ours": not result["changed"]}
