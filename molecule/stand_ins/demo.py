"""The whole stack on this machine: brings a simulated GPU host up, deploys onto it, and says where to look.

Usage: python molecule/stand_ins/demo.py up|down
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from catalogue import CHECKOUT
from rich.console import Console

INVENTORY = ["-i", "inventories/demo"]
KEPT = CHECKOUT / ".demo"
STEPS = {
    "Docker engine, images, registry and a simulated GPU host": ["molecule/stand_ins/up.yml"],
    "Frames and a model bundle": ["molecule/stand_ins/deliver.yml"],
    "The stack, by the same site.yml as in a lab": ["site.yml"],
    "Is it all there, and has the loop asked for its first frames?": [
        "playbooks/verify.yml",
        "-e",
        "verify_first_task_timeout=600",
    ],
    "Its ports on this machine": ["molecule/stand_ins/relay.yml"],
}


def play(console: Console, title: str, arguments: list[str]) -> None:
    """Runs a playbook, its output as it comes; CalledProcessError where it fails."""
    console.rule(f"[bold]{title}")
    start = time.monotonic()
    subprocess.run(["ansible-playbook", *INVENTORY, *arguments], cwd=CHECKOUT, check=True)
    console.print(f"[dim]{title}: {time.monotonic() - start:.0f} s")


def write_credentials() -> Path:
    """Leaves the administrator's name and password where the person who runs the demo finds them."""
    file = KEPT / "credentials"
    file.touch(mode=0o600)
    password = (KEPT / "secrets" / "endolab-demo-admin").read_text(encoding="utf-8").strip()
    file.write_text(f"user: admin\npassword: {password}\n", encoding="utf-8")
    return file


def up(console: Console) -> None:
    KEPT.mkdir(mode=0o700, exist_ok=True)
    start = time.monotonic()
    for title, arguments in STEPS.items():
        play(console, title, arguments)
    file = write_credentials()
    console.rule(f"[bold green]The demo is up after {time.monotonic() - start:.0f} s")
    console.print("CVAT          http://127.0.0.1:8080")
    console.print("MONAI Label   http://127.0.0.1:8000")
    console.print(f"log in with   {file.relative_to(CHECKOUT)}")
    console.print("take it away  make demo-down")


def down(console: Console) -> None:
    play(console, "The demo is taken away", ["molecule/stand_ins/down.yml", "-e", "stand_ins_remove_registry=true"])
    shutil.rmtree(KEPT, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring the demo up, or take it away.")
    parser.add_argument("verb", choices=["up", "down"])
    console = Console(highlight=False)
    try:
        {"up": up, "down": down}[parser.parse_args().verb](console)
    except subprocess.CalledProcessError as fault:
        console.print(f"[red]`{' '.join(fault.cmd)}` failed; what it said stands above. Mend it and run this again.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
