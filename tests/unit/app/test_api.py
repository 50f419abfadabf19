"""What MONAI Label's server answers for the loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from endolab_loop.api import add_routes
from endolab_loop.cvat import Unfit, Untouched
from endolab_loop.loop import LabError
from endolab_loop.shapes import Shape

from tests.unit.app.worlds import TOOL, CvatTask, World

SMOKE = Shape("Smoke", "rectangle", [0, 0, 3, 3])
PREANNOTATIONS = "/loop/tasks/{task}/preannotations"


class Server:
    """Stands in for FastAPI: calls the function of a route, and gives a status to what has none of its own."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Callable[..., Any]] = {}

    def add_api_route(self, path: str, function: Callable[..., Any], methods: list[str], **_: Any) -> None:
        self.routes[methods[0], path] = function

    def ask(self, method: str, path: str, *arguments: Any) -> tuple[dict[str, Any], int]:
        answer = self.routes[method, path](*arguments)
        return answer if isinstance(answer, tuple) else (answer, 200)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.turns()
    return world


@pytest.fixture
def server(world: World) -> Server:
    server = Server()
    add_routes(server, lambda content, status: (content, status), world.loop, world.lab, lambda: world.cvat)  # type: ignore[arg-type, return-value]
    return server


@pytest.fixture
def task(world: World) -> CvatTask:
    return world.cvat.open()[0]


def test_the_loop_shows_itself_with_its_health(server: Server) -> None:
    shown, status = server.ask("GET", "/loop")
    assert (status, shown["phase"], shown["healthy"], shown["ailment"]) == (200, "annotating", True, None)
    assert shown["task"]["url"] == f"http://cvat.example/tasks/{shown['task']['id']}"


def test_who_asks_gets_the_next_step_at_once(server: Server, world: World) -> None:
    assert server.ask("POST", "/loop")[0]["phase"] == "annotating"
    assert world.loop._due.is_set()


def test_the_tasks_are_listed(server: Server, task: CvatTask) -> None:
    assert server.ask("GET", "/loop/tasks")[0]["tasks"] == [{"id": task.id, "name": task.name}]


def test_frames_that_nobody_has_worked_on_get_the_models_shapes(server: Server, task: CvatTask) -> None:
    own = [Shape("InBody", "rectangle", [1, 1, 2, 2])]
    task.shapes[task.frames[0]] = own
    task.completed.add(task.frames[1])
    answer, status = server.ask("POST", PREANNOTATIONS, task.id)
    assert status == 200
    assert answer == {"frames": 1, "shapes": 1, "left_alone": 2, "empty": 0, "unknown": []}
    assert task.shapes == {task.frames[0]: own, task.frames[2]: TOOL}
    assert server.ask("POST", PREANNOTATIONS, task.id)[0]["left_alone"] == 3


def test_frames_that_are_not_among_the_studies_are_named(server: Server, task: CvatTask) -> None:
    task.frames.append("elsewhere.png")
    answer, _ = server.ask("POST", PREANNOTATIONS, task.id)
    assert (answer["frames"], answer["unknown"]) == (3, ["elsewhere.png"])


def test_what_the_task_has_no_label_for_is_left_out(
    server: Server, world: World, task: CvatTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.lab, "predict", lambda frame: [*TOOL, SMOKE] if frame == "frame_00" else [SMOKE])
    task.frames = ["frame_00.png", "frame_01.png"]
    answer, _ = server.ask("POST", PREANNOTATIONS, task.id)
    assert (answer["frames"], answer["shapes"], answer["empty"]) == (1, 1, 1)


def test_a_task_with_other_labels_is_refused_before_anything_is_predicted(
    server: Server, world: World, task: CvatTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.cvat, "untouched", lambda _: Untouched(frozenset({"Car"}), ["a.png"], 0))
    monkeypatch.delattr(type(world.lab), "predict")
    answer, status = server.ask("POST", PREANNOTATIONS, task.id)
    assert status == 409
    assert answer["what"] == f"CVAT's task {task.id} has none of the labels Tool, InBody, OutBody"


def test_a_task_that_is_not_there_is_a_404(server: Server) -> None:
    answer, status = server.ask("POST", PREANNOTATIONS, 99)
    assert (answer["what"], status) == ("CVAT has no task 99", 404)
    assert answer["remedy"]


def test_errors_come_as_two_sentences_with_a_status(
    server: Server, world: World, task: CvatTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(error: Exception) -> Callable[[Any], Any]:
        def predict(_: Any) -> Any:
            raise error

        return predict

    world.cvat.down = True
    assert server.ask("GET", "/loop/tasks") == ({"what": "CVAT does not answer", "remedy": "wait"}, 502)
    world.cvat.down = False
    for error, expected, status in (
        (LabError("no model", "load one"), {"what": "no model", "remedy": "load one"}, 500),
        (Unfit("too early", "wait"), {"what": "too early", "remedy": "wait"}, 409),
        (OSError("torn"), {"what": "OSError: torn", "remedy": "see `docker logs monailabel`, and report it"}, 500),
    ):
        monkeypatch.setattr(world.lab, "predict", fault(error))
        assert server.ask("POST", PREANNOTATIONS, task.id) == (expected, status)


def test_every_request_ends_its_session(server: Server, world: World, task: CvatTask) -> None:
    world.faults.set({})
    server.ask("GET", "/loop/tasks")
    server.ask("POST", PREANNOTATIONS, task.id)
    server.ask("POST", PREANNOTATIONS, 99)
    assert world.faults.seen.count("log_out") == 3
