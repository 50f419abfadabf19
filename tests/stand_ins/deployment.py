"""CVAT's stand-in as containers on a network of its own, with the real PostgreSQL and Redis behind it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import docker
import requests
from docker.models.containers import Container
from docker.models.networks import Network

IMAGES = "endolab/stand-in/"
SERVER = f"{IMAGES}cvat/server:v2.73.0"
PASSWORD = "of-these-containers-only"
ADMIN = ("admin", "of the administrator")
ENVIRONMENT = {
    "CVAT_POSTGRES_HOST": "db",
    "CVAT_POSTGRES_DBNAME": "cvat",
    "CVAT_POSTGRES_USER": "cvat",
    "CVAT_POSTGRES_PASSWORD": PASSWORD,
    "CVAT_REDIS_INMEM_HOST": "redis",
    "CVAT_REDIS_INMEM_PASSWORD": PASSWORD,
    "CVAT_REDIS_ONDISK_HOST": "kvrocks",
    "CVAT_REDIS_ONDISK_PASSWORD": PASSWORD,
}
QUEUES = ("import", "export")  # those that have a worker
OPA = [
    "run",
    "--server",
    "--addr=:8181",
    "--set=services.cvat.url=http://cvat-server:8080",
    "--set=bundles.cvat.service=cvat",
    "--set=bundles.cvat.resource=/api/auth/rules",
    "--set=bundles.cvat.polling.min_delay_seconds=1",
]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Asks until `condition` holds; fails with `what` when that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def execute(container: Container, command: list[str], environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output of a command in a container."""
    done = container.exec_run(command, environment=environment or {})
    assert isinstance(done.output, bytes)
    return int(done.exit_code or 0), done.output.decode()


class Http(requests.Session):
    """Calls by the path alone, to the server at `url`, as the user `account` (name and password) by Basic auth."""

    def __init__(self, url: str, account: tuple[str, str] | None = None) -> None:
        super().__init__()
        self.url = url
        self.auth = account
        self.trust_env = False  # no proxy of this machine stands between

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        return super().request(method, urljoin(self.url, str(url)), *args, **{"timeout": 30, **kwargs})


@dataclass(frozen=True)
class Cvat:
    """A running stand-in: its containers by name, and where its server answers."""

    containers: dict[str, Container]
    url: str

    def health(self) -> requests.Response:
        return Http(self.url).get("/api/server/health/?format=json")

    def manage(self, container: str, *arguments: str, **environment: str) -> tuple[int, str]:
        """Exit status and output of a manage.py command in one of the containers."""
        return execute(self.containers[container], ["python3", "/home/django/manage.py", *arguments], environment)

    def sql(self, statements: str) -> None:
        """Runs SQL in the server's database."""
        code, output = execute(self.containers["db"], ["psql", "-U", "cvat", "-v", "ON_ERROR_STOP=1", "-c", statements])
        assert code == 0, output

    def make_superuser(self, name: str, password: str) -> None:
        """Makes the first administrator as an operator does it."""
        account = {"USERNAME": name, "EMAIL": f"{name}@localhost.invalid", "PASSWORD": password}
        environment = {f"DJANGO_SUPERUSER_{key}": value for key, value in account.items()}
        code, output = self.manage("server", "createsuperuser", "--no-input", **environment)
        assert code == 0, output


@contextmanager
def running(engine: docker.DockerClient) -> Iterator[Cvat]:
    """Starts a stand-in without accounts, waits for its health, and removes it at the end."""
    name = f"endolab-contract-{secrets.token_hex(3)}"
    with ExitStack() as stack:
        network: Network = engine.networks.create(name)
        stack.callback(network.remove)
        data = engine.volumes.create(name)
        stack.callback(data.remove)
        containers: dict[str, Container] = {}

        def start(service: str, image: str, alias: str | None = None, **options: Any) -> None:
            container = engine.containers.create(image, name=f"{name}-{service}", **options)
            stack.callback(container.remove, force=True, v=True)
            network.connect(container, aliases=[alias or service])
            container.start()
            containers[service] = container

        backend: dict[str, Any] = {"environment": ENVIRONMENT, "volumes": {name: {"bind": "/home/django/data"}}}
        database = {"POSTGRES_USER": "cvat", "POSTGRES_DB": "cvat", "POSTGRES_PASSWORD": PASSWORD}
        start("db", f"{IMAGES}postgres:15-alpine", environment=database)
        start("redis", f"{IMAGES}redis:7.2.11-alpine", command=["redis-server", "--requirepass", PASSWORD])
        start("kvrocks", f"{IMAGES}apache/kvrocks:2.15.0", command=["--requirepass", PASSWORD])
        start("opa", f"{IMAGES}openpolicyagent/opa:1.12.2", command=OPA)
        published = {"8080/tcp": ("127.0.0.1", None)}
        command = ["init", "run", "server", "nginx"]
        start("server", SERVER, alias="cvat-server", command=command, ports=published, **backend)
        for queue in QUEUES:
            start(queue, SERVER, command=["run", "worker", queue], **backend)

        containers["server"].reload()
        (binding,) = containers["server"].ports["8080/tcp"] or []
        cvat = Cvat(containers, f"http://{binding['HostIp']}:{binding['HostPort']}")
        wait_until(lambda: healthy(cvat, containers), 90, "CVAT's stand-in is healthy")
        yield cvat


def healthy(cvat: Cvat, started: Collection[str]) -> bool:
    """Whether CVAT says so, and each worker among what was started, which CVAT does not ask."""
    try:
        if cvat.health().status_code != 200:
            return False
    except requests.ConnectionError:
        return False
    probe = ("workerprobe", "--expected-num-workers", "1")
    return all(cvat.manage(queue, *probe, queue)[0] == 0 for queue in QUEUES if queue in started)
