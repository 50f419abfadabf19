"""Small pictures for the loop's page: frames that were asked for, and where on them the model disagrees with itself.

A heat map is kept when its frame is scored, so that nobody asks the model again. What cannot be made is left out.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# How many heat maps there are at most, those of the highest scores; each has some kilobytes.
QUOTA = 200

# How many frames of a batch have a picture.
SHOWN = 60

# Pixels that a picture is wide and high at most.
SIZE = (320, 320)

# The disagreement, in nats, where half of the passes is sure of one thing and half of another.
MOST = math.log(2)

# From nothing over red to yellow: three bytes a value, and how opaque each value is.
PALETTE = [byte for value in range(256) for byte in (255, value * value // 255, 0)]
OPACITY = bytes(range(256))

logger = logging.getLogger(__name__)


class Pictures:
    """The pictures below the loop's `directory`; a reader finds a whole file or none."""

    def __init__(self, directory: Path) -> None:
        self.heat_maps, self.thumbnails = (directory / "pictures" / kind for kind in ("heat", "frames"))
        self._lock = threading.Lock()
        self._highest: list[tuple[float, str]] = []

    def heat_map(self, frame: str) -> Path:
        return self.heat_maps / f"{frame}.png"

    def thumbnail(self, frame: str) -> Path:
        return self.thumbnails / f"{frame}.jpg"

    def heat(self, frame: str, score: float, disagreement: NDArray[np.float32]) -> None:
        """Keeps the heat map of a frame that was scored, while it is among the QUOTA highest of this process.

        disagreement: in nats, as rows of pixels.
        """
        with self._lock:
            heapq.heappush(self._highest, (score, frame))
            outdone = heapq.heappop(self._highest)[1] if len(self._highest) > QUOTA else None
        with _dispensable(f"drawing the heat map of {frame}"):
            if outdone:
                self.heat_map(outdone).unlink(missing_ok=True)
            if outdone != frame:
                values = np.sqrt(np.clip(disagreement / MOST, 0, 1)) * 255
                picture = Image.fromarray(values.astype(np.uint8))
                picture.thumbnail(SIZE)
                picture.putpalette(PALETTE)
                _write(picture, self.heat_map(frame), "PNG", transparency=OPACITY)

    def keep(self, scores: Mapping[str, float]) -> None:
        """Removes the heat maps of all frames but the QUOTA highest scored of these."""
        highest = heapq.nlargest(QUOTA, scores, key=lambda frame: scores[frame])
        with _dispensable("removing heat maps"):
            _remove_others(self.heat_maps, map(self.heat_map, highest))

    def show(self, batch: Mapping[str, Path]) -> None:
        """Makes pictures of the frames of a batch, by their names, and removes those of the batch before."""
        shown = dict(list(batch.items())[:SHOWN])
        with _dispensable("removing pictures of the batch before"):
            _remove_others(self.thumbnails, map(self.thumbnail, shown))
        for frame, file in shown.items():
            with _dispensable(f"drawing {frame}"):
                if not self.thumbnail(frame).exists():
                    with Image.open(file) as picture:
                        picture.draft("RGB", SIZE)
                        picture.thumbnail(SIZE)
                        _write(picture.convert("RGB"), self.thumbnail(frame), "JPEG", quality=75)


@contextmanager
def _dispensable(what: str) -> Iterator[None]:
    """Keeps what goes wrong to itself: a picture is worth no frame, and what PIL raises at damaged ones has no end."""
    try:
        yield
    except Exception as error:
        logger.warning("%s failed: %s: %s", what, type(error).__name__, error)


def _write(picture: Image.Image, path: Path, kind: str, **options: Any) -> None:
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(partial, kind, **options)
    partial.replace(path)


def _remove_others(directory: Path, kept: Iterable[Path]) -> None:
    names = {path.name for path in kept}
    for path in directory.glob("*"):
        if path.name not in names:
            path.unlink(missing_ok=True)
