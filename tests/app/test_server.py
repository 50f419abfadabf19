"""MONAI Label's own server shows the loop's page and numbers, with heat maps from its own scoring."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import inputs
import pytest
from docker.models.containers import Container
from PIL import Image

from plugins.lookup import pure_python
from tests.app.conftest import IMAGE, ROOT

FRAMES = ["frame_1", "frame_2"]
START_TIMEOUT = 300.0

# Status, type, policy and first bytes of what is at a path.
ASK = """
import json, sys, urllib.request
with urllib.request.urlopen("http://127.0.0.1:8000" + sys.argv[1], timeout=30) as answer:
    content = answer.read().decode("latin-1")
print(json.dumps([answer.status, *map(answer.headers.get, ["Content-Type", "Content-Security-Policy"]), content]))
"""


LIST_FRAMES = """
import json, sys
sys.path.insert(0, "/lab/app")
from endolab_loop.datastore import LoopDatastore
frames = LoopDatastore("/lab/studies", "http://127.0.0.1:9", extensions=("*.png",)).frames()
print(json.dumps({name: str(file) for name, (file, _, _) in frames.items()}))
"""

# The server copies frames in and looks at them; a child of its scores those that were there.
TWO_WRITERS = """
import json, shutil, sys, threading, time
from pathlib import Path
sys.path.insert(0, "/lab/app")
from endolab_loop.datastore import LoopDatastore

frame, studies = Path("/lab/studies/frame_1.png"), Path("/tmp/two_writers")
studies.mkdir()
scored = [f"scored_{number}" for number in range(20)]
for name in scored:
    shutil.copyfile(frame, studies / f"{name}.png")
both = [LoopDatastore(str(studies), "http://127.0.0.1:9", extensions=("*.png",), auto_reload=True) for _ in range(2)]
server, child = both

def score():
    for name in scored:
        child.update_image_info(name, {"epistemic_entropy": 0.5})
        time.sleep(0.05)

scoring = threading.Thread(target=score)
scoring.start()
copied = 0
while scoring.is_alive():
    shutil.copyfile(frame, studies / f"copied_{copied}.png")
    copied += 1
    server.frames()
    time.sleep(0.05)
known = {name: info for name, (_, _, info) in server.frames().items()}
lost = [name for name in scored if "epistemic_entropy" not in known[name]]
print(json.dumps({"frames": len(known), "copied": copied, "lost": lost}))
"""

# As where no memory is left for another process.
NO_PROCESS = """
import sys
from types import SimpleNamespace
from unittest.mock import patch
sys.path[:0] = ["/lab/app", "/lab/app/libraries/cvat-sdk.zip"]
from endolab_loop.lab import LabError, MonaiLab
from monailabel.utils.async_tasks import utils

app = SimpleNamespace(async_scoring=lambda _: {"epistemic": utils.run_background_task({}, "scoring")})
with patch.object(utils.subprocess, "Popen", side_effect=OSError("Cannot allocate memory")):
    try:
        MonaiLab(app, [], {}, None).score()
    except LabError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """MONAI Label with the app and two frames, without a CVAT, that has scored its frames."""
    folder = tmp_path_factory.mktemp("server")
    app, studies = folder / "app", folder / "studies"
    shutil.copytree(ROOT / "apps" / "endoscopy", app, ignore=shutil.ignore_patterns("__pycache__"))
    (app / "libraries").mkdir()
    pure_python.pack("cvat-sdk", folder).rename(app / "libraries" / "cvat-sdk.zip")
    with zipfile.ZipFile(inputs.BUNDLE) as archive:
        archive.extractall(app / "model")
    (studies / "loop" / "iterations").mkdir(parents=True)
    for number, name in enumerate(FRAMES, start=1):
        # As links to files of one name, as cases in directories of their own would have it.
        (studies / name / "0001.png").parent.mkdir()
        Image.new("RGB", (320, 240), (90 * number, 40, 40)).save(studies / name / "0001.png")
        (studies / f"{name}.png").symlink_to(f"{name}/0001.png")
    Path(os.fsdecode(os.fsencode(studies) + b"/M\xfcller.png")).write_bytes(
        (studies / "frame_1.png").read_bytes()
    )  # not UTF-8, but Latin-1
    chosen = {"at": "2026-11-28T12:00:00+00:00", "chosen": dict.fromkeys(FRAMES, 0.1), "scores": {}}
    (studies / "loop" / "iterations" / "1.json").write_text(json.dumps(chosen))
    conf = {"models": "tooltracking", "epistemic_enabled": "true", "epistemic_simulation_size": "2"}
    conf["auto_finetune_check_interval"] = "1"
    command = ["python3", "-m", "monailabel.main", "start_server", "--app", "/lab/app", "--studies", "/lab/studies"]
    with closing(docker.from_env(timeout=600)) as engine:
        container = engine.containers.run(
            IMAGE,
            [*command, "--host", "127.0.0.1", *(word for pair in conf.items() for word in ("--conf", *pair))],
            volumes={str(folder): {"bind": "/lab", "mode": "rw"}},
            environment={
                "MONAI_LABEL_DATASTORE": "cvat",
                "MONAI_LABEL_DATASTORE_URL": "http://127.0.0.1:9",
                "MONAI_LABEL_DATASTORE_USERNAME": "monailabel",
                "MONAI_LABEL_DATASTORE_PASSWORD": "any",
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            network_mode="none",
            init=True,
            detach=True,
        )
        try:
            wait_for_scores(container, studies / "loop" / "status.json")
            yield container
        finally:
            container.remove(force=True)


def wait_for_scores(container: Container, status: Path) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not (status.exists() and json.loads(status.read_text())["frames"].get("scored") == len(FRAMES)):
        container.reload()
        assert container.status == "running", container.logs(tail=60).decode()
        assert time.monotonic() < end, container.logs(tail=60).decode()
        time.sleep(0.5)


def ask(server: Container, path: str) -> tuple[int, str, str | None, str]:
    code, (output, errors) = server.exec_run(["python3", "-c", ASK, path], demux=True)
    assert code == 0, errors
    status, kind, policy, content = json.loads(bytes(output))
    return status, kind, policy, content


def test_its_page_is_there(server: Container) -> None:
    status, kind, policy, content = ask(server, "/loop/page")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert policy
    assert policy.startswith("default-src 'none'")
    assert "CVAT at http://127.0.0.1:9 does not answer" in content
    assert all(f"<b>{name}</b>" in content for name in FRAMES)


def said(server: Container, script: str) -> str:
    """The last line of what a program in the server's container prints."""
    code, (output, errors) = server.exec_run(["timeout", "120", "python3", "-c", script], demux=True)
    assert code == 0, errors
    return bytes(output).decode().splitlines()[-1]


def test_frames_go_by_their_own_names(server: Container) -> None:
    assert json.loads(said(server, LIST_FRAMES)) == {name: f"/lab/studies/{name}.png" for name in FRAMES}


def test_a_childs_scores_stay_while_frames_are_copied_in(server: Container) -> None:
    found = json.loads(said(server, TWO_WRITERS))
    assert found["copied"] > 3, "they have met"
    assert found["lost"] == []
    assert found["frames"] == 20 + found["copied"]


def test_a_job_whose_process_does_not_start_has_failed(server: Container) -> None:
    assert said(server, NO_PROCESS).startswith("the scoring failed (it said nothing): see `docker logs monailabel`")


def test_its_scoring_has_left_heat_maps(server: Container) -> None:
    for name in FRAMES:
        status, kind, _, content = ask(server, f"/loop/frames/{name}/heat")
        assert (status, kind, content[1:4]) == (200, "image/png", "PNG")


def test_its_numbers_are_there(server: Container) -> None:
    status, kind, _, content = ask(server, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = content.splitlines()
    assert 'endolab_loop_frames{state="scored"} 2.0' in lines
    assert "endolab_loop_cvat_reachable{} 0.0" in lines
    assert "endolab_gpus_given{} 0.0" in lines
