"""The attacking host, what it may know, and the people who have a login."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from tests.stack.conftest import PLAIN, ROOT

LAB = "endolab-secure"
PROGRAM = (Path(__file__).parent / "attack.py").read_text(encoding="utf-8")

CREDENTIALS = yaml.safe_load((ROOT / "playbooks/vars/rotate.yml").read_text(encoding="utf-8"))["__rotate_known"]


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 with an `error` where no HTTP did."""

    status: int
    headers: dict[str, list[str]]
    body: str
    error: str
    tls: str | None

    def header(self, name: str) -> str:
        """The one value of a header; empty without one."""
        return ", ".join(self.headers.get(name, []))


class Attacker:
    """The attacking host; every request goes to the lab's, from there, as it stands."""

    def __init__(self) -> None:
        self.container = docker.from_env().containers.get("endolab-attacker")

    def _run(self, *arguments: str) -> Any:
        status, (output, errors) = self.container.exec_run(["python3", "-c", PROGRAM, *arguments], demux=True)
        assert status == 0, errors
        return json.loads(bytes(output))

    def scan(self, first: int, last: int) -> list[int]:
        """The TCP ports that answer, from the first to the last."""
        return list(self._run("scan", LAB, str(first), str(last)))

    def ask(self, *requests: dict[str, Any]) -> list[Answer]:
        """The answers to several requests; see `ask` in attack.py for what may stand in one."""
        answers = []
        for found in self._run("ask", json.dumps([{"host": LAB, **request} for request in requests])):
            headers: dict[str, list[str]] = {}
            for key, value in found["headers"]:
                headers.setdefault(key, []).append(value)
            answers.append(Answer(found["status"], headers, found["body"], found.get("error", ""), found.get("tls")))
        return answers

    def one(self, target: str, **request: Any) -> Answer:
        (answer,) = self.ask({"target": target, **request})
        return answer

    def post(self, target: str, content: dict[str, Any], **headers: str) -> Answer:
        headers = {"Content-Type": "application/json", **headers}
        return self.one(target, method="POST", body=json.dumps(content), headers=headers)


@pytest.fixture(scope="session")
def attacker() -> Attacker:
    return Attacker()


@pytest.fixture(scope="session")
def authority() -> str:
    """The root certificate that site.yml has fetched to this machine."""
    return (ROOT / "certificates" / f"{LAB}.crt").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def passwords(variables: dict[str, Any]) -> dict[str, str]:
    """Of everybody who may log in, by user name."""
    own = {variables[f"cvat_{who}_username"]: variables[f"cvat_{who}_password"] for who in ("admin", "service")}
    return own | {user["username"]: user["password"] for user in variables["cvat_users"]}


@dataclass(frozen=True)
class Session:
    """A browser's session: its cookies, and the token that CVAT's login gives besides."""

    cookies: dict[str, str]
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}


@pytest.fixture(scope="session")
def log_in(attacker: Attacker, passwords: dict[str, str]) -> Callable[[str], Session]:
    """Logs somebody in at the door, as CVAT's pages do."""

    def log_in(name: str) -> Session:
        answer = attacker.post("/api/auth/login", {"username": name, "password": passwords[name]})
        assert answer.status == 200, answer
        cookies = dict(each.split(";")[0].split("=", 1) for each in answer.headers["set-cookie"])
        return Session(cookies, json.loads(answer.body)["key"])

    return log_in


class Vault:
    """A vault file and its password, and what runs with them.

    done: each playbook that was run, with what it said. history: what the vault has held. since: when it was made.
    """

    def __init__(self, directory: Path, inventory: str, variables: dict[str, Any]) -> None:
        self.done: list[subprocess.CompletedProcess[str]] = []
        self.history: list[dict[str, str]] = []
        self.since = time.time()
        self.file, self.password = directory / "group_vars" / "lab" / "vault.yml", directory / "password"
        self._inventories = ["-i", inventory, "-i", str(directory / "hosts.yml")]
        self._environment = {**PLAIN, "PYTHONUNBUFFERED": "1", "ANSIBLE_VAULT_PASSWORD_FILE": str(self.password)}
        (directory / "hosts.yml").write_text("lab: {}\n", encoding="utf-8")
        self.file.parent.mkdir(parents=True)
        self.password.write_text("the vault's own", encoding="utf-8")
        content = "# of the lab\n" + yaml.safe_dump({name: variables[name] for name in CREDENTIALS})
        self._run("ansible-vault", "encrypt", "--output", str(self.file), input=content)
        self.credentials()

    def _run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False, **options
        )

    def text(self) -> str:
        return self._run("ansible-vault", "view", str(self.file)).stdout

    def credentials(self) -> dict[str, str]:
        found = dict(yaml.safe_load(self.text()))
        if found not in self.history:
            self.history.append(found)
        return found

    def command(self, playbook: str, *arguments: str) -> list[str]:
        files = json.dumps({"vault_file": str(self.file), "vault_password_file": str(self.password)})
        return ["ansible-playbook", *self._inventories, playbook, "-e", files, *arguments]

    def play(self, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.done.append(self._run(*self.command(playbook, *arguments)))
        self.credentials()
        return self.done[-1]

    def play_until(self, task: str, playbook: str) -> None:
        """Kills the playbook, and all that it has started, when it comes to a task."""
        with subprocess.Popen(
            self.command(playbook),
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            seen = next((line for line in process.stdout if line.startswith("TASK [") and f"{task}]" in line), "")
            os.killpg(process.pid, signal.SIGKILL)
        self.credentials()
        assert seen, f"it never came to {task}"


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory, inventory: str, variables: dict[str, Any]) -> Vault:
    return Vault(tmp_path_factory.mktemp("lab"), inventory, variables)
