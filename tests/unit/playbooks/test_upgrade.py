"""What upgrade.yml says that it would change, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.roles.test_checks import (
    CREDENTIALS,
    HOST,
    NOT_THERE,
    ROLES,
    ROOT,
    THERE,
    of_file,
    trusted,
    variables_of,
)

UPGRADE = ROOT / "playbooks/vars/upgrade.yml"
NOTES = "/var/lib/endolab/upgrade/notes.json"
OPENED = "/var/lib/endolab/upgrade/opened"
IMAGES = {
    "cvat-db-1": "postgres:15-alpine",
    "cvat-redis-1": "redis:7.2.11-alpine",
    "cvat-kvrocks-1": "apache/kvrocks:2.15.0",
    "cvat-opa-1": "openpolicyagent/opa:1.12.2",
    "cvat-server-1": "cvat/server:v2.73.0",
    "cvat-ui-1": "cvat/ui:v2.73.0",
    "cvat-worker_import-1": "cvat/server:v2.73.0",
    "endolab-edge": "caddy:2.10.2",
    "monailabel": "projectmonai/monailabel:latest",
    "somebody": "else:1",
}


def seen(name: str, containers: dict[str, str], notes: bool = False, toolkit: str = "1.20.0-1", **more: Any) -> Any:
    """A variable of upgrade.yml on a host with these containers."""
    host = {
        **HOST,
        "docker": {**HOST["docker"], "containers": containers},
        "nvidia": {**HOST["nvidia"], "toolkit_version": toolkit},
        "paths": {**HOST["paths"], NOTES: THERE if notes else NOT_THERE},
        "texts": {"/var/lib/endolab/cvat_version": containers.get("cvat-server-1", "").partition(":v")[2]},
    }
    variables: dict[str, Any] = {
        "inventory_hostname": "gpu1",
        "groups": {group: ["gpu1"] for group in ("cvat", "edge", "monailabel")},
        "ansible_facts": {"endolab_host": host},
        "backup_repository": "/mnt/backup",
    }
    variables = {**variables_of(ROLES), **of_file(UPGRADE), **variables, **CREDENTIALS, **more}
    return Templar(loader=DataLoader(), variables=trusted(variables)).template(trusted(f"{{{{ {name} }}}}"))


def changing(**more: Any) -> list[str]:
    found: list[str] = seen("__upgrade_changing", **more)
    return found


def refusals(**more: Any) -> list[str]:
    return [check["name"] for check in seen("__upgrade_checks", **more) if not check["that"]]


def test_nothing_is_said_of_what_stays() -> None:
    assert changing(containers=IMAGES) == []


def test_each_image_and_version_that_changes_is_named() -> None:
    old = {name: image.replace("2.73.0", "2.72.0") for name, image in IMAGES.items()}
    assert changing(containers=old, toolkit="1.19.0-1") == [
        "CVAT",
        "cvat-server-1",
        "cvat-ui-1",
        "NVIDIA container toolkit",
    ]


def test_what_is_not_there_yet_is_named() -> None:
    assert changing(containers={key: image for key, image in IMAGES.items() if key != "endolab-edge"}) == [
        "endolab-edge"
    ]


def test_a_host_without_a_gpu_has_no_toolkit() -> None:
    assert changing(containers=IMAGES, toolkit="", monailabel_gpus="none") == []


def test_what_is_set_aside_is_there() -> None:
    assert seen("__upgrade_containers", IMAGES) == ["endolab-edge", "monailabel"]
    without = {key: image for key, image in IMAGES.items() if key != "monailabel"}
    assert seen("__upgrade_containers_there", without) == ["endolab-edge"]


def test_a_lab_with_archives_is_upgraded() -> None:
    assert refusals(containers=IMAGES) == []
    assert refusals(containers=IMAGES, backup_repository="") == ["there is somewhere to put an archive"]


def test_a_host_without_a_lab_is_refused_unless_an_upgrade_was_broken_off_there() -> None:
    assert refusals(containers={"somebody": "else:1"}) == ["there is a lab to upgrade"]
    assert refusals(containers={}, notes=True) == []


@pytest.mark.parametrize("opened", [[False, False], [False, True], [True, True]])
def test_an_upgrade_that_has_let_people_in_is_over_on_every_host(opened: list[bool]) -> None:
    paths = [{OPENED: THERE if each else NOT_THERE} for each in opened]
    hosts = {f"gpu{number}": {"ansible_facts": {"endolab_host": {"paths": each}}} for number, each in enumerate(paths)}
    assert seen("__upgrade_over", IMAGES, hostvars=hosts, ansible_play_hosts=list(hosts)) is any(opened)


@pytest.mark.parametrize(
    ("failed", "let_in"),
    [([None, None], False), ([False, None], False), ([False, True], False), ([False, False], True)],
)
def test_people_are_let_in_once_every_host_has_noted_it(failed: list[bool | None], let_in: bool) -> None:
    noted = [{} if each is None else {"__upgrade_noted": {"failed": each}} for each in failed]
    hosts = {f"gpu{number}": each for number, each in enumerate(noted)}
    assert seen("__upgrade_let_in", IMAGES, hostvars=hosts, ansible_play_hosts_all=list(hosts)) is let_in


def test_after_going_back_no_bundle_is_served_any_more() -> None:
    roll_back = ROOT / "playbooks/tasks/upgrade/roll_back.yml"
    *_, gone, failed = yaml.safe_load(roll_back.read_text(encoding="utf-8"))
    assert gone["ansible.builtin.include_tasks"] == "../bundle_gone.yml"
    assert "ansible.builtin.fail" in failed
