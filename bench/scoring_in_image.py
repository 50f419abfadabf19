"""Times three ways to score the same frame, one after the other, inside MONAI Label's image.

The ways: the shipped app's, Endolab's, and the floor, which is one pass of the encoder and as many of the decoder as
there are passes, with nothing around them. Prints a line of JSON for each frame, and one with scores to compare.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from endolab_loop import scoring
from endolab_loop.pictures import Pictures
from frames import generate
from monai.networks.nets import FlexibleUNet
from PIL import Image

from bench.shipped import Scores, scoring_of, unpack

SIZE = (736, 480)
SEED = 11  # of frames that the bundle does not know

# The shape of the published bundle's network.
PUBLISHED = {"backbone": "efficientnet-b2", "decoder_channels": [256, 128, 64, 32, 16]}


@dataclass(frozen=True)
class Case:
    """A network to score with: of which shape, with which weights, and the frames on which each way is timed."""

    network: str
    weights: str
    frames: int


def cases(smooth: int, untrained: int) -> list[Case]:
    """Masks without contours are the least that the shipped way can be given, noise is the most."""
    return [
        Case("bundle", "trained", smooth),
        Case("published", "empty masks", smooth),
        Case("bundle", "untrained", untrained),
        Case("published", "untrained", untrained),
    ]


def change(bundle: Path, case: Case) -> None:
    """Makes the bundle what `case` wants, and lets it see frames in full size."""
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["preprocessing"]["transforms"][2]["spatial_size"] = list(SIZE)
    if case.network == "published":
        config["network_def"].update(PUBLISHED)
    path.write_text(json.dumps(config))
    if case.weights == "trained":
        return
    torch.manual_seed(0)
    network = FlexibleUNet(**{key: value for key, value in config["network_def"].items() if key != "_target_"})
    if case.weights == "empty masks":
        network.segmentation_head[0].bias.data = torch.tensor([100.0, -100.0])
    torch.save({"model": network.state_dict()}, bundle / "models" / "model.pt")


def floor(bundle: Path, passes: int) -> Callable[[str], None]:
    """The passes of the network alone, on an image that is there already."""
    task = scoring_of(bundle).infer_task
    network = task._get_network(torch.device("cpu"), task.config())
    network.eval()
    for module in network.decoder.modules():
        if isinstance(module, scoring.DROPOUTS):
            module.train()
    image = torch.rand(1, 3, *SIZE)

    def run(_frame: str) -> None:
        with torch.inference_mode():
            features = network.encoder(image)
            for _ in range(passes):
                network.segmentation_head(network.decoder(features, network.skip_connect))

    return run


def draw(folder: Path, count: int, size: tuple[int, int], brass: float) -> list[str]:
    """Draws frames; returns their files."""
    files = []
    for number, frame in enumerate(generate.draw_frames(count, SEED, *size, brass)):
        files.append(str(folder / f"frame_{number:03}.png"))
        Image.fromarray(frame.image).save(files[-1])
    return files


def timed(archive: Path, case: Case, passes: int) -> Iterator[dict[str, Any]]:
    """Seconds of each way on each frame, of the clock and of the processors; the first frame is not counted."""
    with TemporaryDirectory() as folder:
        bundle = unpack(archive, Path(folder))
        change(bundle, case)
        ways: dict[str, Callable[[str], object]] = {
            "upstream": Scores(scoring_of(bundle), passes),
            "endolab": Scores(scoring.from_probabilities(scoring_of(bundle), Pictures(bundle)), passes),
            "floor": floor(bundle, passes),
        }
        warm, *frames = draw(Path(folder), case.frames + 1, SIZE, 0.0)
        for frame in [warm, *frames]:
            found = {}
            for way, score in ways.items():
                wall, cpu = time.perf_counter(), time.process_time()
                score(frame)
                found[way] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            if frame != warm:
                yield {"network": case.network, "weights": case.weights, "seconds": found}


def compared(archive: Path, count: int, brass: float, passes: int) -> dict[str, list[float]]:
    """What each way makes of the same frames twice."""
    with TemporaryDirectory() as folder:
        bundle = unpack(archive, Path(folder))
        ways = {
            "upstream": Scores(scoring_of(bundle), passes),
            "upstream again": Scores(scoring_of(bundle), passes),
            "endolab": Scores(scoring.from_probabilities(scoring_of(bundle), Pictures(bundle)), passes),
            "endolab again": Scores(scoring.from_probabilities(scoring_of(bundle), Pictures(bundle)), passes),
        }
        frames = draw(Path(folder), count, (320, 240), brass)
        return {way: [score(frame) for frame in frames] for way, score in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time ways to score a frame.")
    parser.add_argument("--bundle", type=Path, required=True, help="the zip file that a lab begins with")
    parser.add_argument("--passes", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--smooth", type=int, required=True, help="frames to time where masks are smooth")
    parser.add_argument("--untrained", type=int, required=True, help="frames to time where masks are noise")
    parser.add_argument("--compared", type=int, required=True, help="frames whose scores are compared")
    parser.add_argument("--brass", type=float, required=True, help="share of those that the bundle does not know")
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    torch.set_num_threads(given.threads)
    print(json.dumps({"compared": compared(given.bundle, given.compared, given.brass, given.passes)}), flush=True)
    for case in cases(given.smooth, given.untrained):
        for frame in timed(given.bundle, case, given.passes):
            print(json.dumps({"timed": frame}), flush=True)


if __name__ == "__main__":
    main()
