"""Answers the loop's tasks in CVAT as a person would: the true masks, with the small mistakes of a hand.

Usage: python molecule/stand_ins/annotator.py --url URL --credentials FILE --truth DIRECTORY [--project NAME]

FILE holds the lines `user: NAME` and `password: PASSWORD`, DIRECTORY a mask for each frame, of the frame's name.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from cvat_sdk import Client, models
from cvat_sdk.core.proxies.jobs import Job
from cvat_sdk.core.proxies.tasks import Task
from cvat_sdk.masks import encode_mask
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from scipy import ndimage

Mask = NDArray[np.bool_]
Truth = Callable[[str], Mask]


def noisy(mask: Mask, pixels: float, seed: int) -> Mask:
    """`mask` as a hand draws it: its edge off by a smooth random distance of about `pixels`; nothing stays nothing."""
    if not mask.any():
        return mask
    rng = np.random.default_rng(seed)
    wobble = ndimage.gaussian_filter(rng.normal(size=mask.shape), 8)
    wobble *= pixels / wobble.std()
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    drawn: Mask = distance > wobble
    return drawn


def truth_in(directory: Path) -> Truth:
    """The masks of a directory, by the frames' names."""
    return lambda frame: np.asarray(Image.open(directory / frame).convert("L")) > 0


class Annotator:
    """A person at CVAT who knows what the frames show. Each frame is always drawn the same way."""

    def __init__(self, client: Client, truth: Truth, label: str = "Tool", noise: float = 1.5) -> None:
        self.client, self.truth, self.label, self.noise = client, truth, label, noise

    def open_tasks(self, project: str) -> list[Task]:
        """The tasks of a project that wait for a person."""
        (found,) = [each for each in self.client.projects.list(name=project) if each.name == project]
        tasks = self.client.tasks.list(project_id=found.id)
        return [task for task in tasks if not task.name.startswith(("DONE_", "UPLOADING_"))]

    def open_jobs(self, task: Task) -> list[Job]:
        return [job for job in task.get_jobs() if str(job.state) != "completed"]

    def draw(self, frame: str) -> Mask:
        """What this person sees on a frame."""
        return noisy(self.truth(frame), self.noise, int.from_bytes(hashlib.sha256(frame.encode()).digest()[:4]))

    def answer(self, task: Task, jobs: list[Job]) -> None:
        """Replaces what is drawn in these jobs of a task, and completes them."""
        label = next(label.id for label in task.get_labels() if label.name == self.label)
        frames = task.get_frames_info()
        for job in jobs:
            shapes = []
            for number in range(job.start_frame, job.stop_frame + 1):
                mask = self.draw(frames[number].name)
                if mask.any():
                    points = encode_mask(mask)
                    shapes.append(models.LabeledShapeRequest(type="mask", label_id=label, frame=number, points=points))
            job.set_annotations(models.LabeledDataRequest(shapes=shapes))
            job.update({"state": "completed"})

    def work(self, project: str) -> int:
        """Answers everything that is open in a project; returns the number of jobs."""
        done = 0
        for task in self.open_tasks(project):
            jobs = self.open_jobs(task)
            self.answer(task, jobs)
            done += len(jobs)
        return done


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer the loop's open tasks in CVAT with true masks.")
    parser.add_argument("--url", required=True, help="CVAT's address")
    parser.add_argument("--credentials", required=True, type=Path, help="file with the lines user: and password:")
    parser.add_argument("--truth", required=True, type=Path, help="directory of masks, named as the frames")
    parser.add_argument("--project", default="MONAILabel", help="the loop's project (default: %(default)s)")
    given = parser.parse_args()
    account = yaml.safe_load(given.credentials.read_text(encoding="utf-8"))
    with Client(given.url) as client:
        client.login((account["user"], account["password"]))
        jobs = Annotator(client, truth_in(given.truth)).work(given.project)
    Console(highlight=False).print(f"{jobs} jobs answered")


if __name__ == "__main__":
    main()
