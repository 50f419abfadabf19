"""Between CVAT's shapes and label images.

A shape covers a pixel where it covers the pixel's centre; pixel (column, row) reaches from its number to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from cvat_sdk.masks import decode_mask, encode_mask
from numpy.typing import NDArray
from scipy import ndimage

Bitmap = NDArray[np.bool_]

DRAWABLE = frozenset({"polygon", "mask", "rectangle", "ellipse"})


@dataclass(frozen=True)
class Shape:
    """A shape on a frame, as CVAT describes it.

    points: x and y in turn; of a rectangle two corners, of an ellipse its centre, then right and top of its axes; of a
    mask run lengths and a box. rotation: degrees, clockwise about the centre; of rectangles and ellipses.
    """

    label: str
    type: str
    points: Sequence[float]
    z_order: int = 0
    rotation: float = 0.0


def rasterise(shapes: Iterable[Shape], width: int, height: int, values: Mapping[str, int]) -> NDArray[np.uint8]:
    """The label image of a frame: at each pixel the value of the topmost shape's label, 0 where there is none.

    A shape labelled "background", where `values` does not name it, draws 0. Other unknown labels and types that have
    no area draw nothing. Raises ValueError for a shape whose points mean nothing.
    """
    image = np.zeros((height, width), np.uint8)
    for shape in sorted(shapes, key=lambda shape: shape.z_order):
        value = values.get(shape.label, 0 if shape.label.lower() == "background" else None)
        if value is not None and shape.type in DRAWABLE:
            image[_area(shape, width, height)] = value
    return image


def mask_shapes(image: NDArray[np.uint8], names: Mapping[int, str], smallest: int = 20) -> list[Shape]:
    """A mask for each connected region of a named value, in reading order; below `smallest` pixels it is noise."""
    shapes = []
    for value, name in names.items():
        regions, _ = ndimage.label(image == value, structure=np.ones((3, 3)))
        sizes = np.bincount(regions.ravel())
        for number, (rows, columns) in enumerate(ndimage.find_objects(regions), 1):
            if sizes[number] >= smallest:
                # Within its box: a speckled image has hundreds of regions, and a pass over it for each takes seconds.
                runs = encode_mask(regions[rows, columns] == number)[:-4]
                box = [columns.start, rows.start, columns.stop - 1, rows.stop - 1]
                shapes.append(Shape(name, "mask", runs + box))
    return shapes


def _area(shape: Shape, width: int, height: int) -> Bitmap:
    points = [float(value) for value in shape.points]
    if shape.type == "mask":
        return _mask(points, width, height)
    if shape.type != "polygon" and len(points) != 4:
        raise ValueError(f"{shape.type} of {len(points)} numbers; it has 4")
    if len(points) % 2:
        raise ValueError(f"{shape.type} of {len(points)} numbers; they come in pairs")
    if not all(map(math.isfinite, (*points, shape.rotation))):
        raise ValueError(f"{shape.type} with a point or a rotation that is no number")
    if shape.type == "ellipse":
        return _ellipse(points, shape.rotation, width, height)
    corners = np.array(points).reshape(-1, 2)
    if shape.type == "rectangle":
        (left, top), (right, bottom) = corners
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        # Clockwise, because y points down.
        cos, sin = math.cos(math.radians(shape.rotation)), math.sin(math.radians(shape.rotation))
        corners = (corners - corners.mean(0)) @ np.array([(cos, sin), (-sin, cos)]) + corners.mean(0)
    return _polygon(corners, width, height)


def _mask(points: Sequence[float], width: int, height: int) -> Bitmap:
    # The SDK makes room for the runs before it compares them with the box.
    if sum(map(abs, points[:-4])) > width * height:
        raise ValueError("mask with more pixels than its frame")
    try:
        bitmap: Bitmap = decode_mask(points, image_width=width, image_height=height)
    except ValueError as error:
        raise ValueError(f"mask that cannot be read: {error}") from None
    return bitmap


def _ellipse(points: Sequence[float], rotation: float, width: int, height: int) -> Bitmap:
    x, y, right, top = points
    radii = abs(right - x), abs(y - top)
    if not all(radii):
        return np.zeros((height, width), bool)
    columns, rows = np.arange(width) + 0.5 - x, np.arange(height)[:, None] + 0.5 - y
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    across, along = columns * cos + rows * sin, rows * cos - columns * sin
    inside: Bitmap = (across / radii[0]) ** 2 + (along / radii[1]) ** 2 <= 1
    return inside


def _polygon(corners: NDArray[np.float64], width: int, height: int) -> Bitmap:
    """Of a polygon that crosses itself, what an odd number of its edges encloses."""
    x1, y1 = corners.T[:, None]
    x2, y2 = np.roll(corners, -1, 0).T[:, None]
    middle = np.arange(height)[:, None] + 0.5
    row, edge = np.nonzero((y1 <= middle) != (y2 <= middle))
    slope = (x2 - x1)[0, edge] / (y2 - y1)[0, edge]
    crossing = x1[0, edge] + (middle[row, 0] - y1[0, edge]) * slope
    # From the first centre to the right of a crossing on, inside and outside change places.
    changes = np.zeros((height, width + 1), np.uint8)
    np.add.at(changes, (row, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)), 1)
    inside: Bitmap = np.bitwise_xor.accumulate(changes[:, :width] & 1, axis=1).astype(bool)
    return inside
