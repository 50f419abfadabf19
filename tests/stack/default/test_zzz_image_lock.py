"""A lock of the running lab, last because it makes every container anew: what is locked runs, and nothing else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from catalogue import published_names
from docker.models.containers import Container

from tests.stack.common import SERVICES, healthy, wait_until

Play = Callable[..., subprocess.CompletedProcess[str]]

# What a first lock changes: references, and with them containers.
CHANGED = {
    "The Compose file and what it mounts are there",
    "The services are up",
    "The edge runs with it",
    "The server runs and answers",
}


def changed(said: str) -> set[str]:
    """The tasks of roles that have changed something, also where a diff stands before the word."""
    blocks = re.split(r"^TASK \[", said, flags=re.MULTILINE)[1:]
    return {block.partition("] *")[0].rpartition(" : ")[2] for block in blocks if re.search(r"^changed:", block, re.M)}


def runs(containers: dict[str, Container]) -> dict[str, tuple[str, str, str]]:
    """Of each container its own id, what its image was called when it was made, and which image that is."""
    return {
        name: (str(container.id), container.attrs["Config"]["Image"], container.attrs["Image"])
        for name, container in containers.items()
    }


@pytest.fixture(scope="module")
def lock(play: Play, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lock of what runs."""
    file = tmp_path_factory.mktemp("lock") / "images.lock"
    done = play("playbooks/lock.yml", "-e", f"endolab_images_lock={file}")
    assert done.returncode == 0, done.stdout
    return file


@pytest.fixture(scope="module")
def pinned(lock: Path, variables: dict[str, Any]) -> dict[str, str]:
    """What the lock makes of each image's name with its tag."""
    locked = dict(image.split("@") for image in yaml.safe_load(lock.read_text()).values())
    registry = variables["endolab_registry"]
    return {registry + tag: f"{registry}{tag.rpartition(':')[0]}@{digest}" for tag, digest in locked.items()}


def test_it_names_what_runs(
    lock: Path, pinned: dict[str, str], engine: docker.DockerClient, containers: dict[str, Container]
) -> None:
    assert {key: image.split("@")[0] for key, image in yaml.safe_load(lock.read_text()).items()} == published_names()
    for name, (_, image, image_id) in runs(containers).items():
        assert engine.images.get(pinned[image]).id == image_id, name


def test_a_run_makes_containers_anew_from_the_same_bytes_and_the_next_changes_nothing(
    lock: Path, pinned: dict[str, str], play: Play, engine: docker.DockerClient, containers: dict[str, Container]
) -> None:
    wait_until(lambda: healthy(engine) == SERVICES, 300, "every container healthy")
    before = runs(containers)
    arguments = ("site.yml", "-e", f"endolab_images_lock={lock}")
    for more in (["--check", "--diff"], ["--diff"]):
        assert runs({str(c.name): c for c in engine.containers.list()}) == before, more
        done = play(*arguments, *more)
        assert done.returncode == 0, done.stdout
        assert changed(done.stdout) == CHANGED, more
        for _, image, _ in before.values():
            assert image in done.stdout, more
            assert pinned[image] in done.stdout, more
    after = runs({str(c.name): c for c in engine.containers.list()})
    for name, (container_id, image, image_id) in before.items():
        assert after[name][0] != container_id
        assert after[name][1:] == (pinned[image], image_id)
    assert healthy(engine) == SERVICES
    assert set(re.findall(r"changed=(\d+)", play(*arguments).stdout)) == {"0"}


@pytest.mark.parametrize(
    ("digits", "sentence"),
    [
        ("0" * 64, f"caddy@sha256:{'0' * 64} (manifest unknown: manifest unknown). Have it copied to that registry."),
        ("0", 'caddy is "caddy:2.10.2@sha256:0", and not caddy:2.10.2@sha256: with 64'),
    ],
    ids=["a digest that the registry lacks", "a damaged line"],
)
def test_what_cannot_be_had_or_read_ends_a_run_before_containers_are_touched(
    lock: Path, play: Play, containers: dict[str, Container], tmp_path: Path, digits: str, sentence: str
) -> None:
    before = runs(containers)
    wrong = re.sub(r"(?<= caddy:2\.10\.2@sha256:)\w+", digits, lock.read_text())
    (tmp_path / "images.lock").write_text(wrong)
    done = play("site.yml", "-e", f"endolab_images_lock={tmp_path}/images.lock")
    assert done.returncode != 0
    assert sentence in re.sub(r"\s+", " ", done.stdout)
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}
    for container in containers.values():
        container.reload()
    assert runs(containers) == before
