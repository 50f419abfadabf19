"""The canary's own judgement, and that it cleans up after itself whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import canary
import numpy as np
import pytest
import yaml
from canary_follow import find
from cvat_sdk.api_client.exceptions import ApiException, NotFoundException
from cvat_sdk.masks import encode_mask
from endolab_loop.conf import Conf
from endolab_loop.cvat import CvatError
from endolab_loop.shapes import Shape, rasterise
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
FOLLOW = ROOT / "roles" / "monailabel" / "files" / "canary_follow.py"
NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
AWAY = CvatError("CVAT does not answer", "start it")


def test_the_role_asks_for_the_steps_that_there_are() -> None:
    values = yaml.safe_load((ROOT / "roles" / "monailabel" / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert tuple(values["__monailabel_canary_steps"]) == canary.STEPS


def test_its_conf_is_one_that_the_app_reads() -> None:
    conf = Conf.model_validate(canary.CONF)
    assert (conf.epistemic_enabled, conf.epistemic_top_k, conf.train_max_epochs) == (True, canary.TOP_K, 1)
    assert canary.LABEL in conf.label_map


# Frames, and what becomes of them.


def test_the_frames_differ_and_are_the_same_at_each_run() -> None:
    frames = [canary.draw(number) for number in range(canary.FRAMES)]
    assert len({picture.tobytes() for picture, _ in frames}) == canary.FRAMES
    for number, (picture, mask) in enumerate(frames):
        assert picture.tobytes() == canary.draw(number)[0].tobytes()
        assert picture.shape == (*mask.shape, 3)
        assert 0.01 < mask.mean() < 0.5


def test_a_label_is_compared_with_what_was_drawn(tmp_path: Path) -> None:
    label = tmp_path / "canary_1.png"
    _, mask = canary.draw(1)
    pixels = rasterise([Shape("Tool", "mask", encode_mask(mask))], *canary.SIZE, {"Tool": 2})
    Image.fromarray(pixels).save(label)
    assert canary.mislabelled(label, mask, 2) is None
    assert "differs from what was drawn in CVAT in " in (canary.mislabelled(label, mask, 1) or "")
    pixels[0, 0] ^= 2
    Image.fromarray(pixels).save(label)
    assert canary.mislabelled(label, mask, 2) == "canary_1.png differs from what was drawn in CVAT in 1 pixels"
    Image.fromarray(pixels.T).save(label)
    assert "has the shape" in (canary.mislabelled(label, mask, 2) or "")


SCORES = {"a": 0.1, "b": 0.3, "c": 0.3, "d": 0.2}


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"b", "c"}, None),
        ({"b", "d"}, "d is chosen with a score of 0.2, and c with 0.3 is not"),
        ({"b"}, "b chosen, instead of 2 of a, b, c, d"),
        ({"b", "x"}, "b, x chosen, instead of 2 of a, b, c, d"),
        (set(), "no frame chosen, instead of 2 of a, b, c, d"),
    ],
)
def test_the_highest_scores_have_to_be_chosen(chosen: set[str], why: str | None) -> None:
    assert canary.ill_chosen(SCORES, chosen, 2) == why


def test_which_of_equals_is_chosen_does_not_matter() -> None:
    assert canary.ill_chosen(SCORES, {"b"}, 1) is None
    assert canary.ill_chosen(SCORES, {"c"}, 1) is None


# Projects in CVAT.


def test_a_projects_name_says_when_its_canary_is_over() -> None:
    name = canary.project_name(NOW, 600)
    assert not canary.over(name, NOW + timedelta(seconds=600 + canary.CLEAN_UP_WITHIN))
    assert canary.over(name, NOW + timedelta(seconds=900))
    assert canary.project_name(NOW, 600) != name


@pytest.mark.parametrize("name", ["MONAILabel", "Endolab canary", "Endolab canary a until then", "My {} project"])
def test_no_other_name_is_ever_over(name: str) -> None:
    assert not canary.over(name.format(canary.project_name(NOW, 1)), NOW + timedelta(days=9))


class Remote:
    """CVAT's client, as far as removing goes; `busy` are the projects that its queues still work for, look by look."""

    def __init__(self, *projects: tuple[str, str], busy: list[set[int]] | None = None) -> None:
        self.left = dict(enumerate(projects))
        self.busy = busy or []
        self.projects = SimpleNamespace(list=self.list)
        self.api_client = SimpleNamespace(requests_api=SimpleNamespace(list_endpoint=self))

    def list(self, search: str) -> Iterator[Any]:
        for number, (owner, name) in list(self.left.items()):
            if search in name:
                yield SimpleNamespace(
                    id=number, name=name, owner=SimpleNamespace(username=owner), remove=lambda n=number: self.remove(n)
                )

    def remove(self, number: int) -> None:
        if not self.left.pop(number)[1].endswith("gone"):
            return
        raise NotFoundException(status=404)

    def call_with_http_info(self, **_: Any) -> tuple[Any, Any]:
        busy = self.busy.pop(0) if self.busy else set()
        results = [{"operation": {"project_id": number}, "status": "started"} for number in busy]
        return None, SimpleNamespace(data=json.dumps({"results": results, "next": None}))


@pytest.fixture
def visitor(monkeypatch: pytest.MonkeyPatch) -> Callable[[Remote], canary.Visitor]:
    def make(remote: Remote) -> canary.Visitor:
        made = canary.Visitor("http://cvat.example", lambda: ("lab", "secret"), Conf.model_validate({}), lambda: None)
        monkeypatch.setattr(made, "log_in", lambda: None)
        monkeypatch.setattr(made, "_client", remote)
        return made

    monkeypatch.setattr(canary, "get_paginated_collection", lambda endpoint: requests(endpoint))
    return make


def requests(endpoint: Any) -> list[Any]:
    _, reply = endpoint.call_with_http_info()
    return [
        SimpleNamespace(operation=SimpleNamespace(**each["operation"]), status=each["status"])
        for each in json.loads(reply.data)["results"]
    ]


def test_only_what_is_its_accounts_own_is_removed(visitor: Callable[[Remote], canary.Visitor]) -> None:
    remote = Remote(
        ("lab", "Endolab canary 1"), ("lab", "Endolab canary 2"), ("admin", "Endolab canary 1"), ("lab", "MONAILabel")
    )
    assert visitor(remote).remove(lambda name: name.endswith("1")) == ["Endolab canary 1"]
    assert sorted(remote.left) == [1, 2, 3]


def test_what_somebody_else_removes_first_is_gone_all_the_same(visitor: Callable[[Remote], canary.Visitor]) -> None:
    remote = Remote(("lab", "Endolab canary gone"), ("lab", "Endolab canary"))
    assert len(visitor(remote).remove(lambda name: True)) == 2
    assert not remote.left


def test_cvat_ends_what_it_does_for_a_project_before_that_is_removed(
    visitor: Callable[[Remote], canary.Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    remote = Remote(("lab", "Endolab canary"), busy=[{0, 7}, {0}, {7}])
    visitor(remote).remove(lambda name: True)
    assert not remote.busy
    assert not remote.left


def test_a_refusal_of_cvats_is_said_in_its_words(visitor: Callable[[Remote], canary.Visitor]) -> None:
    remote = Remote(("lab", "Endolab canary"))

    def refuse(number: int) -> None:
        error = ApiException(status=403)
        error.body = '{"detail": "not yours"}'
        raise error

    remote.remove = refuse  # type: ignore[method-assign]
    with pytest.raises(CvatError, match="does not let user '' delete a canary's project"):
        visitor(remote).remove(lambda name: True)


# The report.


def test_who_follows_gets_each_step_when_it_is_done(tmp_path: Path) -> None:
    report = canary.Report(tmp_path / "report")
    assert find(report.path, "ready") is None
    report.step("ready", "it answers")
    with subprocess.Popen(
        [sys.executable, FOLLOW, report.path, "asked"], stdout=subprocess.PIPE, text=True
    ) as following:
        report.step("asked", "they are in CVAT")
        assert json.loads(following.communicate(timeout=20)[0])["what"] == "they are in CVAT"
    assert json.loads(find(report.path, "ready") or "")["what"] == "it answers"


def test_a_verdict_ends_all_waiting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = canary.Report(tmp_path / "report")
    report.step("ready", "it answers")
    report.verdict("CVAT is away: start it", ["the end of a log"])
    line = json.loads(find(report.path, "asked") or "")
    assert (line["passed"], line["why"], line["log"]) == (False, "CVAT is away: start it", ["the end of a log"])
    assert [step["step"] for step in line["steps"]] == ["ready"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == line


def test_half_a_line_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "report").write_text('{"step": "ready"}')
    assert find(tmp_path / "report", "ready") is None
    assert find(tmp_path / "none", "ready") is None


# Patience.


def test_patience_ends_with_its_time() -> None:
    with pytest.raises(canary.Failure, match=r"^0.1 s have not been enough until the labels are back: "):
        canary.Patience(0.1).until("the labels are back", lambda: None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_waiting_and_no_more(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    patience = canary.Patience(60)
    patience.listen()
    try:
        os.kill(os.getpid(), number)
        with pytest.raises(canary.Failure, match=rf"^it was stopped \({number.name}\) before the labels are back: "):
            patience.until("the labels are back", lambda: None)
        started = time.monotonic()
        patience.pause(0.2)
        assert time.monotonic() - started >= 0.2
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_what_is_there_already_is_found_also_without_time() -> None:
    assert canary.Patience(-1).until("it is there", lambda: "found") == "found"


# The server.


@pytest.fixture
def server(tmp_path: Path) -> Iterator[canary.Server]:
    server = canary.Server(tmp_path, {})
    yield server
    server.stop()


def run_as(server: canary.Server, *command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    server._process = process
    return process


def test_the_app_is_copied_without_what_no_server_reads(server: canary.Server, tmp_path: Path) -> None:
    app = tmp_path / "lab" / "endoscopy"
    wanted = ["main.py", "endolab_loop/loop.py", "libraries/cvat-sdk.zip", "model/bundle/models/model.pt"]
    unread = ["model/bundle/models/previous/model-1.pt", "model/bundle/eval/x", "model/other/models/model.pt"]
    unread += ["logs/app.log", "lib/x", "__pycache__/main.pyc", "model/bundle/models/model.pt.candidate"]
    for name in wanted + unread:
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(name)
    server.lay_out(app, "bundle", {"canary_1": canary.draw(1)})
    copied = server.directory / "app"
    assert sorted(str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file()) == sorted(wanted)
    with Image.open(server.studies / "canary_1.png") as image:
        assert np.array_equal(np.asarray(image), canary.draw(1)[0])


def test_its_children_end_with_it(server: canary.Server) -> None:
    process = run_as(server, "bash", "-c", "sleep 600 & echo $!; wait")
    assert process.stdout
    child = int(process.stdout.readline())
    server.stop()
    end = time.monotonic() + 10
    while alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(child)
    server.stop()


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_that_has_ended_is_not_waited_for(server: canary.Server) -> None:
    run_as(server, "bash", "-c", "exit 3").wait()
    with pytest.raises(canary.Failure, match="has ended by itself with 3"):
        server.status()


@pytest.fixture
def loop(server: canary.Server) -> Iterator[dict[str, Any]]:
    """What the loop of a server says."""
    said: dict[str, Any] = {"phase": "annotating", "task": {"id": 1, "name": "A_1"}, "error": None}

    class Loop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: Any) -> None:
            pass

    http = HTTPServer(("127.0.0.1", 0), Loop)
    Thread(target=http.serve_forever, daemon=True).start()
    run_as(server, "sleep", "600")
    server.port = http.server_port
    yield said
    http.shutdown()
    http.server_close()


def test_a_server_that_does_not_answer_yet_is_waited_for(server: canary.Server) -> None:
    run_as(server, "sleep", "600")
    server.port = 9
    assert server.status() is None
    assert server.open_task("A_1") is None


def test_an_open_task_is_known_by_its_name(server: canary.Server, loop: dict[str, Any]) -> None:
    assert server.open_task("A_1") == {"id": 1, "name": "A_1"}
    assert server.open_task("A_2") is None
    loop["phase"] = "uploading"
    assert server.open_task("A_1") is None


def test_an_error_is_given_time_to_mend_itself(server: canary.Server, loop: dict[str, Any]) -> None:
    now = datetime.now(timezone.utc)
    loop["error"] = {"what": "CVAT does not answer", "remedy": "start it", "since": now.isoformat()}
    assert server.status()
    loop["error"]["since"] = (now - timedelta(seconds=canary.ERROR_PATIENCE + 1)).isoformat()
    with pytest.raises(canary.Failure, match="CVAT does not answer: start it"):
        server.status()


# The round: whatever happens, it cleans up.


@pytest.fixture
def round_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> canary.Canary:
    monkeypatch.setenv("MONAI_LABEL_DATASTORE_URL", "http://cvat.example")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return canary.Canary(tmp_path, tmp_path, "bundle", {"cvat_task_prefix": "A", "epistemic_top_k": "9"}, patience())


def patience() -> canary.Patience:
    return canary.Patience(60)


def verdict(report: canary.Report) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(report.path.read_text().splitlines()[-1])
    return said


def test_it_asks_cvat_as_the_lab_does_in_a_project_of_its_own(round_: canary.Canary) -> None:
    conf = round_.server.conf
    assert conf["cvat_task_prefix"] == "A"
    assert conf["epistemic_top_k"] == str(canary.TOP_K)
    assert canary.NAME.fullmatch(conf["cvat_project"])
    assert round_.conf.cvat_project == conf["cvat_project"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (canary.Failure("it was stopped"), "it was stopped"),
        (AWAY, "CVAT does not answer: start it"),
        (KeyError("epistemic_entropy"), "KeyError: 'epistemic_entropy': report it"),
    ],
    ids=["failure", "CVAT", "surprise"],
)
def test_it_cleans_up_whatever_happens(
    round_: canary.Canary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, why: str
) -> None:
    monkeypatch.setattr(round_, "go", raising(error))
    left = removing(monkeypatch, [round_.name])
    report = canary.Report(tmp_path / "report")
    assert not canary.run(round_, report)
    assert left == []
    assert (verdict(report)["passed"], verdict(report)["why"]) == (False, why)


def test_what_it_leaves_is_said_and_no_pass(
    round_: canary.Canary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(round_, "go", lambda _: None)
    monkeypatch.setattr(canary, "CLEAN_UP_WITHIN", 0)
    monkeypatch.setattr(canary.Visitor, "remove", raising(AWAY))
    report = canary.Report(tmp_path / "report")
    assert not canary.run(round_, report)
    assert verdict(report)["why"].startswith(f"project '{round_.name}' may be left in CVAT (CVAT does not answer")
    assert report.steps == []


def raising(error: Exception) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise error

    return call


def removing(monkeypatch: pytest.MonkeyPatch, *answers: Exception | list[str]) -> list[Exception | list[str]]:
    """Answers removals in this order; what it returns are the answers that are left."""
    left = list(answers)

    def remove(_: canary.Visitor, doomed: Callable[[str], bool]) -> list[str]:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(canary.Visitor, "remove", remove)
    return left


def test_a_cvat_that_is_away_is_asked_again(round_: canary.Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    left = removing(monkeypatch, AWAY, OSError("no such file"), AWAY, [round_.name])
    assert round_.clean_up() == ""
    assert left == []


def test_where_there_is_no_project_nothing_is_waited_for(
    round_: canary.Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = removing(monkeypatch, [], [])
    assert round_.clean_up() == ""
    assert len(left) == 1


def test_a_project_that_was_asked_for_without_an_answer_is_looked_for_longer(
    round_: canary.Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = removing(monkeypatch, [], [], [round_.name])
    round_.unanswered = True
    assert round_.clean_up() == ""
    assert left == []


def test_a_round_that_ends_well_passes(round_: canary.Canary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(round_, "go", lambda _: None)
    removing(monkeypatch, [round_.name])
    report = canary.Report(tmp_path / "report")
    assert canary.run(round_, report)
    assert verdict(report)["passed"]
    assert json.loads(find(report.path, "gone") or "")["what"] == "nothing of it is left"
