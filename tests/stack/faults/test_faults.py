"""What labs do to a lab, one after the other; each test leaves the loop with an open task."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import docker
import pytest
from docker.models.containers import Container
from PIL import Image

from tests.stack.common import SERVICES, healthy, put, wait_until
from tests.stack.faults.conftest import Survives
from tests.stack.lab import STUDIES, Lab

Play = Callable[..., subprocess.CompletedProcess[str]]

SERVER = "monailabel.main start_serve[r]"

# Seconds that an outage lasts.
AWAY = 90


def all_well(engine: docker.DockerClient) -> None:
    wait_until(lambda: healthy(engine) == SERVICES, 300, "every container healthy")


def process_of(engine: docker.DockerClient, name: str | None) -> int:
    """A container's first process, as the host numbers it."""
    return int(engine.api.inspect_container(str(name))["State"]["Pid"])


@contextmanager
def away(container: Container) -> Iterator[None]:
    container.stop()
    yield
    time.sleep(AWAY)
    container.start()


def test_a_reboot_of_the_host(survives: Survives, lab: Lab, host_container: Container) -> None:
    with survives("the host restarts"):
        host_container.restart(timeout=60)
        wait_until(lambda: lab.host.run("docker info").rc == 0, 120, "the engine")


def test_a_restart_of_docker(survives: Survives, lab: Lab, engine: docker.DockerClient) -> None:
    before = {each.id: process_of(engine, str(each.id)) for each in engine.containers.list()}
    with survives("Docker restarts"):
        lab.host.check_output("systemctl restart docker")
    assert {each: process_of(engine, each) for each in before} == before, "no container has"


def test_a_reload_of_systemd(survives: Survives, lab: Lab, engine: docker.DockerClient) -> None:
    with survives("systemd reads its units anew"):
        lab.host.check_output("systemctl daemon-reload")
    assert engine.containers.get("monailabel").exec_run(["nvidia-smi", "-L"])[0] == 0, "it still has its GPU"


def test_a_driver_that_was_updated_without_a_reboot(
    survives: Survives, lab: Lab, engine: docker.DockerClient, play: Play
) -> None:
    started = engine.containers.get("monailabel").attrs["State"]["StartedAt"]
    (library,) = lab.host.check_output("ls /usr/lib/*/libnvidia-ml.so.*.*").split()
    name, _, loaded = library.partition(".so.")
    with survives("the driver and its libraries have other versions"):
        lab.host.check_output("mv %s %s.so.590.44.01", library, name)
        mismatch = f"is {loaded}, and its libraries are 590.44.01"
        assert f"the NVIDIA driver that runs {mismatch}" in " ".join(play("playbooks/status.yml").stdout.split())
        done = play("site.yml")
        assert done.returncode != 0
        assert "Reboot endolab-faults." in " ".join(done.stdout.split())
        lab.host.check_output("mv %s.so.590.44.01 %s", name, library)
    assert engine.containers.get("monailabel").attrs["State"]["StartedAt"] == started, "it went on with what it had"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_that_is_killed(survives: Survives, lab: Lab, engine: docker.DockerClient, name: str) -> None:
    all_well(engine)
    with survives(f"kill -9 of {name}"):
        killed = process_of(engine, name)
        lab.host.check_output("kill -9 %s", str(killed))
        wait_until(lambda: process_of(engine, name) not in (0, killed), 60, "Docker starts it again")
    all_well(engine)


def kill_when(lab: Lab, condition: str) -> None:
    """Kills MONAI Label's server as soon as a command of the shell succeeds."""
    lab.host.check_output(f"timeout 120 sh -c 'until {condition}; do :; done' && pkill -9 -f '{SERVER}'")


@pytest.mark.parametrize("phase", ["scoring", "training"])
def test_monai_label_is_killed(survives: Survives, lab: Lab, phase: str) -> None:
    with survives(f"MONAI Label is killed while {phase}"):
        lab.answer()
        kill_when(lab, f'grep -qs "phase.: .{phase}" {STUDIES}/loop/status.json')


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("while a training writes its checkpoint", "model/.training-*/models/model.pt"),
        ("while better weights are put in place", "model/*/models/model.pt.candidate"),
    ],
)
def test_monai_label_is_killed_with_weights_half_written(survives: Survives, lab: Lab, what: str, file: str) -> None:
    """The copy that is trained on has the weights in use at first; written are those that are not of 1970."""
    with survives(f"MONAI Label is killed {what}"):
        lab.answer()
        kill_when(lab, f'[ "$(find /srv/endolab/apps/endoscopy/{file} -newermt 2000-01-01 2>/dev/null)" ]')


@pytest.mark.parametrize("phase", ["annotating", "training", "scoring", "uploading"])
def test_cvat_is_away(survives: Survives, lab: Lab, engine: docker.DockerClient, phase: str) -> None:
    with survives(f"CVAT is away for {AWAY} s while {phase}"):
        if phase != "annotating":
            lab.answer()
        lab.wait(120, phase, lambda loop: loop["phase"] == phase)
        with away(engine.containers.get("cvat-server-1")):
            pass


def test_cvat_is_away_when_labels_are_due(survives: Survives, lab: Lab, engine: docker.DockerClient) -> None:
    with survives(f"CVAT is away for {AWAY} s when labels are due"):
        engine.containers.get("monailabel").pause()
        lab.answer()
        with away(engine.containers.get("cvat-server-1")):
            engine.containers.get("monailabel").unpause()


def test_a_network_that_drops_everything(survives: Survives, lab: Lab) -> None:
    table = "add table ip cut; add chain ip cut out { type filter hook output priority 0; }; add rule ip cut out"
    with survives(f"the network between MONAI Label and CVAT is cut for {AWAY} s"):
        lab.host.check_output("nft %s", f"{table} ip daddr 127.0.0.1 tcp dport 28080 drop")
        time.sleep(AWAY)
        lab.host.check_output("nft delete table ip cut")


def test_postgresql_restarts_under_load(survives: Survives, lab: Lab, engine: docker.DockerClient) -> None:
    """Whoever writes then is told of the error; what was confirmed is there."""
    annotator = lab.annotator()
    with survives("PostgreSQL restarts under load"):
        (task,) = annotator.open_tasks("MONAILabel")
        jobs = annotator.open_jobs(task)
        confirmed = 0
        engine.containers.get("cvat-db-1").restart(timeout=10)
        end = time.monotonic() + 120
        while confirmed < 10:
            try:
                annotator.answer(task, jobs)
                confirmed += 1
            except Exception:
                assert time.monotonic() < end, "CVAT takes annotations again"


@pytest.mark.parametrize("name", ["import", "export"])
def test_workers_that_hang(survives: Survives, lab: Lab, engine: docker.DockerClient, name: str) -> None:
    container = engine.containers.get(f"cvat-worker_{name}-1")
    all_well(engine)
    with survives(f"the {name} workers hang"):
        first = process_of(engine, str(container.name))
        lab.host.check_output("pkill -STOP -P %s", str(first))
        wait_until(lambda: process_of(engine, str(container.name)) not in (0, first), 600, "they are started again")
    all_well(engine)


def picture(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(content, "PNG")
    return content.getvalue()


def test_frames_that_are_none(survives: Survives, lab: Lab, host_container: Container) -> None:
    """Neither scores nor tasks come of them, and those of the others do."""
    good = picture(64, 64)
    bad = {"empty": b"", "torn": good[: len(good) // 2], "text": b"no picture", "wide": picture(12000, 200)}
    frames = lab.loop()["frames"]["total"]
    with survives("frames are empty, torn, no pictures, and 12,000 pixels wide"):
        put(host_container, STUDIES, {f"bad-{name}.png": content for name, content in bad.items()})
        lab.wait(60, "they are there", lambda loop: loop["frames"]["total"] == frames + len(bad))
    lab.wait(120, "they are known", lambda loop: loop["frames"]["unreadable"] >= 3)
    lab.host.check_output("rm %s/bad-*.png", STUDIES)


def test_a_frame_that_vanishes(survives: Survives, lab: Lab) -> None:
    """The one that is asked for: its label has nothing to belong to, which is said."""
    with survives("a frame vanishes while it is annotated"):
        iteration = lab.loop()["iteration"]
        (frame,) = lab.task(iteration).get_frames_info()
        lab.host.check_output("rm %s", f"{STUDIES}/{frame.name}")
    assert any(frame.name in note["what"] for note in lab.loop()["notes"])


def test_a_label_that_is_deleted_when_it_is_due(survives: Survives, lab: Lab, engine: docker.DockerClient) -> None:
    """CVAT deletes what was drawn with it, too: that frame must not seem to show nothing."""
    remove = (
        "from cvat_stand_in.models import Annotation, Label\n"
        "label = Label.objects.get(name='Tool', project__name='MONAILabel')\n"
        "due = Annotation.objects.filter(content__label_id=label.id, job__task__name__startswith='ActiveLearning')\n"
        "due.delete(); label.delete()"
    )
    manage = ". /etc/cvat/init.d/passwords && python3 /opt/cvat/manage.py shell -c"
    with survives("a label is deleted in CVAT when it is due"):
        engine.containers.get("monailabel").pause()
        (task,) = lab.annotator().open_tasks("MONAILabel")
        lab.answer()
        lab.host.check_output("docker exec cvat-server-1 bash -c %s", f'{manage} "{remove}"')
        engine.containers.get("monailabel").unpause()
        assert "has no label Tool" in lab.broken()["error"]["what"]
        for job in task.get_jobs():
            job.update({"state": "in progress"})
        (project,) = lab.annotator().client.projects.list(name="MONAILabel")
        project.update({"labels": [{"name": "Tool"}]})
