"""The loop's page, as its server answers it; tests/monitoring has it in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from unittest.mock import Mock

import pytest
import requests
from endolab_loop import gpus, history, page
from endolab_loop.state import now, read_json, write_json
from PIL import Image

from tests.monitoring.lab import GPUS, served
from tests.unit.app.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, cvat_project="Ann <& Ben>")
    world.lab.directory = tmp_path
    for name in world.lab.known:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    return world


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with served(world) as address:
        yield address


def text(url: str, **headers: str) -> str:
    answer = requests.get(f"{url}/loop/page", headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.text


def test_a_loop_that_has_just_started_has_a_page(url: str) -> None:
    shown = text(url)
    assert ">starting<" in shown
    assert "Iteration" not in shown


def test_a_batch_is_shown_with_the_rank_and_score_of_each_frame(world: World, url: str) -> None:
    world.turns()
    shown = re.sub(r"\s+", " ", text(url))
    task = world.cvat.open()[0]
    for rank, file in enumerate(task.frames, start=1):
        score = world.lab.score_of(Path(file).stem, 0)
        assert f"<b>{Path(file).stem}</b><br>rank {rank} of 9, score {score:.4f}" in shown
    assert "0 of 3 jobs completed" in shown


def test_names_of_people_are_text(url: str) -> None:
    assert "Ann &lt;&amp; Ben&gt;" in text(url)


def test_behind_the_edge_a_task_is_linked_where_people_find_cvat(world: World, url: str) -> None:
    world.turns()
    number = world.cvat.open()[0].id
    assert f'href="http://cvat.example/tasks/{number}"' in text(url, **{"X-Forwarded-Host": "lab.example"})
    world.cvat.url = "http://127.0.0.1:8080"
    assert f'href="/tasks/{number}"' in text(url, **{"X-Forwarded-Host": "lab.example"})
    assert f'href="http://127.0.0.1:8080/tasks/{number}"' in text(url)


def test_an_error_is_shown_with_what_mends_it(world: World, url: str) -> None:
    world.cvat.down = True
    world.turns()
    shown = text(url)
    assert "CVAT does not answer; wait" in shown
    assert "not well" in shown


def test_a_gpu_that_is_gone_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "given", lambda: len(GPUS))
    assert "cannot be seen any more" not in text(url)
    monkeypatch.setattr(gpus, "given", lambda: 3)
    assert f"{3 - len(GPUS)} of those it was started with cannot be seen any more" in text(url)


def test_only_frames_of_the_batch_have_pictures(world: World, url: str) -> None:
    world.turns()
    names = [Path(file).stem for file in world.cvat.open()[0].frames]
    picture = requests.get(f"{url}/loop/frames/{names[0]}/picture", timeout=30)
    assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/jpeg")
    other = next(name for name in world.lab.known if name not in names)
    world.loop.pictures.thumbnail(names[0]).with_name(f"{other}.jpg").write_bytes(picture.content)
    for name in (other, "%2e%2e%2fmemory", "..", "%2e%2e%2f%2e%2e%2fmemory.json%00"):
        assert requests.get(f"{url}/loop/frames/{name}/picture", timeout=30).status_code == 404


def test_a_picture_costs_no_look_at_the_iterations_before(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.turns()
    write_json(world.loop.directory / "iterations" / "0.json", {"at": "", "chosen": {}, "scores": {}})
    monkeypatch.setattr(history, "read_json", read := Mock(wraps=read_json))
    name = Path(world.cvat.open()[0].frames[0]).stem
    assert requests.get(f"{url}/loop/frames/{name}/picture", timeout=30).status_code == 200
    assert [call.args[0].name for call in read.call_args_list] == ["1.json"]


def test_a_frame_without_its_pictures_is_told(world: World, url: str) -> None:
    world.turns()
    assert text(url).count("no heat map is left") == 3
    for path in world.loop.pictures.thumbnails.iterdir():
        path.unlink()
    assert text(url).count("no picture is left") == 3


def test_files_and_disks_that_cannot_be_read_do_not_keep_the_rest_from_being_shown(world: World, url: str) -> None:
    world.turns()
    (world.loop.directory / "iterations" / "1 (copy).json").write_text("{}")
    (world.loop.directory / "iterations" / "2.json").write_text('{"at": "2026')
    (world.loop.directory / "trainings").mkdir()
    write_json(world.loop.directory / "trainings" / "1-2-m.json", {"iteration": "1-2", "model": "m"})
    world.loop.written.append(world.directory / "gone")
    shown = text(url)
    assert "Iteration 1:" in shown
    assert f"free for <code>{world.directory}</code>" in shown
    name = Path(world.cvat.open()[0].frames[0]).stem
    assert requests.get(f"{url}/loop/frames/{name}/picture", timeout=30).status_code == 200
    assert "endolab_loop_disk_free_bytes{" in requests.get(f"{url}/metrics", timeout=30).text


def test_a_page_asks_neither_the_model_nor_cvat(world: World, url: str) -> None:
    world.turns()
    world.faults.set({})
    text(url)
    assert set(world.faults.seen) == {"frames"}


def test_the_policy_lets_in_the_pages_own_style_and_pictures_alone(url: str) -> None:
    policy = requests.get(f"{url}/loop/page", timeout=30).headers["Content-Security-Policy"]
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "'self'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", directives["style-src"])


@pytest.mark.parametrize(
    ("seconds", "said"), [(-5, "just now"), (30, "just now"), (60, "1 minute ago"), (7300, "2 hours ago")]
)
def test_times_are_told_as_people_do(seconds: int, said: str) -> None:
    assert page.ago(now(-seconds), datetime.now(timezone.utc)) == said
