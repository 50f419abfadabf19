"""Every credential that was used here is looked for everywhere, and found in the places of docs/secrets.md alone."""

from __future__ import annotations

import base64
import fnmatch
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from testinfra.host import Host

from tests.stack.conftest import ROOT
from tests.stack.secure.conftest import LAB, Vault

Found = set[tuple[str, str, str]]

PROGRAM = (Path(__file__).parent / "search.py").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<kind>\w+) `(?P<place>[^`]+)` \| (?P<names>[^|]+) \| [^|]+ \|$", re.M)
PLANTED = "Planted0Where1Nobody2May3Find4It"


def forms(secret: str) -> list[str]:
    """A secret of letters and digits, which JSON, URLs and shells show as it is, and as other writings show it.

    Base64 shows it in one of three ways, by what stands before it, and shares its last and first digits with that.
    """
    inside = [base64.b64encode(b"x" * before + secret.encode()).decode()[4:-4] for before in range(3)]
    return [secret, *inside, secret.encode().hex(), "\0".join(secret)]


@pytest.fixture(scope="module")
def markers(variables: dict[str, Any], vault: Vault) -> dict[str, list[str]]:
    """Every value of each credential, by its name; of a password with other characters its generated beginning."""
    values: dict[str, set[str]] = {
        "users": {user["password"] for user in variables["cvat_users"]},
        "backup": {variables["backup_password"]},
        "metrics": {variables["edge_metrics_token"]},
    }
    for credentials in vault.history:
        for name, value in credentials.items():
            values.setdefault(name.removeprefix("cvat_").removesuffix("_password"), set()).add(value.split()[0])
    assert all(len(value) == 32 and value.isalnum() for each in values.values() for value in each)
    return {name: [form for value in sorted(each) for form in forms(value)] for name, each in values.items()}


def on_the_host(markers: dict[str, list[str]]) -> Found:
    command = ["docker", "exec", "-i", LAB, "python3", "-c", PROGRAM]
    done = subprocess.run(command, input=json.dumps(markers), capture_output=True, text=True, check=True)
    return {(kind, place, name) for kind, place, name in json.loads(done.stdout)}


def within(content: str, markers: dict[str, list[str]]) -> set[str]:
    return {name for name, texts in markers.items() if any(text in content for text in texts)}


def in_docker(engine: docker.DockerClient, markers: dict[str, list[str]]) -> Found:
    """What the engine shows of everything it has, and the containers' logs."""
    shown: dict[tuple[str, str], str] = {}
    for container in engine.containers.list(all=True, ignore_removed=True):
        executions = [engine.api.exec_inspect(each) for each in container.attrs["ExecIDs"] or ()]
        shown["inspect", str(container.name)] = json.dumps([container.attrs, executions], ensure_ascii=False)
        shown["log", str(container.name)] = container.logs().decode("utf-8", "replace")
    for thing in (*engine.images.list(all=True), *engine.volumes.list(), *engine.networks.list()):
        shown["inspect", str(thing.id)] = json.dumps(thing.attrs, ensure_ascii=False)
    return {(kind, place, name) for (kind, place), text in shown.items() for name in within(text, markers)}


def documented(places: set[tuple[str, str]], markers: dict[str, list[str]]) -> Found:
    """The table's rows; a star stands for several of these places."""
    rows = ROW.findall((ROOT / "docs" / "secrets.md").read_text(encoding="utf-8"))
    allowed = {
        (kind, place, name.strip())
        for kind, pattern, names in rows
        for place in fnmatch.filter([place for each, place in places if each == kind], pattern) or [pattern]
        for name in names.split(",")
    }
    assert {name for _, _, name in allowed} <= set(markers)
    return allowed


def test_every_credential_is_where_the_table_says_and_nowhere_else(
    engine: docker.DockerClient, markers: dict[str, list[str]]
) -> None:
    found = on_the_host(markers) | in_docker(engine, markers)
    assert found == documented({(kind, place) for kind, place, _ in found}, markers)


def test_ansible_says_none_of_them_and_leaves_none_behind(markers: dict[str, list[str]], vault: Vault) -> None:
    assert any("-vvv" in done.args and "--diff" in done.args for done in vault.done)
    for done in vault.done:
        assert not within(done.stdout + done.stderr, markers), done.args
    for directory in (Path(tempfile.gettempdir()), Path("~/.ansible").expanduser()):
        for path in directory.rglob("*"):
            if path.is_file() and path.stat().st_mtime >= vault.since:
                assert not within(path.read_bytes().decode("utf-8", "replace"), markers), path


@pytest.fixture
def planted(host: Host, engine: docker.DockerClient) -> Iterator[None]:
    """A secret in each kind of place."""
    encoded = base64.b64encode(f"admin:{PLANTED}".encode()).decode()
    host.check_output("echo %s > /var/lib/planted", encoded)
    host.check_output("echo %s > /run/planted", PLANTED.encode().hex())
    host.check_output("echo %s | logger --tag planted", f"password={PLANTED}")
    host.check_output("systemd-run --unit=planted sh -c %s", f": {PLANTED}; sleep infinity; :")
    image = host.check_output("docker inspect --format '{{.Config.Image}}' cvat-ui-1")
    run = "docker run --detach --name planted --env %s --entrypoint sh %s -c 'echo $MARK; sleep 1000'"
    host.check_output(run, f"MARK={PLANTED}", image)
    yield
    host.check_output("docker rm --force planted")
    host.check_output("systemctl stop planted")
    host.check_output("rm /var/lib/planted /run/planted")


def test_one_that_shows_would_be_found(planted: None, engine: docker.DockerClient) -> None:
    markers = {"planted": forms(PLANTED)}
    found = {(kind, place) for kind, place, _ in on_the_host(markers) | in_docker(engine, markers)}
    assert found >= {
        ("file", "/var/lib/planted"),
        ("file", "/run/planted"),
        ("journal", ""),
        ("argument", "sh"),
        ("environment", "planted"),
        ("inspect", "planted"),
        ("log", "planted"),
    }
