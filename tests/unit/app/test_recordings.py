"""The loop's client of CVAT, driven against what a real CVAT 2.73.0 has answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from endolab_loop.conf import Conf
from endolab_loop.cvat import AnnotatedFrame, Cvat, CvatError, Gone, Task, Unfit, Untouched
from endolab_loop.shapes import Shape

from tests.certificates import over_tls
from tests.stand_ins.recording import Exchange, recorded

TOOL = Shape("Tool", "polygon", [10.0, 10.0, 60.0, 12.0, 40.0, 50.0])
MASK = Shape("InBody", "mask", [0.0, 2000.0, 50.0, 40.0, 99.0, 79.0])
PROJECT = {"id": 48, "created": "2026-11-22 10:24:13.413463+00:00"}


class Recorded(ThreadingHTTPServer):
    """Answers each method and path with what was recorded for it, in order, the last one for ever."""

    scheme = "http"

    def __init__(self, played: list[Exchange]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: dict[tuple[str, str], list[Exchange]] = {}
        self.asked: list[tuple[str, str, bytes]] = []
        for exchange in played:
            path = exchange.request["path"].partition("?")[0].rstrip("/")
            self.replies.setdefault((exchange.request["method"], path), []).append(exchange)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Recorded

    def answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self.path.partition("?")[0].rstrip("/")
        self.server.asked.append((self.command, self.path, content))
        known = self.server.replies.get((self.command, path))
        if not known:
            self.send_error(404)
            return
        reply = (known.pop(0) if len(known) > 1 else known[0]).reply
        kind = reply.headers.get("content-type", "application/json")
        body = b"" if reply.body is None else (json.dumps(reply.body) if "json" in kind else reply.body).encode()
        self.send_response(reply.status)
        self.send_header("content-type", kind)
        if path == "/api/auth/login" and reply.status == 200:
            self.send_header("set-cookie", "sessionid=s; Path=/")
            self.send_header("set-cookie", "csrftoken=c; Path=/")
        if reply.status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_: Any) -> None:
        pass


def exchanges(subject: str) -> list[Exchange]:
    return [exchange for exchange in recorded() if exchange.subject == subject]


def serve(*subjects: str, prepare: Callable[[Recorded], Any] = lambda server: None) -> Iterator[Recorded]:
    with Recorded([one for subject in subjects for one in exchanges(subject)]) as server:
        prepare(server)
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def client(server: Recorded, **conf: Any) -> Cvat:
    settings = Conf.model_validate(
        {"cvat_project": "recording", "cvat_labels": [{"name": "Tool"}, {"name": "InBody"}], **conf}
    )
    return Cvat(server.url, lambda: ("lab", "of the lab"), settings, lambda: None)


@pytest.fixture
def life() -> Iterator[Recorded]:
    """The life of a task."""
    yield from serve("sdk_project", "sdk_task", "sdk_annotate", "sdk_complete", "multipart_upload")


@pytest.fixture
def errors() -> Iterator[Recorded]:
    yield from serve("auth", "errors", "cleanup")


@pytest.fixture
def behind_tls(tmp_path: Path) -> Iterator[Recorded]:
    """By a certificate that tmp_path/ca.pem vouches for."""

    def prepare(server: Recorded) -> None:
        server.scheme = "https"
        over_tls(server, tmp_path, "127.0.0.1")

    yield from serve("sdk_project", prepare=prepare)


def test_an_authority_of_the_environment_is_trusted(
    behind_tls: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    found = client(behind_tls).project(None)
    assert found is not None
    assert found["id"] == 48


def test_a_certificate_that_is_not_trusted_is_named(behind_tls: Recorded) -> None:
    with pytest.raises(CvatError) as told:
        client(behind_tls).project(None)
    assert told.value.what == f"CVAT at {behind_tls.url} shows no certificate that is trusted here"
    assert told.value.remedy == "mend its certificate, or monailabel_cvat_ca"


def test_the_project_is_found_and_known_again(life: Recorded) -> None:
    cvat = client(life)
    found = cvat.project(None)
    assert found is not None
    assert found["id"] == 48
    assert cvat.project(found) == found


def test_a_project_of_the_same_number_made_at_another_time_is_another(life: Recorded) -> None:
    assert client(life, cvat_project="no such").project({"id": 48, "created": "before"}) is None


def test_a_session_is_made_once(life: Recorded) -> None:
    cvat = client(life)
    cvat.jobs(44)
    cvat.frames(44)
    assert [path for _, path, _ in life.asked].count("/api/auth/login") == 1


def test_a_task_is_made_filled_and_opened(life: Recorded, tmp_path: Path) -> None:
    cvat = client(life)
    files = [tmp_path / f"frame_{number:02}.png" for number in range(3)]
    for file in files:
        file.write_bytes(b"picture")
    number = cvat.make_task(48, 1)
    assert number == 44
    cvat.upload(number, files)
    cvat.rename(number, 1, "open")
    bodies = {(method, path): content for method, path, content in life.asked}
    made = json.loads(bodies["POST", "/api/tasks"])
    assert made == {
        "name": "UPLOADING_ActiveLearning_Iteration_1",
        "project_id": 48,
        "subset": "Train",
        "segment_size": 1,
    }
    assert json.loads(bodies["PATCH", "/api/tasks/44"]) == {"name": "ActiveLearning_Iteration_1"}


def test_the_jobs_are_counted_by_their_own_state(life: Recorded) -> None:
    """The recorded task still says "annotation", because its jobs were never accepted."""
    done, total = client(life).jobs(44)
    assert total == 3
    assert done < total


def test_shapes_come_with_the_names_of_their_labels(life: Recorded) -> None:
    frames = client(life).annotations(44)
    assert frames[0] == AnnotatedFrame("frame_00.png", 160, 120, False, [TOOL, MASK])
    assert [frame.name for frame in frames] == ["frame_00.png", "frame_01.png", "frame_02.png"]
    assert frames[2].shapes == []


def test_only_numbered_tasks_of_the_prefix_are_the_loops(life: Recorded) -> None:
    found = client(life).tasks(48)
    assert all(isinstance(task, Task) and task.stage in ("open", "done", "uploading") for task in found)
    assert all(re.fullmatch(r"(DONE_|UPLOADING_)?ActiveLearning_Iteration_\d+", task.name) for task in found)


def test_a_wrong_password_is_said_in_the_words_of_the_operator(errors: Recorded) -> None:
    errors.replies["POST", "/api/auth/login"] = errors.replies["POST", "/api/auth/login"][-1:]
    with pytest.raises(CvatError) as caught:
        client(errors).project(None)
    assert caught.value.what == f"CVAT at {errors.url} refuses user 'lab'"
    assert "vaulted password" in caught.value.remedy


def test_a_task_that_is_gone_is_known_from_a_proxy_that_knows_nothing(errors: Recorded) -> None:
    cvat = client(errors)
    errors.replies["GET", "/api/tasks/44"] = [one for one in exchanges("cleanup") if one.reply.status == 404]
    with pytest.raises(Gone):
        cvat.frames(44)
    nothing = [one for one in exchanges("errors") if one.request["path"] == "/api/nothing"]
    errors.replies["GET", "/api/tasks/44"] = nothing
    with pytest.raises(CvatError, match="is not CVAT") as caught:
        cvat.frames(44)
    assert not isinstance(caught.value, Gone)


def test_the_untouched_frames_are_those_that_nobody_has_worked_on(life: Recorded) -> None:
    """Of the recorded task the first frame has shapes, and so has the second as long as its job is not completed."""
    annotated = life.replies["GET", "/api/tasks/44/annotations"]
    assert client(life).untouched(44) == Untouched(frozenset({"Tool", "InBody"}), ["frame_02.png"], 2)
    life.replies["GET", "/api/tasks/44/annotations"] = [with_body(annotated[0], shapes=[], tracks=[])]
    assert len(client(life).untouched(44).frames) == 3
    jobs = life.replies["GET", "/api/jobs"]
    jobs[:] = [with_body(jobs[0], results=[{**each, "state": "completed"} for each in jobs[0].reply.body["results"]])]
    assert client(life).untouched(44) == Untouched(frozenset({"Tool", "InBody"}), [], 3)
    # Nor do they get what the model has seen on them before the jobs were completed.
    tool = Shape("Tool", "rectangle", [1.0, 2.0, 30.0, 40.0])
    assert client(life).preannotate(44, {"frame_02.png": [tool]}) == {}


def test_projects_and_tasks_are_listed_with_their_progress(life: Recorded) -> None:
    life.replies["GET", "/api/tasks/45/annotations"] = life.replies["GET", "/api/tasks/44/annotations"]
    found = client(life).listing()
    assert {"id": 48, "name": "recording"} in found["projects"]
    assert [each["id"] for each in found["tasks"]] == [44, 45]
    first = found["tasks"][0]
    assert (first["name"], first["frames"]) == ("DONE_ActiveLearning_Iteration_1", 3)
    assert (first["project"], first["project_id"]) == ("recording", 48)
    assert (first["jobs"], first["jobs_done"], first["frames_with_shapes"]) == (3, 0, 2)


def test_a_task_whose_frames_never_came_is_seen_as_empty(life: Recorded) -> None:
    """CVAT leaves the size of such a task out."""
    made = life.replies["POST", "/api/tasks"][0].reply.body
    assert "size" not in made
    listed = life.replies["GET", "/api/tasks"]
    life.replies["GET", "/api/tasks"] = [with_body(listed[0], results=[made])]
    life.replies["GET", "/api/tasks/44"] = [with_body(life.replies["GET", "/api/tasks/44"][0], **made)]
    del life.replies["GET", "/api/tasks/44"][0].reply.body["size"]
    cvat = client(life)
    assert cvat.tasks(48) == [Task(44, "ActiveLearning_Iteration_1", 1, "open", 0)]
    assert cvat.listing()["tasks"][0]["frames"] == 0
    with pytest.raises(Unfit):
        cvat.untouched(44)


def with_body(exchange: Exchange, **changes: Any) -> Exchange:
    """What was recorded, with another reply."""
    return replace(exchange, reply=replace(exchange.reply, body={**exchange.reply.body, **changes}))
