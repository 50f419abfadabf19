"""Label images are what the shapes cover, and masks become shapes and label images again."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from cvat_sdk.masks import decode_mask, encode_mask
from endolab_loop.shapes import Shape, mask_shapes, rasterise
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 24, 18
VALUES = {"Tool": 1, "InBody": 2}

coordinates = st.floats(-6, 30, allow_nan=False).map(lambda value: round(value, 2))
points = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9)
bitmaps = arrays.arrays(np.bool_, (HEIGHT, WIDTH))


def drawn(*shapes: Shape) -> NDArray[np.uint8]:
    return rasterise(shapes, WIDTH, HEIGHT, VALUES)


def flat(corners: list[tuple[float, float]]) -> list[float]:
    return [value for corner in corners for value in corner]


def crossings(corners: list[tuple[float, float]], y: float) -> list[float]:
    """Where a horizontal line crosses the edges of a polygon."""
    edges = zip(corners, [*corners[1:], corners[0]], strict=True)
    return [x1 + (y - y1) * (x2 - x1) / (y2 - y1) for (x1, y1), (x2, y2) in edges if (y1 <= y) != (y2 <= y)]


def centres() -> list[tuple[int, int]]:
    return [(row, column) for row in range(HEIGHT) for column in range(WIDTH)]


@given(points)
def test_a_polygon_covers_the_centres_that_it_encloses(corners: list[tuple[float, float]]) -> None:
    image = drawn(Shape("Tool", "polygon", flat(corners)))
    for row, column in centres():
        to_the_right = [x - column - 0.5 for x in crossings(corners, row + 0.5)]
        if all(abs(distance) > 1e-6 for distance in to_the_right):  # a centre on an edge may be in or out
            assert image[row, column] == sum(distance > 0 for distance in to_the_right) % 2


@given(st.tuples(coordinates, coordinates, coordinates, coordinates), st.integers(0, 359))
def test_a_rectangle_is_turned_about_its_centre(box: tuple[float, ...], degrees: int) -> None:
    left, top, right, bottom = box
    image = drawn(Shape("Tool", "rectangle", box, rotation=degrees))
    angle, x, y = math.radians(degrees), (left + right) / 2, (top + bottom) / 2
    for row, column in centres():
        dx, dy = column + 0.5 - x, row + 0.5 - y
        across = abs(dx * math.cos(angle) + dy * math.sin(angle)) - abs(right - left) / 2
        along = abs(dy * math.cos(angle) - dx * math.sin(angle)) - abs(bottom - top) / 2
        if abs(across) > 1e-6 and abs(along) > 1e-6:
            assert image[row, column] == (across < 0 and along < 0)


@given(st.tuples(coordinates, coordinates, coordinates, coordinates), st.integers(0, 359))
def test_an_ellipse_covers_what_is_within_its_axes(points: tuple[float, ...], degrees: int) -> None:
    x, y, right, top = points
    image = drawn(Shape("Tool", "ellipse", points, rotation=degrees))
    if right == x or top == y:
        assert not image.any()
        return
    angle = math.radians(degrees)
    for row, column in centres():
        dx, dy = column + 0.5 - x, row + 0.5 - y
        across = (dx * math.cos(angle) + dy * math.sin(angle)) / (right - x)
        along = (dy * math.cos(angle) - dx * math.sin(angle)) / (y - top)
        if abs(across**2 + along**2 - 1) > 1e-6:
            assert image[row, column] == (across**2 + along**2 < 1)


def distances(corners: list[tuple[float, float]]) -> NDArray[np.float64]:
    """How far each pixel's centre is from a polygon's edges."""
    pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1) + 0.5
    starts = np.array(corners)[:, None, None]
    edges = np.roll(starts, -1, axis=0) - starts
    lengths = np.maximum((edges**2).sum(-1), 1e-9)
    along = np.clip(((pixels - starts) * edges).sum(-1) / lengths, 0, 1)
    found: NDArray[np.float64] = np.linalg.norm(pixels - starts - along[..., None] * edges, axis=-1).min(0)
    return found


@given(points)
def test_pillow_draws_the_same_but_for_the_rim(corners: list[tuple[float, float]]) -> None:
    hull = sorted(corners, key=lambda corner: math.atan2(corner[1] - 9, corner[0] - 12))
    ours = drawn(Shape("Tool", "polygon", flat(hull))).astype(bool)
    picture = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).polygon([(x - 0.5, y - 0.5) for x, y in hull], fill=1, outline=1)
    # It rounds corners to pixels.
    assert distances(hull)[ours != np.asarray(picture)].max(initial=0) <= 2


@given(bitmaps)
def test_a_mask_is_what_the_sdk_makes_of_it(bitmap: NDArray[np.bool_]) -> None:
    encoded = encode_mask(bitmap)
    expected = decode_mask(encoded, image_width=WIDTH, image_height=HEIGHT)
    assert np.array_equal(drawn(Shape("InBody", "mask", encoded)), expected * np.uint8(2))


@given(arrays.arrays(np.uint8, (HEIGHT, WIDTH), elements=st.integers(0, 2)))
def test_an_image_becomes_shapes_and_an_image_again(image: NDArray[np.uint8]) -> None:
    shapes = mask_shapes(image, {value: name for name, value in VALUES.items()}, smallest=1)
    assert np.array_equal(drawn(*shapes), image)
    assert all(shape.points == encode_mask(drawn(shape) > 0) for shape in shapes)


def test_small_regions_are_noise_and_regions_are_apart() -> None:
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    image[1:6, 1:6] = 1
    image[10:15, 10:16] = 1
    image[0, 20] = 1
    shapes = mask_shapes(image, {1: "Tool"})
    assert [int(drawn(shape).sum()) for shape in shapes] == [25, 30]


def test_the_topmost_shape_wins_and_among_equals_the_later_one() -> None:
    box = [0, 0, 4, 4]
    over = [Shape("InBody", "rectangle", box, z_order=1), Shape("Tool", "rectangle", box)]
    assert drawn(*over)[1, 1] == 2
    assert drawn(*(Shape(name, "rectangle", box) for name in ("InBody", "Tool")))[1, 1] == 1


def test_background_rubs_out() -> None:
    tool, hole = Shape("Tool", "rectangle", [0, 0, 10, 10]), Shape("Background", "rectangle", [2, 2, 4, 4], z_order=1)
    assert int(drawn(tool, hole).sum()) == 96


def test_what_cannot_be_drawn_draws_nothing() -> None:
    others = [
        Shape("Smoke", "rectangle", [0, 0, 9, 9]),
        Shape("Tool", "points", [1, 1]),
        Shape("Tool", "polygon", [1, 1]),
    ]
    assert not drawn(*others, Shape("Tool", "polygon", [1, 1, 9, 9])).any()


@pytest.mark.parametrize(
    "shape",
    [
        Shape("Tool", "polygon", [1, 1, 5]),
        Shape("Tool", "polygon", [1, 1, 5, math.nan, 3, 3]),
        Shape("Tool", "rectangle", [1, 1, 5, 5, 6, 6]),
        Shape("Tool", "rectangle", [1, 1, 5, 5], rotation=math.nan),
        Shape("Tool", "ellipse", [1, 1]),
        Shape("Tool", "mask", [4, 0, 0, 1, 2]),
        Shape("Tool", "mask", [4, 100, 100, 101, 101]),
        Shape("Tool", "mask", [-4, 8, 0, 0, 1, 1]),
        Shape("Tool", "mask", [1e30, 0, 0, 1, 1]),
        Shape("Tool", "mask", [2.5, 1.5, 0, 0, 1, 1]),
    ],
    ids=lambda shape: f"{shape.type} {shape.points}",
)
def test_a_shape_that_means_nothing_is_an_error(shape: Shape) -> None:
    with pytest.raises(ValueError, match=f"^{shape.type} (of|with|that) "):
        drawn(shape)


def test_a_large_frame_takes_no_time() -> None:
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    star = np.stack([960 + 900 * np.cos(angles), 540 + 500 * np.sin(angles)], 1)
    start = time.process_time()
    rasterise([Shape("Tool", "polygon", star.ravel().tolist())], 1920, 1080, VALUES)
    assert time.process_time() - start < 0.2
