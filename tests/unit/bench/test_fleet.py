"""The bench of a fleet: arithmetic, inventories, that it leaves nothing behind; and a MONAI Label that idles."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
from catalogue import STAND_INS, Image, catalogue
from endolab_loop import health
from monailabel_idle.main import INTERVAL, write_status

from bench import fleet, results, second_run

ROOT = results.ROOT
IDLE = STAND_INS / "monailabel_idle"


def size(hosts: int, cpu: float, plain: float = 2.0) -> dict[str, Any]:
    executions = {fleet.host(number): 30 - 5 * (number > 1) for number in range(1, hosts + 1)}
    run = {"wall": cpu, "memory": 102400 * hosts, "executions": executions}
    runs = {"stack": [{**run, "cpu": cpu}], "yardstick": [{**run, "cpu": plain}]}
    summary = {name: second_run.summary(each) for name, each in runs.items()}
    return {"hosts": hosts, "rest": {"cores": 0.01 * hosts, "memory": 300 * hosts}, "runs": runs, "summary": summary}


RESULT = {"sizes": [size(1, 20.0), size(2, 25.0), size(4, 33.0), size(8, 57.0, plain=2.5)]}


def test_an_added_host_costs_a_share_of_the_first_one_s_run() -> None:
    found = {row.name: row for row in fleet.rows(RESULT)}
    assert found["host 2, of that"].value == pytest.approx(5 / 20)
    assert found["each of hosts 3 to 4, of that"].value == pytest.approx(4 / 20)
    assert found["each of hosts 5 to 8, of that"].value == pytest.approx((57 * 2.0 / 2.5 - 33) / 4 / 20)
    assert found["an added host, of that"].value == pytest.approx((57 * 2.0 / 2.5 - 20) / 7 / 20)
    assert found["an added host, of that"].met() is True
    assert found["an added host, of that, by the seconds as they were"].value == pytest.approx(37 / 7 / 20)


def test_the_smallest_and_the_largest_fleet_are_shown() -> None:
    found = {row.name: row.value for row in fleet.rows(RESULT)}
    assert (found["1 host: largest process, MB"], found["8 hosts: largest process, MB"]) == (100, 800)
    assert (found["1 host: at rest, cores"], found["8 hosts: at rest, cores"]) == (0.01, 0.08)
    assert (found["module executions, first host"], found["module executions, an added host"]) == (30, 25)
    assert found["plain tasks on the first host: 8 hosts/1 host, processor"] == pytest.approx(1.25)


def test_the_goal_s_line_begins_at_the_first_host() -> None:
    curves = fleet.curves(RESULT)
    assert curves["endolab"] == [(1, 20.0), (2, 25.0), (4, 33.0), (8, 57.0 * 2.0 / 2.5)]
    assert curves["goal"] == [(1, 20.0), (2, 25.0), (4, 35.0), (8, 55.0)]


def groups(hosts: int, folder: Path) -> tuple[dict[str, list[str]], VariableManager, InventoryManager]:
    loader = DataLoader()
    loader.set_basedir(str(ROOT))
    inventory = InventoryManager(loader, [str(ROOT / path) for path in fleet.inventories(folder, hosts)])
    return inventory.get_groups_dict(), VariableManager(loader, inventory), inventory


def test_a_larger_fleet_is_the_smaller_one_with_gpu_hosts_beside_it(tmp_path: Path) -> None:
    alone, two, four = (groups(hosts, tmp_path)[0] for hosts in (1, 2, 4))
    everybody = [fleet.host(number) for number in (1, 2, 3, 4)]
    for group in ("lab", "monailabel", "simulated"):
        assert [sorted(found[group]) for found in (alone, two, four)] == [everybody[:1], everybody[:2], everybody]
    for found in (alone, two, four):
        assert found["cvat"] == found["edge"] == everybody[:1]


def test_only_the_hosts_that_are_added_have_an_image_that_idles(tmp_path: Path) -> None:
    _, variables, inventory = groups(2, tmp_path)
    first, added = (variables.get_vars(host=inventory.get_host(fleet.host(number))) for number in (1, 2))
    assert "monailabel_image" not in first
    registry, image = added["endolab_registry"], added["monailabel_image"]
    published = {each.published for each in catalogue() if isinstance(each, Image)}
    assert str(image).replace("{{ endolab_registry }}", registry).removeprefix(registry) in published


class Plays:
    """What is run in place of playbooks; the one named `broken` fails."""

    def __init__(self, broken: str) -> None:
        self.broken = broken
        self.run: list[tuple[str, str]] = []

    def __call__(self, playbook: str, lab: list[str], _: fleet.Tell, *__: str) -> None:
        self.run.append((Path(playbook).name, Path(lab[-1]).name))
        if playbook == self.broken:
            raise second_run.RunError(playbook)


def test_hosts_are_taken_away_before_and_after_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = Plays(broken="site.yml")
    monkeypatch.setattr(fleet, "play", plays)
    monkeypatch.setattr(fleet, "refuse", lambda: None)
    with pytest.raises(second_run.RunError, match=r"site\.yml"):
        fleet.measure(lambda _: None)
    assert plays.run == [
        ("down.yml", "16.json"), ("up.yml", "1.json"), ("deliver.yml", "1.json"), ("site.yml", "1.json"),
        ("down.yml", "16.json"),
    ]  # fmt: skip


def test_a_machine_that_cannot_watch_enough_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "INOTIFY", tmp_path / "instances")
    fleet.INOTIFY.write_text("128\n", encoding="ascii")
    with pytest.raises(second_run.RunError, match=r"instances is 128\. As root, run `sysctl -w .*=256`"):
        fleet.refuse()
    fleet.INOTIFY.write_text("256\n", encoding="ascii")
    fleet.refuse()


def test_a_play_is_told_as_it_begins_and_a_failure_says_its_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(second_run, "command", lambda code, *_: ["sh", "-c", f"echo 'PLAY [Do it] ****'; exit {code}"])
    fleet.play("0", [], told.append)
    assert told == ["  Do it"]
    with pytest.raises(second_run.RunError, match=r"3 failed; its last lines:\nPLAY \[Do it\]"):
        fleet.play("3", [], told.append)


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[str]:
    """The address of a MONAI Label that idles beside the frames in `tmp_path`, started as the init script does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["start_server", "--app", "apps/endoscopy", "--studies", str(tmp_path), "--conf", "models", "tooltracking"]
    words += ["--conf", "epistemic_top_k", "2", "--port", str(port), "--host", "127.0.0.1"]
    with subprocess.Popen([sys.executable, str(IDLE / "main.py"), *words]) as process:
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def test_it_passes_the_health_check_of_the_app(idle: str, tmp_path: Path) -> None:
    check = [sys.executable, str(ROOT / "apps/endoscopy/endolab_loop/health.py"), str(tmp_path), idle]
    deadline = time.monotonic() + 20
    while (done := subprocess.run(check, capture_output=True, text=True, check=False)).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)
    assert done.stdout == "waiting for frames\n"
    with urllib.request.urlopen(f"{idle}/info/") as info:
        assert json.load(info)["models"]


def test_it_is_healthy_until_it_shows_itself_again(tmp_path: Path) -> None:
    write_status(tmp_path)
    written = json.loads((tmp_path / health.STATUS).read_text(encoding="utf-8"))
    assert health.ailment(written, datetime.now(timezone.utc) + timedelta(seconds=2 * INTERVAL)) is None


def test_its_version_is_one_that_the_role_takes(tmp_path: Path) -> None:
    information = tmp_path / "monailabel-0+idle.dist-info"
    information.mkdir()
    (information / "METADATA").write_bytes((IDLE / "METADATA").read_bytes())
    probe = [sys.executable, str(ROOT / "roles/monailabel/files/probe.py")]
    found = json.loads(subprocess.check_output(probe, env={**os.environ, "PYTHONPATH": str(tmp_path)}))
    versions = yaml.safe_load((ROOT / "playbooks/group_vars/all/versions.yml").read_text(encoding="utf-8"))
    pair = {"monailabel": found["version"].split("+")[0], "cvat": versions["endolab_cvat_version"]}
    assert found["version"] == "0+idle"
    assert pair in versions["endolab_tested_pairs"]
