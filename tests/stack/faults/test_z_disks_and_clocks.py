"""Disks that fill and a clock that jumps; after the other faults, because they move the lab's files about."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from cvat_sdk import models
from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction
from cvat_sdk.core.proxies.jobs import Job
from cvat_sdk.exceptions import ApiException
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.common import SERVICES, healthy, put, wait_until
from tests.stack.faults.conftest import Survives
from tests.stack.lab import DATASETS, STUDIES, Lab

FULL = r"the disk of \S+ is full|the disk is full \(\[Errno 28\] .+\)"

DATABASE = "/var/lib/docker/volumes/cvat_db/_data"


@contextmanager
def on_a_disk_of_its_own(host: Host, container: Container, directory: str, mib: int) -> Iterator[None]:
    """What a container works in has a disk with so much room beyond what it holds."""

    def move(here: str, there: str) -> None:
        host.check_output("cp -a %s/. %s", here, there)

    aside = "/var/tmp/aside"
    container.stop()
    held = int(host.check_output("du -sm %s", directory).split()[0])
    host.check_output("mkdir %s", aside)
    move(directory, aside)
    host.check_output("mount -t tmpfs -o size=%sm tmpfs %s", str(held + mib), directory)
    host.check_output("chown --reference=%s %s; chmod --reference=%s %s", aside, directory, aside, directory)
    move(aside, directory)
    container.start()
    try:
        yield
    finally:
        container.stop()
        host.check_output("rm -r %s; mkdir %s", aside, aside)
        move(directory, aside)
        host.check_output("umount %s; find %s -mindepth 1 -delete", directory, directory)
        move(aside, directory)
        host.check_output("rm -r %s", aside)
        container.start()


@contextmanager
def full(host: Host, directory: str) -> Iterator[None]:
    """Not a byte is left, for as long as this lasts."""
    filler = f"{directory}/filler"
    host.run("dd if=/dev/zero of=%s bs=1M", filler)
    host.run("dd if=/dev/zero of=%s.rest bs=1", filler)
    assert host.check_output("df --output=avail %s", directory).split()[-1] == "0"
    yield
    host.check_output("rm %s %s.rest", filler, filler)


def test_the_frames_disk_is_full_when_labels_are_due(
    survives: Survives, lab: Lab, engine: docker.DockerClient, host: Host
) -> None:
    server = engine.containers.get("monailabel")
    with on_a_disk_of_its_own(host, server, STUDIES, mib=1200):
        with survives("the disk of frames and labels is full when labels are due"):
            lab.wait(60, "people are told before", lambda loop: "GiB are left on the disk" in (loop["warning"] or ""))
            lab.answer()
            with full(host, STUDIES):
                # Seen before something is begun, or by what cannot be written then.
                assert re.fullmatch(FULL, lab.broken()["error"]["what"])
        for name in host.file(f"{STUDIES}/labels/final").listdir():
            host.check_output("python3 -c %s %s", CHECK_PNG, f"{STUDIES}/labels/final/{name}")
    wait_until(lambda: healthy(engine) == SERVICES, 300, "every container healthy")


# A PNG that was cut lacks its last chunk.
CHECK_PNG = "import sys; assert open(sys.argv[1], 'rb').read()[-8:-4] == b'IEND'"


def annotate_until_refused(job: Job) -> None:
    """Draws more and more on its first frame; raises what CVAT says at last."""
    (label, *_) = job.get_labels()
    dot = models.LabeledShapeRequest(type="points", label_id=label.id, frame=job.start_frame, points=[1.0, 1.0])
    while True:
        job.update_annotations(
            models.PatchedLabeledDataRequest(shapes=[dot] * 1000), action=AnnotationUpdateAction.CREATE
        )


def test_dockers_disk_is_full_while_people_annotate(
    survives: Survives, lab: Lab, engine: docker.DockerClient, host: Host
) -> None:
    """It is the database that needs it. What was refused is drawn again afterwards."""
    with on_a_disk_of_its_own(host, engine.containers.get("cvat-db-1"), DATABASE, mib=64):
        wait_until(lab.answers, 120, "CVAT answers")
        with survives("the disk of CVAT's database is full while people annotate"):
            (task,) = lab.annotator().open_tasks("MONAILabel")
            (job,) = task.get_jobs()
            with full(host, DATABASE), pytest.raises(ApiException):
                annotate_until_refused(job)
            wait_until(lab.answers, 120, "CVAT answers")
            job.remove_annotations()
    wait_until(lambda: healthy(engine) == SERVICES, 300, "every container healthy")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What gives a process another time than the host has, whose clock is this machine's own."""
    folder = tmp_path_factory.mktemp("faketime")
    subprocess.run(["apt-get", "download", "libfaketime"], cwd=folder, check=True, capture_output=True)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg", "-x", package, "."], cwd=folder, check=True)
    (found,) = folder.rglob("libfaketime.so.1")
    return found.read_bytes()


# The library takes its offset off the end of every sleep, on the monotonic clock too, which Python sleeps by.
SLEEP = b"""import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


class Clock:
    """MONAI Label's clock."""

    at = Path("/opt/monai/datasets/faketime")

    def __init__(self, host: Host) -> None:
        self.file = f"{DATASETS}/faketime/time"
        self.host = host

    def set(self, offset: str) -> None:
        """So far from the host's, as libfaketime writes it: +40d."""
        self.host.check_output("echo %s > %s.new && mv %s.new %s", offset, self.file, self.file, self.file)


@pytest.fixture(scope="module")
def clock(host: Host, library: bytes, variables: dict[str, object]) -> Iterator[Clock]:
    """For the server that the init script starts, as long as these tests last."""
    script, name = f"{DATASETS}/run_monailabelinits.sh", str(variables["inventory_hostname"])
    clock = Clock(host)
    host.check_output("mkdir %s/faketime; cp -p %s %s.before", DATASETS, script, script)
    put(
        docker.from_env().containers.get(name),
        f"{DATASETS}/faketime",
        {"libfaketime.so.1": library, "sitecustomize.py": SLEEP},
    )
    clock.set("+0")
    exported = (
        f"export LD_PRELOAD={clock.at}/libfaketime.so.1 FAKETIME_TIMESTAMP_FILE={clock.at}/time"
        f" FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1 PYTHONPATH={clock.at}"
    )
    host.check_output("sed -i %s %s && docker restart monailabel", f"3i {exported}", script)
    yield clock
    host.check_output("mv %s.before %s && docker restart monailabel && rm -r %s/faketime", script, script, DATASETS)


@pytest.mark.parametrize("offset", ["+40d", "-40d"])
def test_a_clock_that_jumps(survives: Survives, clock: Clock, lab: Lab, offset: str) -> None:
    with survives(f"MONAI Label's clock jumps by {offset}"):
        clock.set(offset)
        jumped = lab.loop()["alive_at"]
        lab.wait(60, "the loop lives in another time", lambda loop: loop["alive_at"][:10] != jumped[:10])
        lab.answer()
    assert lab.loop()["training"][0]["iteration"]
