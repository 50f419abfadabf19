"""The pictures of the report: frames with heat and outlines on them, as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

RED, GREEN = (255, 64, 64), (96, 255, 96)

Colour = tuple[int, int, int]
Picture = NDArray[np.uint8]


def read(path: Path, mode: str) -> Picture:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))


def heated(frame: Picture, heat: Picture) -> Picture:
    """`frame` in grey, and over it `heat` (0 to 255) from red to yellow."""
    share = np.sqrt(heat / 255)[..., None]
    glow = np.stack([np.full(heat.shape, 255), heat, np.zeros(heat.shape)], axis=-1)
    grey = frame.mean(axis=-1, keepdims=True) * 0.7
    warm: Picture = (grey * (1 - share) + glow * share).astype(np.uint8)
    return warm


def outlined(frame: Picture, mask: NDArray[np.bool_], colour: Colour) -> Picture:
    """`frame` with the edge of `mask` on it, two pixels wide."""
    edge = mask & ~ndimage.binary_erosion(mask, iterations=2)
    drawn = frame.copy()
    drawn[edge] = colour
    return drawn


def uri(picture: Picture) -> str:
    with io.BytesIO() as file:
        Image.fromarray(picture).save(file, "WEBP", quality=75)
        return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
