"""Panels of pictures next to each other, in whole pixels, as a small PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Panel = tuple[str, Array]
# Rows and columns of a panel, and the pixels of the figure that each takes.
Shape = tuple[int, int]
ZOOM = 4
# Colour-blind safe (Okabe and Ito); nodata.
PURPLE = "#cc79a7"
DPI, GAP_PX, TITLE_PX = 100, 12, 38
INK = {"image.interpolation": "nearest", "axes.titlesize": 17, "axes.titlepad": 7, "font.size": 13}
# Colours are rounded to this, of 255: half the bytes, and no visible difference.
STEP = 8


def holed(picture: Array, nothing: Mask) -> Array:
    """Colour nodata in a picture (y, x, 3)."""
    return np.where(nothing[..., None], np.asarray(mpl.colors.to_rgb(PURPLE), np.float32), picture)


def board(rows: Sequence[Sequence[Panel]], shape: Shape, *, right: int = 0, foot: int = 0, zoom: int = ZOOM) -> Figure:
    """Lay out panels whose pixels are whole numbers of the figure's pixels, so that there are no seams."""
    high, wide = zoom * shape[0], zoom * shape[1]
    width = GAP_PX + len(rows[0]) * (wide + GAP_PX) + right
    height = len(rows) * (high + TITLE_PX) + GAP_PX + foot
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    for i, row in enumerate(rows):
        for j, (title, image) in enumerate(row):
            low, left = foot + GAP_PX + (len(rows) - 1 - i) * (high + TITLE_PX), GAP_PX + j * (wide + GAP_PX)
            axis = figure.add_axes((left / width, low / height, wide / width, high / height))
            axis.imshow(image, extent=(0, wide, high, 0), aspect="auto")
            axis.set_title(title)
            axis.axis("off")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a small PNG."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    with Image.open(drawn) as picture:
        even = np.rint(np.asarray(picture.convert("RGB")) / STEP) * STEP
    Image.fromarray(even.clip(max=255).astype(np.uint8)).save(path, optimize=True)
