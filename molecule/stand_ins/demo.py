"""The whole stack on this machine: brings a simulated GPU host up, deploys onto it, and says where to look.

Usage: python molecule/stand_ins/demo.py up|down
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from typing import Any

import docker
from catalogue import CHECKOUT, STAND_INS
from rich.console import Console

HOST = "endolab-demo"
CVAT = "http://127.0.0.1:8080"
DOOR = "https://localhost:8443"
MONAI_LABEL = "http://127.0.0.1:8000"

KEPT = CHECKOUT / ".demo"
CREDENTIALS = KEPT / "credentials"
PLAY = ["ansible-playbook", "-i", "inventories/demo"]
UP = {
    "A Docker engine on this machine": [sys.executable, str(STAND_INS / "engine.py")],
    "The images, from Debian's and Python's packages": [sys.executable, str(STAND_INS / "build.py")],
    "Frames, and a model bundle trained on others": [sys.executable, str(STAND_INS / "inputs.py")],
    "A registry with the images, and a simulated GPU host": [*PLAY, "molecule/stand_ins/up.yml"],
    "The frames on the host": [*PLAY, "molecule/stand_ins/deliver.yml"],
    "The stack, by the same site.yml as in a lab": [*PLAY, "site.yml"],
    "Is it all there, and has the loop asked for its first frames?": [
        *PLAY,
        "playbooks/verify.yml",
        "-e",
        "verify_first_task_timeout=600",
    ],
    "Its ports on this machine": [*PLAY, "molecule/stand_ins/relay.yml"],
}
DOWN = [*PLAY, "molecule/stand_ins/down.yml", "-e", "stand_ins_remove_registry=true"]

# Nothing in the demo is vaulted, and each play says how often it asked the host.
NO_VAULT = KEPT / "no_vault"
ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_VAULT_PASSWORD_FILE": str(NO_VAULT),
    "ANSIBLE_CALLBACKS_ENABLED": "endolab.active_learning.module_executions",
}


def step(console: Console, title: str, command: list[str]) -> float:
    """Runs a step, its output as it comes; returns its seconds. Raises CalledProcessError where it fails."""
    console.rule(f"[bold]{title}")
    start = time.monotonic()
    subprocess.run(command, cwd=CHECKOUT, env=ENVIRONMENT, check=True)
    return time.monotonic() - start


def memory_used() -> int:
    """Bytes that the stand-ins' containers hold together; what is only cached does not count."""
    total = 0
    for container in docker.from_env().containers.list(filters={"label": "endolab=stand-in"}):
        stats: Any = container.stats(stream=False)
        memory = stats["memory_stats"]
        cached = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
        total += memory["usage"] - cached
    return total


def write_credentials() -> None:
    """Leaves the administrator's name and password where the person who runs the demo finds them."""
    CREDENTIALS.touch(mode=0o600)
    password = (KEPT / "secrets" / f"{HOST}-admin").read_text(encoding="utf-8").strip()
    CREDENTIALS.write_text(f"user: admin\npassword: {password}\n", encoding="utf-8")


def up(console: Console) -> None:
    seconds = {title: step(console, title, command) for title, command in UP.items()}
    write_credentials()
    console.rule(f"[bold green]The demo is up after {sum(seconds.values()):.0f} s")
    for title, took in seconds.items():
        console.print(f"[dim]{took:6.0f} s  {title}")
    console.print(f"[dim]Memory of all of it: {memory_used() / 2**30:.1f} GiB")
    console.print(f"CVAT          {DOOR} (certificates/localhost.crt vouches for it), or {CVAT}")
    console.print(f"MONAI Label   {DOOR}/monailabel/info/ with CVAT's login, or {MONAI_LABEL}")
    console.print(f"The loop      {DOOR}/monailabel/loop/page, or {MONAI_LABEL}/loop/page")
    console.print(f"log in with   {CREDENTIALS.relative_to(CHECKOUT)}")
    console.print("go round      make demo-loop")
    console.print("take it away  make demo-down")


def down(console: Console) -> None:
    step(console, "The demo is taken away", DOWN)
    shutil.rmtree(KEPT)


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring the demo up, or take it away.")
    parser.add_argument("verb", choices=["up", "down"])
    verb = {"up": up, "down": down}[parser.parse_args().verb]
    console = Console(highlight=False)
    KEPT.mkdir(mode=0o700, exist_ok=True)
    NO_VAULT.write_text("the demo has no vault\n", encoding="utf-8")
    try:
        verb(console)
    except subprocess.CalledProcessError as fault:
        console.print(f"[red]`{' '.join(fault.cmd)}` failed; what it said stands above. Mend it and run this again.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
