"""Lets the demo's loop go round with a bot for an annotator, and reports what the model has learnt.

Usage: python molecule/stand_ins/demo_loop.py [--tasks COUNT]

Each run goes on from where the demo stands, and reports on all of its iterations in demo-report.html.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import inputs
import requests
import yaml
from annotator import Annotator, truth_in
from catalogue import CHECKOUT
from cvat_sdk import Client
from demo import CREDENTIALS, CVAT, HOST, KEPT, MONAI_LABEL
from in_monailabel import ProgramError
from report import page
from report.study import Study
from rich.console import Console
from rounds import StuckError, go_round

REPORT = CHECKOUT / "demo-report.html"
SETTINGS = CHECKOUT / "inventories" / "demo" / "group_vars" / "lab" / "settings.yml"


def server(method: str) -> Any:
    """What MONAI Label's server shows of its loop; with POST, after it has been told to look at CVAT."""
    reply = requests.request(method, f"{MONAI_LABEL}/loop", timeout=30)
    reply.raise_for_status()
    return reply.json()


def demo_loop(tasks: int, console: Console) -> None:
    """Answers `tasks` tasks and writes the report.

    Raises StuckError, ProgramError, and RequestException where the demo no longer answers.
    """
    settings = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))
    masks = inputs.frames(settings["stand_ins_frames"]) / "masks"
    account = yaml.safe_load(CREDENTIALS.read_text(encoding="utf-8"))
    study = Study(KEPT / "study", inputs.BUNDLE)
    with Client(CVAT) as client:
        client.login((account["user"], account["password"]))
        annotator = Annotator(client, truth_in(masks))
        console.rule(f"[bold]A bot draws the true masks, with a hand's mistakes: {tasks} tasks, or what there is")
        go_round(tasks, lambda: server("GET"), lambda: server("POST"), annotator, console)
        study.draw(annotator, masks)
    study.fetch_lab(HOST)
    if not study.turns():
        raise StuckError("there is nothing to report yet; the loop has not trained")
    console.rule("[bold]What the model has learnt, and what it learns from frames chosen at random")
    study.make_test_frames()
    study.measure(settings["monailabel_conf"], console)
    REPORT.write_text(page.render(study, settings["stand_ins_frames"]), encoding="utf-8")
    console.print(f"report        {REPORT.relative_to(CHECKOUT)}")


def is_up() -> bool:
    """Whether there is a demo that answers."""
    try:
        server("GET")
    except requests.RequestException:
        return False
    return CREDENTIALS.exists()


def main() -> int:
    parser = argparse.ArgumentParser(description="Let the demo's loop go round, and report what the model learns.")
    parser.add_argument("--tasks", type=int, default=5, metavar="COUNT", help="how many (default: %(default)s)")
    tasks = parser.parse_args().tasks
    console = Console(highlight=False)
    if not is_up():
        console.print("[red]The demo does not answer; `make demo` brings it up.")
        return 1
    try:
        demo_loop(tasks, console)
    except (StuckError, ProgramError, requests.RequestException) as fault:
        console.print(str(fault), style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
