"""The bot that answers tasks draws what is there, as a hand would, and no more than once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotator import Annotator, noisy
from cvat_sdk import Client, Config
from cvat_sdk.core.proxies.tasks import Task
from cvat_sdk.masks import decode_mask
from numpy.typing import NDArray

from tests.stand_ins.deployment import ADMIN, Cvat
from tests.stand_ins.story import picture

SIZE = (160, 120)
PROJECT = "of the annotator"


def truth(frame: str) -> NDArray[np.bool_]:
    """A tool on every frame but the second."""
    mask = np.zeros(SIZE[::-1], bool)
    if frame != "frame_01.png":
        mask[20:70, 30:110] = True
    return mask


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.fixture
def task(cvat: Cvat, tmp_path: Path) -> Task:
    client = Client(cvat.url, config=Config(status_check_period=0.1))
    client.login(ADMIN)
    project = client.projects.create({"name": PROJECT, "labels": [{"name": "Other"}, {"name": "Tool"}]})
    files = [tmp_path / f"frame_{number:02}.png" for number in range(3)]
    for number, file in enumerate(files):
        file.write_bytes(picture(number))
    spec = {"name": "ActiveLearning_Iteration_1", "project_id": project.id, "segment_size": 1}
    return client.tasks.create_from_data(spec, resources=files)


def test_a_task_is_answered_once(task: Task) -> None:
    annotator = Annotator(task._client, truth)
    assert annotator.work(PROJECT) == 3
    assert {str(job.state) for job in task.get_jobs()} == {"completed"}
    tool = next(label.id for label in task.get_labels() if label.name == "Tool")
    shapes = sorted(task.get_annotations().shapes, key=lambda shape: shape.frame)
    assert [(shape.frame, shape.label_id) for shape in shapes] == [(0, tool), (2, tool)]
    drawn = decode_mask(shapes[0].points, image_width=SIZE[0], image_height=SIZE[1])
    assert 0.85 < overlap(drawn, truth("frame_00.png")) < 1
    assert annotator.work(PROJECT) == 0


def test_a_hand_is_as_wrong_each_time() -> None:
    mask = truth("frame_00.png")
    assert np.array_equal(noisy(mask, 2, seed=1), noisy(mask, 2, seed=1))
    assert not np.array_equal(noisy(mask, 2, seed=1), noisy(mask, 2, seed=2))
    assert overlap(noisy(mask, 1, seed=1), mask) > overlap(noisy(mask, 4, seed=1), mask)
    assert not noisy(np.zeros((9, 9), bool), 2, seed=1).any()
