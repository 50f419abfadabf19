"""The loop in numbers; tests/monitoring has Prometheus read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from endolab_loop import metrics
from endolab_loop.certificate import Validity
from endolab_loop.gpus import Gpu
from endolab_loop.metrics import METRICS, Seen
from endolab_loop.state import write_json

from tests.unit.app.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def seen(world: World, gpus: list[Gpu] | None = None, certificate: Validity | None = None) -> Seen:
    return metrics.look(world.loop, gpus or [], certificate)


def samples(found: Seen) -> dict[str, float]:
    lines = [line for line in metrics.exposition(found).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_loop_that_waits_for_annotators(world: World) -> None:
    world.turns()
    world.cvat.open()[0].completed = set(world.cvat.open()[0].frames[:1])
    world.turns()
    found = samples(seen(world))
    assert found["endolab_loop_healthy{}"] == 1
    assert found['endolab_loop_phase{phase="annotating"}'] == 1
    assert found["endolab_loop_iteration{}"] == 1
    states = {"labelled": 0, "unlabelled": 9, "scored": 9, "unreadable": 0, "discarded": 0}
    assert {state: found[f'endolab_loop_frames{{state="{state}"}}'] for state in states} == states
    assert found['endolab_loop_jobs{state="completed"}'] == 1
    assert found['endolab_loop_jobs{state="to do"}'] == 2
    assert found["endolab_loop_poll_timestamp_seconds{}"] >= found["endolab_loop_phase_start_timestamp_seconds{}"]
    assert found[f'endolab_loop_disk_free_bytes{{directory="{world.directory}"}}'] > 0


def test_what_can_be_read_or_asked_for_no_more_is_not_unlabelled(world: World) -> None:
    world.turns()
    counts = {"total": 9, "labelled": 2, "scored": 7, "unreadable": 1, "discarded": 3}
    found = seen(world)
    found = replace(found, status={**found.status, "frames": counts})
    assert samples(found)['endolab_loop_frames{state="unlabelled"}'] == 3


def test_what_is_not_known_has_no_sample(world: World) -> None:
    found = samples(seen(world))
    for name in ("poll_timestamp", "frames", "jobs", "validation_metric", "certificate"):
        assert not [sample for sample in found if name in sample]


def test_a_cvat_that_is_away_is_told_and_its_errors_counted(world: World) -> None:
    world.cvat.down = True
    world.turn()
    world.turn()
    found = samples(seen(world))
    assert found["endolab_loop_cvat_reachable{}"] == 0
    assert found['endolab_loop_error{whose="CVAT"}'] == 1
    assert found['endolab_loop_errors_total{whose="CVAT"}'] == 2
    assert found['endolab_loop_errors_total{whose="Endolab"}'] == 0
    world.cvat.down = False
    world.turn()
    found = samples(seen(world))
    assert found["endolab_loop_cvat_reachable{}"] == 1
    assert found['endolab_loop_error{whose="CVAT"}'] == 0
    assert found['endolab_loop_errors_total{whose="CVAT"}'] == 2


def test_a_thread_that_has_died_is_told(world: World) -> None:
    world.turns()
    world.loop.status["alive_at"] = "2020-01-01T00:00:00+00:00"
    assert samples(seen(world))["endolab_loop_healthy{}"] == 0


def test_the_last_training_of_each_model_counts(world: World) -> None:
    directory = world.directory / "loop" / "trainings"
    directory.mkdir()
    for number, after in ((1, 0.4), (2, 0.6), (10, 0.7)):
        record: dict[str, Any] = {"iteration": number, "model": "tool", "metric": "val_mean_dice", "before": 0.3}
        write_json(directory / f"{number}-tool.json", {**record, "after": after, "promoted": True, "seconds": number})
    found = samples(seen(world))
    assert found['endolab_loop_validation_metric{model="tool",metric="val_mean_dice"}'] == 0.7
    assert found['endolab_loop_training_seconds{model="tool"}'] == 10


def test_gpus_and_a_certificate_are_shown(world: World) -> None:
    found = samples(seen(world, [Gpu("0", 'odd "name"\\', 1, None)], Validity(10.0, 20.0)))
    assert found["endolab_gpus{}"] == 1
    assert found['endolab_gpu_memory_used_bytes{gpu="0",name="odd \\"name\\"\\\\"}'] == 1
    assert not [name for name in found if name.startswith("endolab_gpu_memory_bytes")]
    assert found["endolab_cvat_certificate_end_timestamp_seconds{}"] == 20


def test_every_sample_has_the_labels_that_its_metric_names(world: World) -> None:
    world.turns()
    found = seen(world, [Gpu("0", "A100", 1, 2)], Validity(1.0, 2.0))
    for metric in METRICS:
        for labels, _ in metric.samples(found):
            assert tuple(labels) == metric.labels
