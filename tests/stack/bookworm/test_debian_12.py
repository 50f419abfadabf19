"""Debian 12, on which scenario default's tests have passed before these: its own packages, and how it is left."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

from testinfra.host import Host

from tests.stack.teardown import TEARDOWN, changes, traces

Play = Callable[..., subprocess.CompletedProcess[str]]


def test_the_host_is_one(host: Host) -> None:
    assert host.system_info.codename == "bookworm"


def test_its_restic_makes_archives_and_brings_them_back(play: Play, host: Host) -> None:
    done = play("playbooks/backup.yml")
    assert done.returncode == 0, done.stdout
    assert json.loads(host.check_output("cat /var/lib/endolab/backup/archive/manifest.json"))["parts"]
    done = play("playbooks/restore.yml", "-e", "restore_replace=true")
    assert done.returncode == 0, done.stdout
    done = play("playbooks/verify.yml", "-e", "verify_first_task_timeout=300")
    assert done.returncode == 0, done.stdout


def test_a_teardown_leaves_it_as_it_was_found(play: Play, host: Host) -> None:
    assert changes(play(*TEARDOWN))
    assert traces(host) == {}
    assert changes(play(*TEARDOWN)) == []


def test_its_docker_is_refused_as_too_old(play: Play, host: Host) -> None:
    """On the bare host, where nothing else is wrong. With `host`, or pytest would run this before the others."""
    done = play("playbooks/preflight.yml", "-e", "docker_engine_source=distribution", "-e", "monailabel_gpus=none")
    assert done.returncode != 0
    said = re.sub(r"\s+", " ", done.stdout)
    assert "The Docker packages of debian 12 are older than 25 or lack Compose v2." in said
    assert not host.exists("docker")
