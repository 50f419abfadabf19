"""The lab whose loop the tests turn, and the person who annotates in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import inputs
from annotator import Annotator, truth_in
from cvat_sdk import Client
from cvat_sdk.core.proxies.tasks import Task
from testinfra.host import Host

from tests.stack.common import wait_until

DATASETS = "/srv/endolab/datasets"
STUDIES = f"{DATASETS}/images"
INTERVAL = 2


def is_open(loop: dict[str, Any]) -> bool:
    """Whether people are waited for, with nothing wrong."""
    return bool(loop["phase"] == "annotating" and not loop["error"])


class Lab:
    """The deployed lab, and the person who annotates in it."""

    def __init__(self, host: Host, variables: dict[str, Any]) -> None:
        self.host = host
        self.cvat = f"http://127.0.0.1:{variables['edge_http_port']}"
        self.monailabel = f"http://127.0.0.1:{variables['monailabel_port']}"
        self.masks = inputs.frames(variables["stand_ins_frames"]) / "masks"
        self.account = (variables["cvat_admin_username"], variables["cvat_admin_password"])
        self.service = (variables["cvat_service_username"], variables["cvat_service_password"])

    def answers(self) -> bool:
        """Whether CVAT does, through the edge, with its database and queues."""
        return bool(self.host.run("curl -fsS --max-time 5 %s", f"{self.cvat}/api/server/health/?format=json").rc == 0)

    def loop(self) -> dict[str, Any]:
        """What the server shows of its loop; what it showed last while it does not answer."""
        answer = self.host.run(
            "curl -fsS --max-time 5 %s || cat %s", f"{self.monailabel}/loop", f"{STUDIES}/loop/status.json"
        )
        shown: dict[str, Any] = json.loads(answer.stdout)
        return shown

    def wait(self, seconds: float, what: str, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Waits until the loop's status is as `condition` wants it."""
        seen: dict[str, Any] = {}

        def holds() -> bool:
            seen.update(self.loop())
            return bool(condition(seen))

        try:
            wait_until(holds, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the loop shows {seen}") from None
        return seen

    def annotating(self, iteration: int) -> dict[str, Any]:
        """Waits until a task of this iteration is open, with nothing wrong."""
        return self.wait(
            300, f"iteration {iteration} is open", lambda loop: is_open(loop) and loop["iteration"] == iteration
        )

    def broken(self) -> dict[str, Any]:
        """Waits until the loop has seen that something is wrong."""
        return self.wait(300, "the loop sees it", lambda loop: loop["error"])

    def annotator(self) -> Annotator:
        client = Client(self.cvat, check_server_version=False)
        client.login(self.account)
        return Annotator(client, truth_in(self.masks))

    def task(self, iteration: int) -> Task:
        (task,) = [
            task
            for task in self.annotator().client.tasks.list()
            if task.name == f"ActiveLearning_Iteration_{iteration}"
        ]
        return task

    def answer(self) -> None:
        assert self.annotator().work("MONAILabel") > 0

    def file(self, path: str) -> Any:
        return json.loads(self.host.file(f"{STUDIES}/{path}").content_string)

    def turns_again(self) -> None:
        """CVAT is back: the loop has seen it after two polls at most."""
        back = datetime.now(timezone.utc)

        def polled(loop: dict[str, Any]) -> bool:
            return not loop["error"] and bool(datetime.fromisoformat(loop["polled_at"]) >= back.replace(microsecond=0))

        self.wait(60, "the loop turns again", polled)
        took = (datetime.now(timezone.utc) - back).total_seconds()
        # Beside two intervals, what a poll itself takes, and this look at it.
        assert took < 2 * INTERVAL + 4, f"it took {took:.0f} s"
