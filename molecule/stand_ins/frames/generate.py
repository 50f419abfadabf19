"""Draws endoscopy frames whose instruments are known to the pixel: input for the demo and the tests.

A frame is noisy reddish tissue under uneven light, with specular highlights and up to two metallic instruments that
enter from a border: grey ones, in a share of the frames that can be chosen brass ones. The same seed, size and share
give the same files, byte for byte, and frame N does not depend on how many frames are drawn.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

DEEP_RED = np.array([96, 24, 26], np.float32)
PINK = np.array([228, 126, 108], np.float32)
STEEL = np.array([168, 174, 184], np.float32)
BRASS = np.array([190, 150, 70], np.float32)
INSTRUMENT_COUNTS = [0, 1, 1, 1, 2, 2]  # a frame draws one of these: most frames show something


@dataclass(frozen=True)
class Frame:
    """One picture and its truth.

    image: RGB, height x width x 3, 0 to 255.
    mask: height x width, 255 where an instrument is, else 0.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def draw_frames(count: int, seed: int, width: int, height: int, brass: float = 0.0) -> Iterator[Frame]:
    """Yields `count` frames of `width` x `height` pixels, each determined by `seed` and its place.

    brass: the share of frames, 0 to 1, whose instruments are of brass.
    """
    for index in range(count):
        yield draw_frame(np.random.default_rng([seed, index]), width, height, brass)


def draw_frame(rng: Generator, width: int, height: int, brass: float = 0.0) -> Frame:
    """Returns one frame drawn with `rng`."""
    metal = BRASS if brass and rng.random() < brass else STEEL
    picture = _tissue(rng, width, height)
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(rng.choice(INSTRUMENT_COUNTS)):
        mask |= _add_instrument(rng, picture, metal)
    haze = rng.uniform(0, 0.2) * _cloud(rng, width, height, 3)[..., None]
    picture += haze * (255 - picture)
    picture *= rng.uniform(0.7, 1.1)
    picture += rng.normal(0, rng.uniform(4, 10), picture.shape)
    return Frame(picture.clip(0, 255).astype(np.uint8), np.where(mask, 255, 0).astype(np.uint8))


def _cloud(rng: Generator, width: int, height: int, cells: int) -> Floats:
    """Returns smooth noise between 0 and 1 whose blobs are about 1/`cells` of the frame."""
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)


def _grid(width: int, height: int) -> tuple[Floats, Floats]:
    """Returns every pixel's x and y in units of the frame's height, so that shapes keep their proportions."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    return x, y


def _tissue(rng: Generator, width: int, height: int) -> Floats:
    """Returns tissue lit from the middle, with wet highlights."""
    shade = np.zeros((height, width), np.float32)
    for weight, cells in [(0.6, 4), (0.3, 11), (0.1, 37)]:
        shade += weight * _cloud(rng, width, height, cells)
    tissue: Floats = DEEP_RED + shade[..., None] * (PINK - DEEP_RED)
    x, y = _grid(width, height)
    aspect = width / height
    light = 1.1 - 0.8 * ((x - rng.uniform(0.3, 0.7) * aspect) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2)
    tissue *= light.clip(0.3, None)[..., None]
    for _ in range(rng.integers(3, 12)):
        away_x, away_y = x - rng.uniform(0, aspect), y - rng.uniform(0, 1)
        size_x, size_y = rng.uniform(0.005, 0.04, 2)
        glint = np.exp(-((away_x / size_x) ** 2) - (away_y / size_y) ** 2)
        tissue += glint[..., None] * (250 - tissue)
    return tissue


def _add_instrument(rng: Generator, picture: Floats, colour: Floats) -> NDArray[np.bool_]:
    """Draws a tapering shaft of metal of this colour from a border towards the middle; returns the pixels it covers."""
    height, width = picture.shape[:2]
    x, y = _grid(width, height)
    aspect = width / height
    border, along_border = rng.integers(4), rng.uniform(0.1, 0.9)
    start_x = [0.0, aspect, along_border * aspect, along_border * aspect][border]
    start_y = [along_border, along_border, 0.0, 1.0][border]
    tip_x, tip_y = rng.uniform(0.3, 0.7) * aspect, rng.uniform(0.3, 0.7)
    length = np.hypot(tip_x - start_x, tip_y - start_y)
    axis_x, axis_y = (tip_x - start_x) / length, (tip_y - start_y) / length

    along = ((x - start_x) * axis_x + (y - start_y) * axis_y) / length  # 0 at the border, 1 at the tip
    across = (x - start_x) * axis_y - (y - start_y) * axis_x
    radius = rng.uniform(0.035, 0.075) * np.interp(along, [0.75, 1], [1, 0.35])
    offset = across / radius  # -1 and 1 at the edges
    mask: NDArray[np.bool_] = (np.abs(offset) <= 1) & (along <= 1)

    roundness = np.sqrt(np.clip(1 - offset**2, 0, None))
    gleam = np.exp(-(((offset + rng.uniform(-0.4, 0.4)) / 0.2) ** 2))
    joint = np.where(np.abs(along - 0.75) < 0.015, 0.4, 1.0)
    metal = colour * (rng.uniform(0.6, 1.0) * (0.35 + 0.5 * roundness) * joint)[..., None] + 70 * gleam[..., None]
    picture[mask] = metal[mask]
    return mask


def save_frames(frames: Iterator[Frame], out: Path, masks: Path | None) -> int:
    """Writes each frame as PNG to `out` and its mask, under the same name, to `masks`; returns how many."""
    count = 0
    for count, frame in enumerate(frames, start=1):
        for folder, pixels in ((out, frame.image), (masks, frame.mask)):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"frame_{count:04}.png")
    return count


def size(text: str) -> tuple[int, int]:
    """Reads WIDTHxHEIGHT in pixels; raises ValueError when it is not that."""
    width, height = (int(part) for part in text.split("x"))
    if min(width, height) < 1:
        raise ValueError(text)
    return width, height


def main(arguments: list[str] | None = None) -> None:
    """Command line: writes frames, and masks when asked to."""
    parser = argparse.ArgumentParser(
        description="Draw synthetic endoscopy frames.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the frames")
    parser.add_argument("--masks", type=Path, help="folder for the masks")
    parser.add_argument("--count", type=int, default=24, help="number of frames")
    parser.add_argument("--seed", type=int, default=7, help="other seeds give other frames")
    parser.add_argument("--size", type=size, default="320x240", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--brass", type=float, default=0.0, help="share of frames with brass instruments, 0 to 1")
    options = parser.parse_args(arguments)
    width, height = options.size
    frames = draw_frames(options.count, options.seed, width, height, options.brass)
    count = save_frames(frames, options.out, options.masks)
    print(f"{count} frames in {options.out}")


if __name__ == "__main__":
    main()
