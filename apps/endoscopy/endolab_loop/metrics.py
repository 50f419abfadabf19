"""The loop in numbers, for Prometheus: GET /metrics.

What is not known has no sample. The driver and CVAT's certificate are asked for now and then, not at every look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from fastapi.responses import PlainTextResponse

from . import gpus, health, history, room
from .certificate import Validity, Watched
from .gpus import Gpu

if TYPE_CHECKING:
    from .loop import Loop

Sample = tuple[Mapping[str, str], float | None]


@dataclass(frozen=True)
class Seen:
    """What the metrics are taken from, all of one moment."""

    status: Mapping[str, Any]
    healthy: bool
    errors: Mapping[str, int]
    trainings: list[dict[str, Any]]
    rooms: list[room.Room]
    gpus: list[Gpu]
    gpus_given: int
    certificate: Validity | None


@dataclass(frozen=True)
class Metric:
    """A metric; meaning: a sentence that names its unit. Of Prometheus's kinds it is a gauge, unless it only grows."""

    name: str
    meaning: str
    samples: Callable[[Seen], Iterable[Sample]]
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


def _one(value: Callable[[Seen], float | None]) -> Callable[[Seen], Iterable[Sample]]:
    return lambda seen: [({}, value(seen))]


def _moment(key: str) -> Callable[[Seen], Iterable[Sample]]:
    def value(seen: Seen) -> float | None:
        return datetime.fromisoformat(seen.status[key]).timestamp() if seen.status[key] else None

    return _one(value)


def _frames(seen: Seen) -> Iterable[Sample]:
    if counts := seen.status["frames"]:
        for state in ("labelled", "scored", "unreadable", "discarded"):
            yield {"state": state}, counts[state]
        # Those that may still be asked for, as status.yml has it.
        done = counts["labelled"] + counts["unreadable"] + counts["discarded"]
        yield {"state": "unlabelled"}, max(0, counts["total"] - done)


def _jobs(seen: Seen) -> Iterable[Sample]:
    if task := seen.status["task"]:
        yield {"state": "completed"}, task["jobs_done"]
        yield {"state": "to do"}, task["jobs"] - task["jobs_done"]


def _of_last(value: Callable[[Mapping[str, Any]], float | None], *labels: str) -> Callable[[Seen], Iterable[Sample]]:
    """Of the last training of each model."""

    def samples(seen: Seen) -> Iterable[Sample]:
        for record in {record["model"]: record for record in seen.trainings}.values():
            yield {label: str(record[label]) for label in labels}, value(record)

    return samples


def _memory(value: Callable[[Gpu], int | None]) -> Callable[[Seen], Iterable[Sample]]:
    return lambda seen: [({"gpu": gpu.index, "name": gpu.name}, value(gpu)) for gpu in seen.gpus]


METRICS = (
    Metric(
        "endolab_loop_healthy",
        "1 while the loop's thread runs, and works or has seen CVAT of late, as the health check has it; else 0.",
        _one(lambda seen: seen.healthy),
    ),
    Metric(
        "endolab_loop_phase",
        "1 for the phase that the loop is in.",
        lambda seen: [({"phase": seen.status["phase"]}, 1)],
        ("phase",),
    ),
    Metric(
        "endolab_loop_phase_start_timestamp_seconds",
        "When that phase began, in seconds of the Unix time.",
        _moment("since"),
    ),
    Metric("endolab_loop_iteration", "The iteration, counted from 1.", _one(lambda seen: seen.status["iteration"])),
    Metric(
        "endolab_loop_frames",
        "Frames: `labelled`, `unlabelled` that may be asked for, `scored` by the weights in use, `unreadable`, "
        "`discarded` by annotators.",
        _frames,
        ("state",),
    ),
    Metric("endolab_loop_jobs", "Jobs of the open task that are `completed` or `to do`.", _jobs, ("state",)),
    Metric(
        "endolab_loop_poll_timestamp_seconds",
        "When the loop has last seen CVAT, in seconds of the Unix time.",
        _moment("polled_at"),
    ),
    Metric(
        "endolab_loop_cvat_reachable",
        "0 while CVAT does not do what the loop asks, else 1.",
        _one(lambda seen: not (seen.status["error"] and seen.status["error"]["whose"] == "CVAT")),
    ),
    Metric(
        "endolab_loop_error",
        "1 while an error waits to be mended, by whom it is of: `CVAT`, `MONAI Label` or `Endolab`; else 0.",
        lambda seen: [
            ({"whose": whose}, bool(seen.status["error"] and seen.status["error"]["whose"] == whose))
            for whose in seen.errors
        ],
        ("whose",),
    ),
    Metric(
        "endolab_loop_errors_total",
        "Steps that have failed since the server's start.",
        lambda seen: [({"whose": whose}, count) for whose, count in seen.errors.items()],
        ("whose",),
        "counter",
    ),
    Metric(
        "endolab_loop_validation_metric",
        "What the weights in use reach on validation frames, by the bundle's own metric, such as a mean Dice.",
        _of_last(history.reached, "model", "metric"),
        ("model", "metric"),
    ),
    Metric(
        "endolab_loop_training_seconds",
        "How long the last training took.",
        _of_last(lambda record: record["seconds"], "model"),
        ("model",),
    ),
    Metric(
        "endolab_loop_disk_free_bytes",
        "What is left on the disk that a directory of frames or models is on.",
        lambda seen: [({"directory": str(room.directory)}, room.free) for room in seen.rooms],
        ("directory",),
    ),
    Metric("endolab_gpus", "GPUs that work.", _one(lambda seen: len(seen.gpus))),
    Metric("endolab_gpus_given", "GPUs that the container was started with.", _one(lambda seen: seen.gpus_given)),
    Metric("endolab_gpu_memory_used_bytes", "A GPU's memory in use.", _memory(lambda gpu: gpu.used), ("gpu", "name")),
    Metric("endolab_gpu_memory_bytes", "A GPU's memory.", _memory(lambda gpu: gpu.total), ("gpu", "name")),
    Metric(
        "endolab_cvat_certificate_start_timestamp_seconds",
        "From when on the certificate counts by which CVAT is reached, in seconds of the Unix time; none on loopback.",
        _one(lambda seen: seen.certificate.begins if seen.certificate else None),
    ),
    Metric(
        "endolab_cvat_certificate_end_timestamp_seconds",
        "Until when it counts, in seconds of the Unix time.",
        _one(lambda seen: seen.certificate.ends if seen.certificate else None),
    ),
)


def look(loop: Loop, gpus_now: list[Gpu], certificate: Validity | None) -> Seen:
    """What the metrics are taken from, now."""
    status = dict(loop.status)
    return Seen(
        status,
        health.ailment(status) is None,
        loop.errors,
        history.trainings(loop.directory),
        room.left(loop.written),
        gpus_now,
        gpus.given(),
        certificate,
    )


def exposition(seen: Seen) -> str:
    """All samples in Prometheus's text format."""
    lines = []
    for metric in METRICS:
        lines += [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.samples(seen):
            if value is not None:
                pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
                lines.append(f"{metric.name}{{{pairs}}} {float(value)}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def add_metrics(server: Any, loop: Loop, gpus_now: Callable[[], list[Gpu]]) -> None:
    """Adds GET /metrics to the FastAPI application `server`."""
    certificate = Watched(loop.cvat.url)

    def show() -> PlainTextResponse:
        text = exposition(look(loop, gpus_now(), certificate()))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    server.add_api_route(
        "/metrics", show, methods=["GET"], summary="The loop in numbers, for Prometheus", tags=["Loop"]
    )
