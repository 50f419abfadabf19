"""The modules host_record and absent_paths."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.modules import absent_paths, host_record
from ansible_collections.endolab.active_learning.plugins.modules.host_record import chains, locked

Run = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def printed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What commands print, by their first words; a test may change it."""
    said = {
        "dpkg-query": "apt install ok\napt install installed\nold deinstall config-files\nkernel hold installed\n",
        "apt-mark": "apt\n",
        "iptables-save": "*filter\n:FORWARD DROP [0:0]\n:THEIRS - [0:0]\nCOMMIT\n",
    }
    monkeypatch.setattr(host_record, "output", lambda command: said.get(command[0], ""))
    monkeypatch.setattr(host_record, "saved", lambda family: said.get(f"{family}-save", ""))
    monkeypatch.setattr(host_record, "ask_docker", lambda _: None)
    monkeypatch.setattr(host_record.shutil, "which", lambda name: name if name == "dpkg-query" else None)
    return said


def test_a_host_is_written_down_once(run: Run, tmp_path: Path, printed: dict[str, str]) -> None:
    settings = tmp_path / "daemon.json"
    settings.write_text('{"proxies": {"http-proxy": "http://me:secret@proxy"}}')
    settings.chmod(0o640)
    options = {"path": str(tmp_path / "found"), "paths": ["/nowhere", str(tmp_path)], "daemon_json": str(settings)}
    told = run(host_record, check=True, **options)
    assert told["changed"] is True
    assert not (tmp_path / "found").exists()
    assert "secret" not in json.dumps(told)

    assert run(host_record, **options)["diff"] == told["diff"]
    file = tmp_path / "found/host.json"
    record = json.loads(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "found").stat().st_mode & 0o777 == 0o700
    assert (record["packages"], record["held"], record["settings_only"]) == (["apt", "kernel"], ["kernel"], ["old"])
    assert (record["docker"], record["dockerd"]) == (None, False)
    assert record["network"]["iptables"] == {"filter": {"FORWARD": "DROP", "THEIRS": "-"}}
    assert (record["paths"], record["filled"]) == ({str(tmp_path): "0700"}, [str(tmp_path)])
    assert record["watched"] == ["/nowhere", str(tmp_path)]
    assert (tmp_path / "found/daemon.json").read_text() == settings.read_text()
    assert (tmp_path / "found/daemon.json").stat().st_mode & 0o777 == 0o640

    printed["dpkg-query"] += "restic install installed\n"
    settings.write_text("{}")
    assert run(host_record, **options)["changed"] is False
    assert json.loads(file.read_text()) == record


def test_what_somebody_installs_after_a_teardown_is_added(run: Run, tmp_path: Path, printed: dict[str, str]) -> None:
    options = {"path": str(tmp_path / "found"), "daemon_json": str(tmp_path / "none")}
    run(host_record, **options)
    printed["dpkg-query"] += "restic install installed\nlibrary install installed\ndocker-ce install installed\n"
    printed["apt-mark"] += "library\n"
    (tmp_path / "found/torn_down.json").write_text('["docker-ce"]')
    assert run(host_record, **options)["changed"] is True
    assert json.loads((tmp_path / "found/host.json").read_text())["packages"] == ["apt", "kernel", "restic"]
    assert not (tmp_path / "found/torn_down.json").exists()
    assert run(host_record, **options)["changed"] is False


def test_what_docker_holds_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "/images/json": [{"Id": "sha256:1", "RepoTags": None}, {"Id": "sha256:2", "RepoTags": ["postgres:16"]}],
        "/volumes": {"Volumes": [{"Name": "theirs"}]},
        "/networks": [{"Name": "bridge"}],
    }
    monkeypatch.setattr(host_record, "ask_docker", answers.get)
    assert host_record.docker() == {
        "images": ["sha256:1", "sha256:2"],
        "tags": ["postgres:16"],
        "volumes": ["theirs"],
        "networks": ["bridge"],
    }


def test_packages_of_the_rhel_family(monkeypatch: pytest.MonkeyPatch, printed: dict[str, str]) -> None:
    monkeypatch.setattr(host_record.shutil, "which", lambda _: None)
    printed["rpm"] = "bash install installed\n"
    assert host_record.packages()["packages"] == ["bash"]
    lines = "# Added lock on Fri\nnvidia-container-toolkit-base-0:1.20.0-1.*\n!kernel-0:6.1-2.*\n"
    assert locked(lines) == ["nvidia-container-toolkit-base"]


def test_built_in_chains_have_policies() -> None:
    assert chains("*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\nCOMMIT\n") == {
        "nat": {"PREROUTING": "ACCEPT", "DOCKER": "-"}
    }


def test_absent_paths_go_and_full_ones_stay(run: Run, tmp_path: Path) -> None:
    (tmp_path / "parent/child").mkdir(parents=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "parent")
    names = ["parent/child", "parent", "full", "link", "none"]
    options = {"empty": [str(tmp_path / name) for name in names]}
    gone = [str(tmp_path / "parent/child"), str(tmp_path / "parent")]
    assert run(absent_paths, check=True, **options)["gone"] == gone
    assert run(absent_paths, **options)["gone"] == gone
    assert run(absent_paths, **options)["changed"] is False
    assert (tmp_path / "full/file").exists()


def test_paths_go_with_all_that_is_below_and_no_link_is_followed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/file").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    options = {"paths": [str(tmp_path / name) for name in ("tree", "link", "none")]}
    gone = [str(tmp_path / "tree"), str(tmp_path / "link")]
    assert run(absent_paths, check=True, **options)["gone"] == gone
    assert (tmp_path / "tree/below/file").exists()
    assert run(absent_paths, **options)["gone"] == gone
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert run(absent_paths, **options)["changed"] is False
