"""Annotations as pictures and files, for exports."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from xml.sax.saxutils import quoteattr

from PIL import Image, ImageColor, ImageDraw

from .models import Task
from .shapes import labels_of, read

MASKS = "Segmentation mask 1.1"
IMAGES = "CVAT for images 1.1"
FORMATS = (MASKS, IMAGES)


def mask(points: list[float], size: tuple[int, int]) -> Image.Image:
    """A mask shape as a picture: run lengths from the top left of its box, background first, box inclusive."""
    *runs, left, top, right, bottom = (int(value) for value in points)
    width, height = right - left + 1, bottom - top + 1
    pixels = b"".join((b"\xff" if index % 2 else b"\0") * run for index, run in enumerate(runs))
    picture = Image.new("1", size)
    picture.paste(Image.frombytes("L", (width, height), pixels.ljust(width * height, b"\0")).convert("1"), (left, top))
    return picture


def area(shape: dict[str, Any], size: tuple[int, int]) -> Image.Image:
    """The pixels that a shape covers."""
    if shape["type"] == "mask":
        return mask(shape["points"], size)
    picture = Image.new("1", size)
    draw, points = ImageDraw.Draw(picture), shape["points"]
    if shape["type"] == "polygon":
        draw.polygon([tuple(points[i : i + 2]) for i in range(0, len(points), 2)], fill=1)
    elif shape["type"] == "rectangle":
        draw.rectangle(points, fill=1)
    elif shape["type"] == "ellipse":  # centre, then the right and the top of its axes
        x, y, right, top = points
        draw.ellipse((2 * x - right, top, right, 2 * y - top), fill=1)
    return picture


def masks(task: Task) -> bytes:
    """A zip with one coloured mask for every frame that has a shape, and the colours of the labels."""
    assert task.data is not None
    labels = {label.id: label for label in labels_of(task)}
    shapes = read(list(task.jobs.all()))["shapes"]
    subset = task.subset or "default"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        colours = {"background": (0, 0, 0)} | {one.name: ImageColor.getrgb(one.color) for one in labels.values()}
        lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in sorted(colours.items())]
        archive.writestr("labelmap.txt", "\n".join(["# label:color_rgb:parts:actions", *lines, ""]))
        annotated = []
        for frame in task.data.frames.order_by("number"):
            own = [shape for shape in shapes if shape["frame"] == frame.number]
            if not own:
                continue
            stem = frame.name.rsplit(".", 1)[0]
            annotated.append(stem)
            size = (frame.width, frame.height)
            by_class, by_object = Image.new("RGB", size), Image.new("RGB", size)
            for number, shape in enumerate(sorted(own, key=lambda one: (one["z_order"], one["id"])), 1):
                covered = area(shape, size)
                by_class.paste(ImageColor.getrgb(labels[shape["label_id"]].color), mask=covered)
                by_object.paste((number * 67 % 256, number * 131 % 256, number * 199 % 256), mask=covered)
            for folder, picture in (("SegmentationClass", by_class), ("SegmentationObject", by_object)):
                file = io.BytesIO()
                picture.save(file, "PNG")
                archive.writestr(f"{folder}/{stem}.png", file.getvalue())
        archive.writestr(f"ImageSets/Segmentation/{subset}.txt", "".join(f"{stem}\n" for stem in annotated))
    return out.getvalue()


def images(task: Task) -> bytes:
    """A zip with annotations.xml."""
    assert task.data is not None
    labels = {label.id: label.name for label in labels_of(task)}
    shapes = read(list(task.jobs.all()))["shapes"]
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "<version>1.1</version>"]
    for frame in task.data.frames.order_by("number"):
        lines.append(
            f'<image id="{frame.number}" name={quoteattr(frame.name)} width="{frame.width}" height="{frame.height}">'
        )
        for shape in shapes:
            if shape["frame"] == frame.number:
                points = ";".join(
                    ",".join(f"{v:.2f}" for v in shape["points"][i : i + 2]) for i in range(0, len(shape["points"]), 2)
                )
                lines.append(
                    f"<{shape['type']} label={quoteattr(labels[shape['label_id']])} source={quoteattr(shape['source'])}"
                    f' occluded="{int(shape["occluded"])}" points="{points}" z_order="{shape["z_order"]}"/>'
                )
        lines.append("</image>")
    lines.append("</annotations>")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", "\n".join(lines))
    return out.getvalue()
