"""A lab in its fourth iteration, behind MONAI Label's kind of server, for a browser to look at."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastapi
import numpy as np
import uvicorn
from endolab_loop.gpus import MIB, Gpu
from endolab_loop.metrics import add_metrics
from endolab_loop.page import add_page
from endolab_loop.state import now, write_json
from frames import generate
from PIL import Image, ImageFilter

from tests.unit.app.worlds import World

FRAMES = 40
GPUS = [Gpu("0", "NVIDIA GeForce RTX 4090", 3072 * MIB, 24564 * MIB)]

# What the weights in use reach after each turn; one training makes them no better.
REACHED = [(0.31, 0.52, True), (0.52, 0.49, False), (0.52, 0.71, True)]


def drawn(directory: Path) -> World:
    """Frames with instruments, whose edges are unclear to the model; three batches of them labelled, a fourth open."""
    world = World(directory, frames=FRAMES, epistemic_top_k=8, cvat_project="Laparoscopy")
    world.lab.directory, scores = directory, dict[str, float]()
    world.lab.score_of = lambda name, weights: scores[name] / (1 + weights / 4)  # type: ignore[method-assign]
    for name, frame in zip(world.lab.known, generate.draw_frames(FRAMES, 5, 360, 240), strict=True):
        Image.fromarray(frame.image).save(directory / f"{name}.png")
        edge = np.asarray(Image.fromarray(frame.mask).filter(ImageFilter.GaussianBlur(6)), np.float32) / 255
        unsure = np.log(2) * 0.6 * (1 - np.abs(2 * edge - 1))
        scores[name] = float(unsure.mean())
        world.loop.pictures.heat(name, scores[name], unsure)
    world.turns()
    for turn, (before, after, promoted) in enumerate(REACHED, start=1):
        (task,) = world.cvat.open()
        world.cvat.annotate(task)
        world.lab.records[turn] = [record(turn, before, after, promoted)]
        world.lab.weights += promoted
        (directory / "loop" / "trainings").mkdir(exist_ok=True)
        write_json(directory / "loop" / "trainings" / f"{turn}-tooltracking.json", world.lab.records[turn][0])
        world.turns()
    (task,) = world.cvat.open()
    task.completed = set(task.frames[:3])
    world.turns()
    return world


def record(turn: int, before: float, after: float, promoted: bool) -> dict[str, Any]:
    return {
        "model": "tooltracking",
        "iteration": turn,
        "metric": "val_mean_dice",
        "before": before,
        "after": after,
        "promoted": promoted,
        "training_frames": 6 * turn,
        "validation_frames": 2 * turn,
        "epochs": 50,
        "why": f"val_mean_dice {after:.4f} is {'' if promoted else 'not '}better than {before:.4f}",
        "seconds": 61.4 + turn,
        "at": now(),
    }


@contextmanager
def served(world: World) -> Iterator[str]:
    """The loop's page of a world on this machine; yields the server's address."""
    server = fastapi.FastAPI()
    server.add_api_route("/favicon.ico", lambda: None)  # MONAI Label's server has one
    add_page(server, world.loop, world.lab, lambda: GPUS)
    add_metrics(server, world.loop, lambda: GPUS)
    running = uvicorn.Server(uvicorn.Config(server, log_level="warning"))
    listening = socket.create_server(("127.0.0.1", 0))  # who comes before the server is ready waits
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()
