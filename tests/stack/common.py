"""What the tests of a deployed stack say often."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import docker
from docker.models.containers import Container
from testinfra.host import Host

SERVICES = {
    *(f"cvat-{name}-1" for name in ("db", "redis", "kvrocks", "opa", "server", "ui")),
    *(
        f"cvat-worker_{name}-1"
        for name in ("utils", "import", "export", "annotation", "webhooks", "quality_reports", "chunks", "consensus")
    ),
    "endolab-edge",
    "monailabel",
}


ANALYTICS = {"cvat-clickhouse-1", "cvat-vector-1", "cvat-grafana-1"}


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Asks until `condition` holds; fails with `what` when that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(1)


def healthy(engine: docker.DockerClient) -> set[str]:
    """Names of the containers that their own health check calls healthy."""
    return {
        str(c.name) for c in engine.containers.list() if c.attrs["State"].get("Health", {}).get("Status") == "healthy"
    }


def put(container: Container, directory: str, files: Mapping[str, bytes]) -> None:
    """Files, by name, into a directory of a container's."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, each in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(each)
            archive.addfile(entry, io.BytesIO(each))
    assert container.put_archive(directory, content.getvalue())


def login(variables: dict[str, Any], who: str) -> str:
    """One of the accounts, `admin` or `service`, as curl's -u wants it."""
    return f"{variables[f'cvat_{who}_username']}:{variables[f'cvat_{who}_password']}"


def ask(host: Host, variables: dict[str, Any], who: str, path: str, method: str = "GET", base: str = "8081") -> int:
    """CVAT's status for a call by one of the accounts ("" for nobody), from the host."""
    return int(
        host.run(
            "curl -s -o /dev/null -w '%%{http_code}' -X %s %s %s %s",
            method,
            "-u" if who else "-s",
            login(variables, who) if who else "-s",
            f"http://127.0.0.1:{base}{path}",
        ).stdout
    )


def cvat(host: Host, variables: dict[str, Any], path: str) -> dict[str, Any]:
    """CVAT's answer to its administrator, through the edge."""
    url = f"http://127.0.0.1:{variables.get('edge_http_port', 8080)}/api/{path}"
    answer: dict[str, Any] = json.loads(host.check_output("curl -fsS -u %s %s", login(variables, "admin"), url))
    return answer


def open_tasks(host: Host, variables: dict[str, Any], path: str = "tasks") -> list[dict[str, Any]]:
    """CVAT's tasks of which every frame is there; until then the loop names a task UPLOADING_."""
    found: list[dict[str, Any]] = cvat(host, variables, path)["results"]
    return [task for task in found if not task["name"].startswith("UPLOADING_")]
