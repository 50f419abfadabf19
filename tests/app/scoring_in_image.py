"""Scores inside MONAI Label's image, and prints what came of it: one line of JSON for each scenario.

Usage, with the checkout at /checkout: python3 /checkout/tests/app/scoring_in_image.py [SCENARIO...]
"""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from PIL import Image

from tests.app.training_in_image import QUICK, Lab, main  # finds the app and the stand-ins, too

from endolab_loop import scoring, training  # isort: skip
from endolab_loop.pictures import Pictures  # isort: skip
from frames import generate  # isort: skip
from monai.networks.nets import FlexibleUNet  # isort: skip
from monai.transforms import LoadImaged  # isort: skip
from monailabel.tasks.infer.basic_infer import BasicInferTask  # isort: skip
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring  # isort: skip

ToolTracking = importlib.import_module("lib.infers").ToolTracking  # the shipped app's


class Scores:
    """A bundle, frames, and a scoring of them as the app makes it; `known` is what the datastore learns."""

    def __init__(self, folder: Path, frames: int, **changes: Any) -> None:
        lab = Lab(folder, training.TrainingConf(), QUICK)
        lab.labelled = frames
        self.images = {Path(item["image"]).stem: item["image"] for item in lab.datalist()}
        self.known: dict[str, dict[str, Any]] = {name: {} for name in self.images}
        options = {"dropout": 0.2, "train_mode": True, "skip_writer": True, **changes}
        self.task = ToolTracking(str(lab.bundle), {}, **options)
        self.pictures = Pictures(folder)
        method = EpistemicScoring(self.task, simulation_size=3, use_variance=True)
        self.method = scoring.from_probabilities(method, self.pictures)

    def run(self, workers: int) -> None:
        datastore = SimpleNamespace(
            get_unlabeled_images=lambda: list(self.images),
            get_image_info=self.known.get,
            get_image_uri=self.images.get,
            update_image_info=lambda name, info: self.known[name].update(info),
        )
        self.method({"max_workers": workers, "device": "cpu"}, datastore)


def counted(folder: Path) -> dict[str, Any]:
    """How often one frame is decoded, and asked of each half of the network; which parts of it are random."""
    scores, calls = Scores(folder, 1), Counter[str]()
    random: set[str] = set()
    load, infer = LoadImaged.__call__, BasicInferTask.run_inferer

    def count_loads(*arguments: Any, **options: Any) -> Any:
        calls["decoded"] += 1
        return load(*arguments, **options)

    def watch(task: BasicInferTask, *arguments: Any, **options: Any) -> Any:
        (network,) = (kept for kept, _ in task._networks.values())
        for half in ("encoder", "decoder"):
            getattr(network, half).register_forward_pre_hook(lambda *_, half=half: calls.update([half]))
        random.update(type(module).__name__ for module in network.modules() if module.training)
        return infer(task, *arguments, **options)

    with patch.object(LoadImaged, "__call__", count_loads), patch.object(BasicInferTask, "run_inferer", watch):
        scores.run(workers=1)
    return {"calls": calls, "random": sorted(random)}


def whole_passes(folder: Path) -> dict[str, Any]:
    """The disagreement of one encoder pass with several decoder passes, and of as many passes of the whole network."""
    scores = Scores(folder, 1)
    (image,) = scores.images.values()
    torch.manual_seed(0)
    quick = scoring.ask(scoring.apart(scores.task), image, 3)
    torch.manual_seed(0)
    with patch.object(scoring, "FlexibleUNet", type("NoSuchNetwork", (), {})):
        whole = scoring.ask(scoring.apart(scores.task), image, 3)
    assert isinstance(next(iter(scores.task._networks.values()))[0], FlexibleUNet)
    return {"far": float((quick - whole).abs().max()), "mean": float(quick.mean()), "least": float(quick.min())}


def remembered(folder: Path) -> dict[str, Any]:
    """What of the network is another after a frame was scored."""
    scores = Scores(folder, 2)
    task, (one, other) = scoring.apart(scores.task), scores.images.values()
    scoring.ask(task, one, 3)
    ((network, _),) = scores.task._networks.values()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    scoring.ask(task, other, 3)
    changed = [name for name, values in network.state_dict().items() if not values.equal(before[name])]
    return {"known": len(before), "changed": changed}


def unfamiliar(folder: Path) -> dict[str, Any]:
    """Scores of frames that differ in nothing but the metal, which the bundle knows or does not know."""
    task = scoring.apart(Scores(folder, 1).task)
    found: dict[str, list[float]] = {}
    for metal, brass in (("steel", 0.0), ("brass", 1.0)):
        for number, frame in enumerate(generate.draw_frames(16, 5, 160, 120, brass)):
            if frame.mask.any():
                path = folder / f"{metal}_{number}.png"
                Image.fromarray(frame.image).save(path)
                found.setdefault(metal, []).append(float(scoring.ask(task, str(path), 5).mean()))
    return found


def heat_maps(folder: Path) -> dict[str, Any]:
    """The shape of a frame and of its heat map, and how well that agrees with the disagreement asked for again."""
    scores = Scores(folder, 1)
    ((name, image),) = scores.images.items()
    torch.manual_seed(0)
    again = scoring.ask(scoring.apart(scores.task), image, 3).squeeze().T
    torch.manual_seed(0)
    scores.run(workers=1)
    with Image.open(scores.pictures.heat_map(name)) as picture:
        heat, size = torch.tensor(list(picture.tobytes())).reshape(picture.height, picture.width), picture.size
    found = torch.nn.functional.adaptive_avg_pool2d(again[None, None], (4, 4)).flatten().sqrt()
    shown = torch.nn.functional.adaptive_avg_pool2d(heat[None, None].float(), (4, 4)).flatten()
    together = float(torch.corrcoef(torch.stack([found.as_subclass(torch.Tensor), shown]))[0, 1])
    return {"size": size, "seen": list(again.shape[::-1]), "together": together}


def two_models(folder: Path) -> dict[str, Any]:
    """How many heat maps there are after a scoring by the second of two models, and then by the first."""
    app = importlib.import_module("main")
    one, two = Scores(folder / "one", 1), Scores(folder / "two", 1)
    methods = {"one": EpistemicScoring(one.task), "two": EpistemicScoring(two.task)}
    made = object.__new__(app.EndoscopyApp)
    made.studies = folder
    with patch.object(app.shipped.MyApp, "init_scoring_methods", lambda _: methods):
        methods = made.init_scoring_methods()
    found = {}
    for name, scores in (("two", two), ("one", one)):
        scores.method = methods[name]
        scores.run(workers=1)
        found[name] = len(list(folder.glob("loop/pictures/heat/*.png")))
    return {"maps": found}


def bad_frames(folder: Path) -> dict[str, Any]:
    """One frame of three is torn, and then mended."""
    scores = Scores(folder, 3)
    torn = Path(scores.images["frame_1"])
    whole = torn.read_bytes()
    torn.write_bytes(whole[:100])
    scores.run(workers=2)
    known = {name: dict(each) for name, each in scores.known.items()}
    same = scoring.attempt(known["frame_0"]["epistemic_ts"], torn) == known["frame_1"][scoring.TRIED]
    torn.write_bytes(whole)
    scores.run(workers=2)
    return {"known": known, "same": same, "mended": scores.known["frame_1"]}


def full_gpu(folder: Path) -> dict[str, Any]:
    """For one frame of three, its GPU has no memory."""
    scores, ask = Scores(folder, 3), scoring.ask

    def refuse(task: BasicInferTask, image: str, passes: int) -> Any:
        if image == scores.images["frame_1"]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return ask(task, image, passes)

    with patch.object(scoring, "ask", refuse):
        return {"said": said_by(scores), "known": scores.known}


def said_by(scores: Scores) -> str:
    """What a scoring ends with that fails."""
    try:
        scores.run(workers=2)
    except Exception as error:
        return str(error)
    return ""


def never_unsure(folder: Path) -> dict[str, Any]:
    """A network without dropout."""
    scores = Scores(folder, 1, dropout=0.0)
    return {"said": said_by(scores), "known": scores.known}


if __name__ == "__main__":
    main([counted, whole_passes, remembered, unfamiliar, heat_maps, two_models, bad_frames, full_gpu, never_unsure])
