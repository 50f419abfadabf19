"""The action files: the host is asked only where the run does not know yet that all is as it should be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.action.files import ActionBase, ActionModule
from ansible_collections.endolab.active_learning.plugins.modules import host_facts
from ansible_collections.endolab.active_learning.plugins.test.in_place import in_place

TEXT = "ü 1\n\n"
DIRECTORY = {"path": "/etc/endolab/edge"}
FILE = {"path": "/etc/endolab/edge/Caddyfile", "content": TEXT}
KNOWN = {
    DIRECTORY["path"]: {"kind": "directory", "uid": 0, "gid": 0, "mode": "0755"},
    FILE["path"]: {
        "kind": "file",
        "uid": 0,
        "gid": 0,
        "mode": "0644",
        "sha256": hashlib.sha256(TEXT.encode()).hexdigest(),
        "written": "17",
    },
}
ASKED = {"changed": True, "changed_paths": [FILE["path"]], "written": {}, "diff": []}


class Host:
    """A host of which the run knows something, and that answers when it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.facts: dict[str, Any] = {"endolab_host": {"files": KNOWN}, "endolab_written": []}
        self.asked = 0
        monkeypatch.setattr(ActionBase, "run", lambda *_: {})
        monkeypatch.setattr(ActionModule, "_execute_module", self._answer)

    def _answer(self, **_: Any) -> dict[str, Any]:
        self.asked += 1
        return dict(ASKED)

    def files(self, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        """What a task with these arguments says."""
        action = ActionModule.__new__(ActionModule)
        action._task = SimpleNamespace(args=arguments, check_mode=check_mode, loop=None, delegate_to=None)
        result: dict[str, Any] = action.run(task_vars={"ansible_facts": self.facts})
        return result


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def test_a_host_that_is_known_to_be_right_is_not_asked(host: Host) -> None:
    said = host.files(directories=[DIRECTORY], files=[FILE])
    assert host.asked == 0
    assert said == {"changed": False, "changed_paths": [], "written": {FILE["path"]: "17"}, "diff": []}


@pytest.mark.parametrize(
    "arguments",
    [
        {"files": [{**FILE, "content": "other"}]},
        {"files": [{**FILE, "mode": "0600"}]},
        {"files": [{**FILE, "owner": "1000"}]},
        {"files": [{**FILE, "group": "root"}]},
        {"files": [{**FILE, "path": "/etc/endolab/edge/other"}]},
        {"files": [{**FILE, "path": DIRECTORY["path"]}]},
        {"directories": [{**DIRECTORY, "mode": "0700"}]},
        {"directories": [{"path": FILE["path"], "mode": "0644"}]},
        {"directories": [DIRECTORY, {"path": "/etc/endolab/hop"}], "files": [FILE]},
        {"files": [FILE], "secrets": [FILE]},
    ],
    ids=str,
)
def test_it_is_asked_of_all_else(host: Host, arguments: dict[str, Any]) -> None:
    assert host.files(**arguments)["changed"] is True
    assert host.asked == 1


@pytest.mark.parametrize("facts", [{}, {"endolab_host": {}}, {"endolab_host": {"files": {}}}], ids=str)
def test_it_is_asked_where_nothing_is_known(host: Host, facts: dict[str, Any]) -> None:
    host.facts = facts
    host.files(files=[FILE])
    assert host.asked == 1


def test_what_was_written_since_is_not_known_any_more(host: Host) -> None:
    said = host.files(files=[{**FILE, "content": "other"}])
    host.facts |= said["ansible_facts"]
    host.files(files=[FILE])
    assert host.asked == 2
    host.files(directories=[DIRECTORY])
    assert host.asked == 2


def test_check_mode_writes_nothing(host: Host) -> None:
    assert "ansible_facts" not in host.files(check_mode=True, files=[{**FILE, "content": "other"}])


def test_what_nobody_else_may_read_is_not_known_by_its_digest(tmp_path: Path) -> None:
    for name, mode in {".": 0o755, "open": 0o755, "secrets": 0o700}.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name).chmod(mode)
    for name in ("open", "secrets"):
        (tmp_path / name / "file").write_text(TEXT)
    (tmp_path / "password").write_text("hidden")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "link").symlink_to("open")
    found = dict(host_facts.describe_files(tmp_path, below=True))
    names = {str(Path(path).relative_to(tmp_path)): facts for path, facts in found.items()}
    assert set(names) == {".", "open", "open/file", "secrets", "password"}
    assert names["open/file"]["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert "sha256" not in names["password"]
    assert names["secrets"]["mode"] == "0700"
    assert set(dict(host_facts.describe_files(tmp_path, below=False))) == {str(tmp_path)}
    assert dict(host_facts.describe_files(tmp_path / "missing", below=True)) == {}


def test_a_role_can_ask_whether_files_are_known_to_be_in_place() -> None:
    assert in_place({"files": [FILE]}, KNOWN)
    assert not in_place({"files": [FILE, {**FILE, "path": "/other"}]}, KNOWN)
    assert not in_place({"files": [{**FILE, "content": "other"}]}, KNOWN)
    assert not in_place({"files": [FILE]}, {})
