"""Scores from probabilities, with as few passes of the network as it takes; one bad frame does not end a scoring.

What fails for another reason than the frame, such as a GPU that others have filled, does: it may succeed the next time.

A frame is decoded once, and the encoder, which has no dropout, sees it once; only the decoder is asked again and again.
What it says each time are probabilities, and nothing but dropout is random. Each frame is normalised by its own
statistics: by those of the training, the network is sure, and wrong, where a frame is unlike all that it has seen.

Cures, of the shipped scoring: a frame that ends it; threads that undo each other's transforms; passes that each decode
the frame, run the whole network, and look for contours that nobody asks for; masks, most of whose votes are ties; batch
norm that keeps something of each frame scored before, and drop-connect that is random, too.
"""

from __future__ import annotations

import copy
import errno
import logging
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import FlexibleUNet
from monailabel.tasks.infer.basic_infer import BasicInferTask
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring
from monailabel.utils.others.generic import name_to_device
from torch import Tensor, nn

from .pictures import Pictures

# Why a frame could not be scored, and which weights and which file that was.
UNREADABLE, TRIED = "unreadable", "epistemic_tried"

# What a disk, or a machine without memory or file handles, says that may be well the next time.
PASSING = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)

logger = logging.getLogger(__name__)


class NeverUnsure(ValueError):
    """The network has no dropout."""


def attempt(weights: int, file: Path) -> list[int]:
    """What a try to score a frame is of, nothing where it is gone; a file that is mended, or whole now, is another."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return []
    return [weights, status.st_mtime_ns, status.st_size]


def passes_by(error: BaseException) -> bool:
    """Whether it is not the frame's fault, but the memory's, the GPU's or the disk's."""

    def chain(one: BaseException | None) -> Iterator[BaseException]:
        while one:
            yield one
            one = one.__cause__ or one.__context__

    return any(
        isinstance(each, (MemoryError, torch.cuda.OutOfMemoryError))
        or (isinstance(each, OSError) and each.errno in PASSING)
        or (isinstance(each, RuntimeError) and "CUDA" in str(each))
        for each in chain(error)
    )


def apart(task: BasicInferTask) -> BasicInferTask:
    """Returns a copy of `task` for one thread: it shares the loaded network, and its transforms are its own.

    Threads that both make the transforms of one config, at the start of a scoring, undo each other's: the config keeps
    those of the last, so that another one cannot invert what it has done to its frame.
    """
    alone = copy.copy(task)
    if hasattr(task, "bundle_config"):
        alone.bundle_config = type(task.bundle_config)(copy.deepcopy(task.bundle_config.config))
    return alone


class Known(nn.Module):
    """Stands for an encoder that has seen its images already."""

    def __init__(self, features: list[Tensor]) -> None:
        super().__init__()
        self.features = features

    def forward(self, _: Tensor) -> list[Tensor]:
        return self.features


def by_itself(norm: nn.BatchNorm2d, features: Tensor) -> Tensor:
    """What a batch norm makes of each image by the image's own statistics, and does not remember."""
    if features.shape[2:].numel() == 1:  # there are none
        return nn.BatchNorm2d.forward(norm, features)
    return nn.functional.instance_norm(features, weight=norm.weight, bias=norm.bias, eps=norm.eps)


def entropy(probabilities: Tensor) -> Tensor:
    """Of the classes, dimension 1, in nats; what has one channel is a class or is not."""
    terms = torch.special.entr(probabilities)
    if probabilities.shape[1] == 1:
        terms = terms + torch.special.entr(1 - probabilities)
    return terms.sum(1, keepdim=True)


def disagreement(network: nn.Module, images: Tensor, passes: int) -> Tensor:
    """How much passes with dropout disagree on each pixel: the entropy of their mean, less the mean of their entropies.

    In nats (mutual information): 0 where all passes say the same, however unsure they are of it.
    """
    together = passes if images.is_cuda else 1  # a GPU takes them all at once; a CPU gains nothing by it
    with torch.inference_mode():
        asked = network
        if isinstance(network, FlexibleUNet):
            asked = copy.copy(network)
            features = Known([torch.cat([each] * together) for each in network.encoder(images)])
            asked._modules = {**network._modules, "encoder": features}
        images = torch.cat([images.as_subclass(Tensor)] * together)
        total, own = torch.zeros(()), torch.zeros(())
        for _ in range(0, passes, together):
            logits = asked(images)
            probabilities = logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid()
            total = total + sum(probabilities.chunk(together))
            own = own + sum(entropy(probabilities).chunk(together))
        return entropy(total / passes) - own / passes


def ask(task: BasicInferTask, image: str, passes: int) -> Tensor:
    """The disagreement on an image, in the size in which the network sees it.

    task: this thread's own, from apart(). Raises NeverUnsure, and what the bundle's transforms raise where they cannot
    read the image.
    """
    device = name_to_device(task.config().get("device"))
    data = {**copy.deepcopy(task.config()), "image": image, "image_path": image, "device": device}
    data = task.run_pre_transforms(data, task.pre_transforms(data))
    task.train_mode = False
    network = task._get_network(device, data)
    asked_again = network.decoder if isinstance(network, FlexibleUNet) else network
    random = [module for module in asked_again.modules() if isinstance(module, DROPOUTS) and module.p]
    if not random:
        raise NeverUnsure("the network has no dropout, so that it is never unsure")
    for module in random:
        module.train()
    for norm in [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.forward = partial(by_itself, norm)
    asked = copy.copy(task)
    asked._get_network = lambda *_: partial(disagreement, network, passes=passes)
    return asked.run_inferer(data, device=device)[task.output_label_key]


def deciding(methods: Mapping[str, Any]) -> EpistemicScoring | None:
    """The scoring by which frames are chosen: the first of these that asks a model how unsure it is."""
    return next((each for each in methods.values() if isinstance(each, EpistemicScoring)), None)


def from_probabilities(method: EpistemicScoring, pictures: Pictures | None) -> EpistemicScoring:
    """Lets a scoring ask its model so, and go on after a frame that it cannot read, of which it says so.

    What it says of each pixel becomes a heat map among `pictures`, where it has such.
    """
    own = threading.local()  # making transforms anew for each frame would cost as much as a pass of the network

    def run_scoring(frame: str, simulation_size: int, weights: int, datastore: Any) -> None:
        if not hasattr(own, "task"):
            own.task = apart(method.infer_task)
            own.task.set_loglevel("error")
        file = Path(datastore.get_image_uri(frame))
        if not (tried := attempt(weights, file)):
            return
        try:
            found = ask(own.task, str(file), simulation_size)
            score, pixels = float(found.mean()), np.asarray(found.cpu(), np.float32)
        except Exception as error:
            logger.exception("frame %s could not be scored", frame)
            if isinstance(error, NeverUnsure) or passes_by(error):
                raise
            datastore.update_image_info(frame, {UNREADABLE: f"{type(error).__name__}: {error}"[:300], TRIED: tried})
            return
        if pictures:
            # MONAI's readers turn the axes of a picture.
            pictures.heat(frame, score, pixels.squeeze().T)
        known = {UNREADABLE: "", method.key_output_ts: weights, method.key_output_entropy: score}
        datastore.update_image_info(frame, known)

    method.run_scoring = run_scoring
    return method
