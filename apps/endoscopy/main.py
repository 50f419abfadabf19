"""Endolab's endoscopy app: the one that MONAI Label ships, with a loop that keeps turning.

It is found by MONAI Label through its class that has MONAILabelApp as a direct base. Flags and REST stay those of the
shipped app. What is replaced: the datastore's index (endolab_loop.datastore), the client of CVAT (endolab_loop.cvat),
the choice of frames and the poll loop (endolab_loop.loop), scoring (endolab_loop.scoring), training
(endolab_loop.training), unchecked --conf keys (endolab_loop.conf). Each module names the faults that it cures.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import monailabel
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.main import Main
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring
from monailabel.tasks.train.bundle import BundleTrainTask

APP = Path(__file__).resolve().parent
SHIPPED = Path(Main()._get_installed_dir(None, "sample-apps")) / "endoscopy"

# What the image has itself wins over what was brought along.
sys.path.insert(0, str(APP))
sys.path[1:1] = [str(SHIPPED)]
sys.path += [str(path) for path in sorted((APP / "libraries").glob("*.zip"))]

from endolab_loop import conf as confs  # noqa: E402
from endolab_loop import health  # noqa: E402
from endolab_loop.datastore import LoopDatastore  # noqa: E402
from endolab_loop.pictures import Pictures  # noqa: E402
from endolab_loop.scoring import deciding, from_probabilities  # noqa: E402
from endolab_loop.training import TrainingConf, guard  # noqa: E402

logger = logging.getLogger(__name__)

# Keys that MONAI Label reads elsewhere than by conf.get("KEY").
ALSO_KNOWN = {"server_mode"}


def _load_shipped() -> Any:
    loader = SourceFileLoader("endolab_shipped_endoscopy", str(SHIPPED / "main.py"))
    module: Any = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    module.CVATDatastore = LoopDatastore
    return module


shipped = _load_shipped()


def credentials() -> tuple[str, str]:
    """User name and password for CVAT, read anew each time, so that a changed password needs no restart."""

    def read(what: str, given: str | None) -> str:
        file = os.environ.get(f"ENDOLAB_CVAT_{what}_FILE")
        return Path(file).read_text(encoding="utf-8") if file else given or ""

    return (
        read("USERNAME", settings.MONAI_LABEL_DATASTORE_USERNAME),
        read("PASSWORD", settings.MONAI_LABEL_DATASTORE_PASSWORD),
    )


class EndoscopyApp(shipped.MyApp, MONAILabelApp):  # type: ignore[name-defined]
    """The shipped app; in the server, with the loop."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        known = confs.keys_read_below([SHIPPED, Path(monailabel.__file__).parent]) | ALSO_KNOWN
        self.loop_conf = confs.read(conf, known)
        self.trainings = Path(studies) / health.STATUS.parent / "trainings"
        # Scoring only scores: choosing frames and asking CVAT is the loop's.
        super().__init__(app_dir, studies, {**conf, "epistemic_top_k": "0"})

    def init_trainers(self) -> dict[str, Any]:
        own = self.loop_conf
        conf = TrainingConf(
            own.train_max_epochs, own.train_batch_size, own.train_val_split, own.train_early_stop, own.train_keep
        )
        trainers: dict[str, Any] = super().init_trainers()
        if unknown := set(own.auto_finetune_models) - set(trainers):
            raise confs.ConfError(
                f"--conf auto_finetune_models names {', '.join(unknown)}; the loaded models are {', '.join(trainers)}"
            )
        for model, task in trainers.items():
            if isinstance(task, BundleTrainTask):
                labels = self._infers[model].labels
                trainers[model] = guard(task, labels, lambda: own.label_map, conf, self.trainings)
        return trainers

    def init_scoring_methods(self) -> dict[str, Any]:
        methods, pictures = super().init_scoring_methods(), Pictures(Path(self.studies) / health.STATUS.parent)
        first = deciding(methods)
        return {
            name: from_probabilities(each, pictures if each is first else None)
            if isinstance(each, EpistemicScoring)
            else each
            for name, each in methods.items()
        }

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> Any:
        """Only the server starts scorings; a training child that asks for one by http://127.0.0.1 fails behind TLS."""
        return super().async_scoring(method, params) if self._server_mode else {}

    def on_init_complete(self) -> None:
        automatic: bool = settings.MONAI_LABEL_AUTO_UPDATE_SCORING
        self._auto_update_scoring = False  # the loop scores when it is due
        MONAILabelApp.on_init_complete(self)
        if automatic and isinstance(self.datastore(), LoopDatastore):
            # Nor does whoever asks for the next sample have all frames scored.
            self._start_loop()
        else:
            self._auto_update_scoring = automatic

    def _start_loop(self) -> None:
        # The children that score and train need none of these.
        from endolab_loop.annotators import annotators
        from endolab_loop.api import add_routes
        from endolab_loop.cvat import Cvat
        from endolab_loop.gpus import Fresh
        from endolab_loop.lab import MonaiLab
        from endolab_loop.loop import Loop
        from endolab_loop.metrics import add_metrics
        from endolab_loop.page import add_page
        from fastapi.responses import JSONResponse
        from monailabel.app import app as server

        own = self.loop_conf

        def lab() -> MonaiLab:
            return MonaiLab(self, own.auto_finetune_models or list(self._trainers), own.label_map, self.trainings)

        def cvat(alive: Callable[[], None] = lambda: None) -> Cvat:
            return Cvat(settings.MONAI_LABEL_DATASTORE_URL, credentials, own, alive)

        loops = lab()
        loop = Loop(loops, cvat(lambda: loop.alive()), own, Path(self.studies), annotators, APP)
        loops.alive = loop.alive

        gpus = Fresh()
        add_routes(server, JSONResponse, loop, lab(), cvat)
        add_page(server, loop, lab(), gpus)
        add_metrics(server, loop, gpus)
        threading.Thread(target=loop.run, name="loop", daemon=True).start()
