"""MONAI Label: started as the original instructions say, healthy, and the loop has put frames into CVAT."""

from __future__ import annotations

import json
from typing import Any

from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import cvat, open_tasks, wait_until

DATASETS = "/srv/endolab/datasets"
APPS = "/srv/endolab/apps"
ARGUMENTS = (
    "start_server --app apps/endoscopy --studies datasets/images --conf models tooltracking"
    " --conf epistemic_enabled true --conf epistemic_top_k 10"
)


def test_the_container_is_as_the_instructions_say(containers: dict[str, Container]) -> None:
    container = containers["monailabel"]
    config = container.attrs["HostConfig"]
    assert config["NetworkMode"] == "host"
    assert config["IpcMode"] == "host"
    assert config["DeviceRequests"][0]["DeviceIDs"] == ["nvidia.com/gpu=all"]
    assert container.attrs["Config"]["WorkingDir"] == "/opt/monai"
    mounts = {mount["Destination"]: (mount["Source"], mount["RW"]) for mount in container.attrs["Mounts"]}
    assert mounts["/opt/monai/datasets"] == (DATASETS, True)
    assert mounts["/opt/monai/apps"] == (APPS, True)
    assert mounts["/run/endolab"] == ("/etc/endolab/monailabel", False)


def test_it_is_healthy_and_comes_back(containers: dict[str, Container]) -> None:
    container = containers["monailabel"]
    assert container.attrs["State"]["Health"]["Status"] == "healthy"
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_the_server_has_the_arguments_of_the_instructions(containers: dict[str, Container]) -> None:
    processes = containers["monailabel"].top()["Processes"]
    assert any(ARGUMENTS in " ".join(process) for process in processes)
    assert any("--host 127.0.0.1" in " ".join(process) for process in processes)


def test_it_listens_on_loopback_only(host: Host) -> None:
    assert host.socket("tcp://127.0.0.1:8000").is_listening
    assert not host.socket("tcp://0.0.0.0:8000").is_listening


def test_it_answers_with_the_model(host: Host) -> None:
    info = json.loads(host.check_output("curl -fsS http://127.0.0.1:8000/info/"))
    assert "tooltracking" in info["models"]


def test_the_init_script_is_rendered_into_the_dataset(host: Host) -> None:
    script = host.file(f"{DATASETS}/run_monailabelinits.sh")
    assert script.mode == 0o755
    assert script.user == "root"
    assert "export MONAI_LABEL_DATASTORE=cvat" in script.content_string
    assert "export MONAI_LABEL_DATASTORE_URL=http://127.0.0.1:8080" in script.content_string


def test_the_bundle_is_whole(host: Host) -> None:
    bundle = f"{APPS}/endoscopy/model/endoscopic_tool_segmentation"
    for file in ("configs/inference.json", "configs/train.json", "configs/metadata.json", "models/model.pt"):
        assert host.file(f"{bundle}/{file}").size > 0


def test_no_bundle_was_downloaded(containers: dict[str, Container]) -> None:
    log = containers["monailabel"].logs()
    assert not [line for line in log.splitlines() if b"ownload" in line and b"final labels" not in line]


def test_it_runs_endolabs_app_on_the_shipped_one(host: Host) -> None:
    assert host.file(f"{APPS}/endoscopy/endolab_loop/loop.py").exists
    assert not host.file(f"{APPS}/endoscopy/lib/configs").exists
    assert "Endoscopy (0.8.5)" in host.check_output("curl -fsS http://127.0.0.1:8000/info/")


def test_a_wrong_key_stops_the_start_with_the_right_one(containers: dict[str, Container]) -> None:
    command = "python3 -m monailabel.main start_server --app apps/endoscopy --studies /tmp --port 8001 --conf modles x"
    code, output = containers["monailabel"].exec_run(["bash", "-c", command], workdir="/opt/monai")
    assert code == 3
    assert b"--conf modles is read by nobody; did you mean models?" in output


def test_the_loop_is_alive(host: Host) -> None:
    loop = json.loads(host.check_output("curl -fsS http://127.0.0.1:8000/loop"))
    assert loop["healthy"], loop
    assert loop["error"] is None


def test_frames_are_in_cvat_in_a_task_of_the_loop(host: Host, variables: dict[str, Any]) -> None:
    def tasks() -> list[dict[str, Any]]:
        return open_tasks(host, variables, "tasks?search=ActiveLearning_Iteration")

    wait_until(lambda: bool(tasks()), 300, "an open task")
    assert [(task["name"], task["size"]) for task in tasks()] == [("ActiveLearning_Iteration_1", 10)]
    assert tasks()[0]["owner"]["username"] == "monailabel"
    project = cvat(host, variables, "projects?search=MONAILabel")["results"][0]
    assert tasks()[0]["project_id"] == project["id"]
    assert cvat(host, variables, f"jobs?task_id={tasks()[0]['id']}")["count"] == 10


def test_the_frames_of_the_task_are_frames_of_the_dataset(host: Host, variables: dict[str, Any]) -> None:
    task = cvat(host, variables, "tasks?search=ActiveLearning_Iteration_1")["results"][0]
    meta = cvat(host, variables, f"tasks/{task['id']}/data/meta")
    images = set(host.file(f"{DATASETS}/images").listdir())
    assert {frame["name"] for frame in meta["frames"]} <= images


def test_every_frame_has_a_score(host: Host) -> None:
    store = json.loads(host.file(f"{DATASETS}/images/datastore_v2.json").content_string)
    scored = [name for name, entry in store["objects"].items() if "epistemic" in json.dumps(entry)]
    assert len(scored) == 24
