"""Goes once round the loop in a project of its own in CVAT, and leaves nothing behind.

Runs in a container of its own, from MONAI Label's image, with the lab's app at hand to read. Frames with known masks
are scored, the least sure of are asked for in CVAT, annotated there as a person would, collected and trained on; then
the next ones are asked for. At the end, whatever has happened, the server is stopped and the project deleted. Files lie
in memory only.

Prints a line for each step, writes the same to a report, and ends with a verdict in JSON. SIGTERM and SIGINT end it
early; they do not keep it from cleaning up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

APP = Path(os.environ.get("ENDOLAB_CANARY_APP", "/opt/monai/apps/endoscopy"))
sys.path.insert(0, str(APP))
sys.path += [str(path) for path in sorted((APP / "libraries").glob("*.zip"))]

import urllib3  # noqa: E402
from cvat_sdk import models  # noqa: E402
from cvat_sdk.api_client.exceptions import ApiException, NotFoundException, OpenApiException  # noqa: E402
from cvat_sdk.core.exceptions import CvatSdkException  # noqa: E402
from cvat_sdk.core.helpers import get_paginated_collection  # noqa: E402
from cvat_sdk.masks import encode_mask  # noqa: E402
from endolab_loop.conf import Conf  # noqa: E402
from endolab_loop.cvat import DEADLINE, Cvat, CvatError  # noqa: E402
from endolab_loop.state import read_json  # noqa: E402

T = TypeVar("T")
Frame = tuple[NDArray[np.uint8], NDArray[np.bool_]]  # a picture, and where its instrument is

# What it does, in this order; the role asks for these one by one.
STEPS = ("ready", "asked", "annotated", "collected", "trained", "asked again", "gone")

FRAMES = 6
SIZE = 320, 240
TOP_K = 2
MODEL = "tooltracking"
LABEL = "Tool"  # what this model learns
CONF = {
    "models": MODEL,
    "sam2": "false",
    "epistemic_enabled": "true",
    "epistemic_top_k": str(TOP_K),
    "epistemic_simulation_size": "2",
    "auto_finetune_check_interval": "1",
    "cvat_preannotate": "always",
    "cvat_normalize_label": "true",
    "train_max_epochs": "1",
}

# Seconds: for an error of the loop to mend itself, to clean up, for CVAT to end what it does in the background for us,
# for a project to show that was asked for without an answer, and for the verdict to be read, also after a signal.
ERROR_PATIENCE = 60
CLEAN_UP_WITHIN = 60
BACKGROUND_PATIENCE = 20
UNANSWERED_PATIENCE = 10
READ_WITHIN = 30
READ_WITHIN_AFTER_SIGNAL = 5

NAME = re.compile(r"Endolab canary [0-9a-f]+ until (\d{4}-\d\d-\d\d \d\d:\d\d) UTC")


class Failure(Exception):
    """What went wrong, and what mends it, in a sentence."""


# Names of projects: they say when their canary is over, so that no later one has to guess.


def project_name(at: datetime, timeout: float) -> str:
    until = at + timedelta(seconds=timeout + CLEAN_UP_WITHIN + READ_WITHIN + 60)
    return f"Endolab canary {secrets.token_hex(3)} until {until:%Y-%m-%d %H:%M} UTC"


def over(name: str, at: datetime) -> bool:
    """Whether this is the project of a canary that has ended, however it did."""
    match = NAME.fullmatch(name)
    return match is not None and datetime.strptime(f"{match[1]} +0000", "%Y-%m-%d %H:%M %z") < at


# Frames.


def draw(number: int) -> Frame:
    """A noisy reddish picture with a bright bar that enters from the left; the same at each run."""
    rng = np.random.default_rng([7, number])
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width]
    along = np.array([1.0, rng.uniform(-0.6, 0.6)])
    along /= np.hypot(*along)
    beside = np.abs((y - rng.uniform(0.3, 0.7) * height) * along[0] - x * along[1])
    mask = (beside < rng.uniform(8, 24)) & (x < rng.uniform(0.4, 0.9) * width)
    picture = np.array([150.0, 70.0, 60.0]) + rng.normal(0, rng.uniform(5, 40), (height, width, 1))
    picture[mask] = np.array([190.0, 195.0, 205.0]) + rng.normal(0, 20, (np.count_nonzero(mask), 1))
    return picture.clip(0, 255).astype(np.uint8), mask


def ill_chosen(scores: Mapping[str, float], chosen: set[str], count: int) -> str | None:
    """Why `chosen` are not the `count` frames with the highest scores; None where they are."""
    if len(chosen) != count or not chosen <= scores.keys():
        return f"{', '.join(sorted(chosen)) or 'no frame'} chosen, instead of {count} of {', '.join(sorted(scores))}"
    lowest, missed = min(chosen, key=scores.__getitem__), max(scores.keys() - chosen, key=scores.__getitem__)
    if scores[missed] <= scores[lowest]:
        return None
    return f"{lowest} is chosen with a score of {scores[lowest]}, and {missed} with {scores[missed]} is not"


def mislabelled(label: Path, mask: NDArray[np.bool_], value: int) -> str | None:
    """What a label image says other than this mask in this value; None where it says just that."""
    with Image.open(label) as image:
        found = np.asarray(image)
    if found.shape != mask.shape:
        return f"{label.name} has the shape {found.shape}, and the frame {mask.shape}"
    wrong = np.count_nonzero(found != mask * np.uint8(value))
    return f"{label.name} differs from what was drawn in CVAT in {wrong} pixels" if wrong else None


class Report:
    """What has been done, for those who read along: a line of JSON for each step, and the verdict as the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: list[dict[str, Any]] = []
        self._started = time.monotonic()
        path.write_text("")

    def step(self, name: str, what: str) -> None:
        self.steps.append({"step": name, "seconds": round(time.monotonic() - self._started, 1), "what": what})
        self._write(self.steps[-1])
        print(f"{self.steps[-1]['seconds']:6.1f} s  {name}: {what}", flush=True)

    def verdict(self, why: str, log: list[str]) -> None:
        """The end: passed without a `why`; else also the last lines of the server's log."""
        verdict = {"passed": not why, "steps": self.steps, "why": why, "log": log}
        self._write(verdict)
        print(json.dumps(verdict), flush=True)

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Patience:
    """Ends with the time for the whole round, or with a signal."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.signal = ""
        self._end = time.monotonic() + seconds

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number: int, _: Any) -> None:
        self.signal = signal.Signals(number).name

    def check(self, awaited: str = "CVAT answers") -> None:
        if self.signal:
            raise Failure(f"it was stopped ({self.signal}) before {awaited}: run it again")
        if time.monotonic() > self._end:
            raise Failure(
                f"{self.seconds:g} s have not been enough until {awaited}: see the end of its server's log, or, where"
                " the lab is only busy, allow more with `-e verify_loop_timeout=SECONDS`"
            )

    def until(self, awaited: str, look: Callable[[], T | None]) -> T:
        """What `look` finds, as soon as it finds something."""
        while (found := look()) is None:
            self.check(awaited)
            time.sleep(0.3)
        return found

    def pause(self, seconds: float) -> None:
        """Until the next signal, at most so long."""
        self.signal = ""
        end = time.monotonic() + seconds
        while not self.signal and time.monotonic() < end:
            time.sleep(0.3)


class Server:
    """A MONAI Label of the canary's own, in a directory of its own."""

    def __init__(self, directory: Path, conf: Mapping[str, str]) -> None:
        self.directory = directory
        self.studies = directory / "studies"
        self.conf = conf
        self._log = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def lay_out(self, app: Path, bundle: str, frames: Mapping[str, Frame]) -> None:
        """Copies what a server reads; it writes below its app and its frames."""
        own = self.directory / "app"
        shutil.copytree(app, own, ignore=shutil.ignore_patterns("model", "lib", "logs", "__pycache__"))
        unread = shutil.ignore_patterns("previous", "eval", "*.candidate")
        shutil.copytree(app / "model" / bundle, own / "model" / bundle, ignore=unread)
        self.studies.mkdir()
        for name, (picture, _) in frames.items():
            Image.fromarray(picture).save(self.studies / f"{name}.png")

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "monailabel.main", "start_server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--app", str(self.directory / "app"), "--studies", str(self.studies)]
        for pair in self.conf.items():
            command += ["--conf", *pair]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.directory, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def status(self) -> dict[str, Any] | None:
        """What the loop says of itself; None as long as nobody answers. Raises Failure where nobody ever will."""
        assert self._process, "it has been started"
        if (code := self._process.poll()) is not None:
            raise Failure(f"MONAI Label's server has ended by itself with {code}: see the end of its log")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/loop", timeout=10) as reply:
                status: dict[str, Any] = json.load(reply)
        except OSError:
            return None
        if (error := status["error"]) and age(error["since"]) > ERROR_PATIENCE:
            raise Failure(f"{error['what']}: {error['remedy']}")
        return status

    def open_task(self, name: str) -> dict[str, Any] | None:
        """The task of that name, when it is there for annotators."""
        status = self.status()
        task = status["task"] if status and status["phase"] == "annotating" else None
        return task if task and task["name"] == name else None

    def stop(self) -> None:
        """Ends it with its children, which keep nothing that anybody wants."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def log(self) -> list[str]:
        """The last lines that it said."""
        return self._log.read_text(errors="replace").splitlines()[-20:] if self._log.exists() else []


def age(moment: str) -> float:
    return (datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds()


def credentials() -> tuple[str, str]:
    user, password = (Path(os.environ[f"ENDOLAB_CVAT_{what}_FILE"]) for what in ("USERNAME", "PASSWORD"))
    return user.read_text(encoding="utf-8"), password.read_text(encoding="utf-8")


class Visitor(Cvat):
    """What the canary does in CVAT itself: it annotates, and takes away what is its own."""

    def annotate(self, task: int, masks: Mapping[str, NDArray[np.bool_]]) -> int:
        """Draws the masks of the frames in place of what the model has drawn, and completes every job.

        Returns how many shapes the model had drawn.
        """
        with self._asking("take annotations"):
            found = self.client.tasks.retrieve(task)
            suggested = len(found.get_annotations().shapes)
            label = next(each.id for each in found.get_labels() if each.name == LABEL)
            points = [encode_mask(masks[Path(frame.name).stem]) for frame in found.get_meta().frames]
            for job in found.get_jobs():
                shapes = [
                    models.LabeledShapeRequest(type="mask", label_id=label, frame=number, points=points[number])
                    for number in range(job.start_frame, job.stop_frame + 1)
                ]
                job.set_annotations(models.LabeledDataRequest(shapes=shapes))
                job.update({"state": "completed"})
        return suggested

    def remove(self, doomed: Callable[[str], bool]) -> list[str]:
        """Deletes the account's own projects of such names, with their tasks; returns the names."""
        user, _ = self._credentials()
        with self._asking("delete a canary's project"):
            found = [
                each
                for each in self.client.projects.list(search="Endolab canary")
                if each.owner and each.owner.username == user and doomed(each.name)
            ]
            end = time.monotonic() + BACKGROUND_PATIENCE
            # What is in CVAT's queues would write into a task that is gone.
            while self._busy({each.id for each in found}) and time.monotonic() < end:
                time.sleep(0.5)
            for each in found:
                with contextlib.suppress(NotFoundException):  # another host's canary deletes left-overs, too
                    each.remove()
        return [each.name for each in found]

    def _busy(self, projects: set[int]) -> bool:
        requests = get_paginated_collection(self.client.api_client.requests_api.list_endpoint) if projects else []
        return any(
            each.operation.project_id in projects and str(each.status) in ("queued", "started") for each in requests
        )

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Logged in, within a deadline, with faults as CvatError."""
        try:
            self.allow(DEADLINE)
            self.log_in()
            yield
        except (ApiException, OpenApiException, CvatSdkException, urllib3.exceptions.HTTPError) as error:
            raise self.fault(what, error) from error


class Canary:
    """One round."""

    def __init__(self, directory: Path, app: Path, bundle: str, given: Mapping[str, str], patience: Patience) -> None:
        self.app, self.bundle, self.patience = app, bundle, patience
        self.name = project_name(datetime.now(timezone.utc), patience.seconds)
        given = {**given, **CONF, "cvat_project": self.name}
        self.conf = Conf.model_validate({key: value for key, value in given.items() if key in Conf.model_fields})
        self.url = os.environ["MONAI_LABEL_DATASTORE_URL"]
        self.cvat = Visitor(self.url, credentials, self.conf, patience.check)
        self.server = Server(directory, given)
        self.unanswered = False

    def go(self, report: Report) -> None:
        """Raises Failure and CvatError."""
        frames = {f"canary_{number}": draw(number) for number in range(1, FRAMES + 1)}
        masks = {name: mask for name, (_, mask) in frames.items()}
        if LABEL not in self.conf.label_map:
            raise Failure(f"cvat_labels has no {LABEL}, which {MODEL} learns: add it in monailabel_conf")
        for name in self.cvat.remove(lambda name: over(name, datetime.now(timezone.utc))):
            print(f"project {name!r}, which an earlier canary has left, is deleted", flush=True)
        # Made here and not by the server, which may have to be killed while it asks.
        self.unanswered = True
        self.cvat.make_project()
        self.unanswered = False
        self.server.lay_out(self.app, self.bundle, frames)
        self.server.start()
        self.patience.until("MONAI Label's server answers", self.server.status)
        report.step("ready", "MONAI Label's server answers")

        first = self._asked(1)
        chosen = self._choice(first)
        names = ", ".join(sorted(chosen))
        report.step("asked", f"of {FRAMES} scored frames those that the model is least sure of are in CVAT: {names}")
        suggested = self.cvat.annotate(first["id"], masks)
        report.step("annotated", f"masks are drawn in place of the model's {suggested} shapes, and all jobs completed")
        self._collected({name: masks[name] for name in chosen})
        report.step("collected", "the labels on disk are what was drawn")
        record = self.patience.until("a model is trained on the labels", self._trained)
        report.step("trained", f"{record['epochs']} epoch in {record['seconds']} s; {record['why']}")
        again = set(self.cvat.frames(self._asked(2)["id"]))
        if len(again) != TOP_K or again & {f"{name}.png" for name in chosen}:
            raise Failure(f"the second task asks for {', '.join(sorted(again))}, the first for {', '.join(chosen)}")
        report.step("asked again", f"the next {TOP_K} frames are in CVAT")

    def _asked(self, iteration: int) -> dict[str, Any]:
        name = f"{self.conf.cvat_task_prefix}_{iteration}"
        return self.patience.until(f"frames are in CVAT in a task {name}", lambda: self.server.open_task(name))

    def _choice(self, task: Mapping[str, Any]) -> set[str]:
        """The frames of the first task, which have to be those with the highest stored scores."""
        objects = read_json(self.server.studies / "datastore_v2.json")["objects"]
        scores = {name: each["image"]["info"].get("epistemic_entropy") for name, each in objects.items()}
        record = read_json(self.server.studies / "loop" / "iterations" / "1.json")
        if record["scores"] != scores:
            raise Failure(f"the loop chose by {record['scores']}, and the stored scores are {scores}")
        chosen = {Path(name).stem for name in self.cvat.frames(task["id"])}
        if wrong := ill_chosen(scores, chosen, TOP_K):
            raise Failure(wrong)
        return chosen

    def _collected(self, masks: Mapping[str, NDArray[np.bool_]]) -> None:
        labels = {name: self.server.studies / "labels" / "final" / f"{name}.png" for name in masks}

        def there() -> bool | None:
            return True if self.server.status() and all(path.exists() for path in labels.values()) else None

        self.patience.until("the labels are back", there)
        for name, mask in masks.items():
            if wrong := mislabelled(labels[name], mask, self.conf.label_map[LABEL]):
                raise Failure(wrong)

    def _trained(self) -> dict[str, Any] | None:
        """The training's record. Raises Failure where there will be none."""
        status = self.server.status()
        record: dict[str, Any] | None = read_json(self.server.studies / "loop" / "trainings" / f"1-{MODEL}.json")
        if record is None and status and status["iteration"] > 1:
            notes = "; ".join(note["what"] for note in status["notes"])
            raise Failure(f"the loop went on without a training ({notes}): see the end of its log")
        if record and record["epochs"] < 1:
            raise Failure(f"the training did nothing: {record['why']}")
        return record

    def clean_up(self) -> str:
        """Ends the server and deletes the project; returns what is left, and what to do about it, as a sentence."""
        self.server.stop()
        cvat = Visitor(self.url, credentials, self.conf, lambda: None)
        now = time.monotonic()
        end, unanswered = now + CLEAN_UP_WITHIN, now + UNANSWERED_PATIENCE if self.unanswered else 0
        while True:
            try:
                if cvat.remove(lambda name: name == self.name) or time.monotonic() > unanswered:
                    return ""
            except Exception as error:
                if time.monotonic() > end:
                    return (
                        f"project {self.name!r} may be left in CVAT ({error}); a canary that starts after the time in"
                        f" its name deletes it, or do so yourself at {self.url}/projects"
                    )
            time.sleep(1)


def run(canary: Canary, report: Report) -> bool:
    """Goes round and cleans up; says whether all went well."""
    why: list[str] = []
    log: list[str] = []
    try:
        canary.go(report)
    except (Failure, CvatError) as error:
        why, log = [str(error)], canary.server.log()
    except Exception as error:
        why, log = [f"{type(error).__name__}: {error}: report it"], traceback.format_exc().splitlines()
    if left := canary.clean_up():
        why.append(left)
    else:
        report.step("gone", "nothing of it is left")
    report.verdict("; ".join(why), log)
    return not why


def main() -> int:
    parser = argparse.ArgumentParser(description="Goes once round the loop, and leaves nothing behind.")
    parser.add_argument("--bundle", required=True, help="name of the model bundle")
    parser.add_argument("--conf", type=json.loads, default={}, help="what the lab's server has as --conf, in JSON")
    parser.add_argument("--timeout", type=float, required=True, help="seconds for the round")
    parser.add_argument("--directory", type=Path, required=True, help="where to write, for as long as this runs")
    parser.add_argument("--report", type=Path, required=True, help="where to write what was done")
    options = parser.parse_args()
    patience = Patience(options.timeout)
    patience.listen()
    report = Report(options.report)
    options.directory.mkdir(parents=True)
    passed = run(Canary(options.directory, APP, options.bundle, options.conf, patience), report)
    # With the end of this process the container goes, and the report with it.
    patience.pause(READ_WITHIN_AFTER_SIGNAL if patience.signal else READ_WITHIN)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
