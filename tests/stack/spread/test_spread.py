"""CVAT with the edge on one host, MONAI Label on another: what goes between them, and who else gets in."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import testinfra
from docker.models.containers import Container
from testinfra.host import Host

from tests.stack.archive import APPS, sums
from tests.stack.common import login
from tests.stack.privileges import documented, running

Play = Callable[..., subprocess.CompletedProcess[str]]

FRONT, MODEL = "endolab-front", "endolab-model"
NAME = "hop.endolab.internal"
TRUST = ("--cacert", "/etc/endolab/hop/peers.pem")
KEY = ("--cert", "/etc/endolab/hop/certificate.pem", "--key", "/etc/endolab/hop/secrets/key.pem")
SNIFFER = (Path(__file__).parent / "sniff.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def front() -> Host:
    return testinfra.get_host(f"docker://{FRONT}")


@pytest.fixture(scope="module")
def model() -> Host:
    return testinfra.get_host(f"docker://{MODEL}")


def address(name: str) -> str:
    networks = docker.from_env().containers.get(name).attrs["NetworkSettings"]["Networks"]
    return str(networks["endolab"]["IPAddress"])


def at_the_hop(host: Host, other: str, *options: str) -> str:
    """HTTP's status at the other end, asked from a host; 000 without one."""
    path = {FRONT: "api/server/about", MODEL: "info/"}[other]
    command = "curl -s -o /dev/null -w '%%{http_code}' --max-time 10 " + "%s " * (len(options) + 3)
    return str(
        host.run(command, "--resolve", f"{NAME}:8443:{address(other)}", *options, f"https://{NAME}:8443/{path}").stdout
    )


def weights(host: Host) -> dict[str, str]:
    """The sums of a model's weights."""
    return {path: digest for path, digest in sums(host).items() if path.endswith(".pt")}


@contextmanager
def overheard(name: str, *texts: str) -> Iterator[dict[str, Any]]:
    """What of these texts is on a host's wire meanwhile, and how much else."""
    heard: dict[str, Any] = {}
    command = ["docker", "exec", name, "python3", "-c", SNIFFER, "8", *texts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sniffer:
        assert sniffer.stdout is not None
        assert sniffer.stdout.readline() == "ready\n"
        yield heard
        heard.update(json.loads(sniffer.stdout.read()))


def test_the_lab_is_whole(play: Play) -> None:
    done = play("playbooks/verify.yml", "-e", "verify_first_task_timeout=300")
    assert done.returncode == 0, done.stdout


def test_each_host_makes_an_archive_of_what_it_has(play: Play, front: Host, model: Host) -> None:
    done = play("playbooks/backup.yml")
    assert done.returncode == 0, done.stdout
    kept = "cat /var/lib/endolab/backup/archive/manifest.json"
    cvats, monai_labels = (json.loads(host.check_output(kept)) for host in (front, model))
    assert list(cvats["parts"]) == ["cvat-data", "cvat-keys", "edge"]
    assert list(monai_labels["parts"]) == ["studies", "apps"]
    assert cvats["at"] <= monai_labels["at"], "labels are no earlier than the database"


def test_what_a_host_has_lost_comes_back_from_another_by_sftp(play: Play, front: Host, model: Host) -> None:
    assert front.check_output("ls /mnt/archives/endolab/snapshots")
    before = weights(model)
    model.check_output("rm -r %s/endoscopy/model", APPS)
    done = play("playbooks/restore.yml", "-e", "restore_replace=true")
    assert done.returncode == 0, done.stdout
    assert weights(model) == before


def test_the_nights_archive_of_labels_is_an_hour_after_cvats(front: Host, model: Host) -> None:
    show = "systemctl show --property=Unit --value endolab-backup.timer"
    assert front.check_output(show) == "endolab-backup.service"
    assert model.check_output(show) == "endolab-backup-later.service"
    model.check_output("systemd-analyze verify endolab-backup-later.service endolab-backup.timer")


def test_nothing_is_found_by_an_audit(play: Play) -> None:
    done = play("playbooks/audit.yml")
    assert done.returncode == 0, done.stdout


def test_the_status_links_to_the_door_and_has_both_hosts_in_a_table(play: Play) -> None:
    done = play("playbooks/status.yml")
    assert done.returncode == 0, done.stdout
    assert re.search(rf"https://{FRONT}/tasks/\d+", done.stdout)
    assert re.search(rf"^ *{FRONT} +- +-", done.stdout, re.M)
    assert re.search(rf"^ *{MODEL} +- +NVIDIA .+ MiB +[\d.]+ +\w+ +\d+ ", done.stdout, re.M), done.stdout


def test_the_door_leads_to_monai_label_for_those_whom_cvat_knows(front: Host, variables: dict[str, Any]) -> None:
    ask = "curl -s -k -o /dev/null -w '%%{http_code}' %s %s https://127.0.0.1/monailabel/info/ -H 'Host: endolab-front'"
    assert front.run(ask, "-u", login(variables, "service")).stdout == "200"
    assert front.run(ask, "-s", "-s").stdout == "401"
    assert front.run(ask, "-u", "service:wrong").stdout == "401"


@pytest.mark.parametrize(("end", "other"), [(FRONT, MODEL), (MODEL, FRONT)])
def test_each_end_lets_the_other_in_by_its_key_and_nobody_else(end: str, other: str) -> None:
    host, same = (testinfra.get_host(f"docker://{name}") for name in (end, other))
    assert at_the_hop(host, other, *TRUST, *KEY) == "200"
    assert at_the_hop(host, other, *TRUST) == "000"
    host.check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=stray"
        " -addext subjectAltName=DNS:hop.endolab.internal -keyout /tmp/stray.key -out /tmp/stray.pem"
    )
    assert at_the_hop(host, other, *TRUST, "--cert", "/tmp/stray.pem", "--key", "/tmp/stray.key") == "000"
    # The other end has a key, too, which is not this one's.
    assert at_the_hop(same, other, "-k", *KEY) == "000"
    assert at_the_hop(host, other, *KEY) == "000", "its certificate is pinned"


@pytest.mark.parametrize("name", [FRONT, MODEL])
def test_the_firewall_lets_the_other_end_alone_knock(name: str) -> None:
    """This machine is neither."""
    for port in (8443, 8000, 8080, 8081):
        command = ["curl", "-s", "-k", "--max-time", "5", f"https://{address(name)}:{port}/"]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 7


def test_no_key_leaves_its_host(front: Host, model: Host) -> None:
    keys = [host.check_output("cat /etc/endolab/hop/secrets/key.pem") for host in (front, model)]
    assert keys[0] != keys[1]
    for host, other in ((front, keys[1]), (model, keys[0])):
        assert host.file("/etc/endolab/hop/secrets/key.pem").mode == 0o600
        line = other.splitlines()[1]
        assert host.run("grep -rlF -- %s /etc /root /srv", line).rc == 1


def test_nothing_is_plain_on_the_wire(front: Host, model: Host, variables: dict[str, Any]) -> None:
    basic = base64.b64encode(login(variables, "service").encode()).decode()
    texts = [basic, "Authorization", "/api/users/self", "/monailabel/info", "/info/", '"models"']
    through = "curl -fsS -o /dev/null -u %s http://127.0.0.1:8080/api/users/self"
    door = "curl -fsS -k -o /dev/null -u %s -H 'Host: endolab-front' https://127.0.0.1/monailabel/info/"
    with overheard(MODEL, *texts) as heard:
        for _ in range(3):
            model.check_output(through, login(variables, "service"))
            front.check_output(door, login(variables, "service"))
    assert heard["segments"] > 10
    assert heard["texts"] == []
    with overheard(MODEL, *texts) as heard:
        model.run("curl -s --max-time 3 -u %s http://%s/api/users/self", login(variables, "service"), FRONT)
    assert heard["texts"] == sorted({basic, "Authorization", "/api/users/self"}), "a plain request would be seen"


@pytest.mark.parametrize("name", [FRONT, MODEL])
def test_no_container_may_do_more_than_is_documented(name: str) -> None:
    process = docker.from_env().containers.get(name).attrs["State"]["Pid"]
    engine = docker.DockerClient(base_url=f"unix:///proc/{process}/root/run/docker.sock")
    found: dict[str, Container] = {str(each.name): each for each in engine.containers.list(all=True)}
    assert running(found) == documented(found)
    assert ("endolab-hop" in found) is (name == MODEL)


@pytest.mark.long
def test_half_of_the_lab_is_refused(play: Play) -> None:
    done = play("site.yml", "--limit", f"localhost,{MODEL}")
    assert done.returncode != 0
    assert f"{MODEL} speaks with {FRONT}, and both must be in the run." in re.sub(r"\s+", " ", done.stdout)


def test_another_key_is_known_to_the_other_side(play: Play, front: Host, model: Host) -> None:
    model.check_output("rm /etc/endolab/hop/secrets/key.pem")
    done = play("site.yml")
    assert done.returncode == 0, done.stdout
    assert at_the_hop(front, MODEL, *TRUST, *KEY) == "200"
    assert at_the_hop(model, FRONT, *TRUST, *KEY) == "200"
