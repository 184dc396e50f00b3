"""A synthetic landscape as a scene and a guide on disk, and panels of pictures next to each other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import rasterio
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

import dualsr_geo
from dualsr_geo import synthetic

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Panel = tuple[str, Array]
# (y, x): of a panel, hr pixels; of a place, in heights and widths of a panel.
Shape = tuple[int, int]
Place = tuple[float, float]
# Roofs in fields, roads, a river. A panel shows the whole scene, or as many hr pixels as the scene has lr pixels.
SEED, RATIO, NOISE, ZOOM = 7, 4, 0.001, 4
FARM = (1.4, 1.75)
RGB_NM = (650.0, 550.0, 460.0)
# Reflectance that is drawn white; almost nothing is brighter.
WHITE = 0.45
# Colour-blind safe (Okabe and Ito); nodata.
PURPLE = "#cc79a7"
DPI, GAP_PX, TITLE_PX = 100, 12, 34
INK = {"image.interpolation": "nearest", "axes.titlesize": 13, "axes.titlepad": 7, "font.size": 11}
# Colours are rounded to this, of 255: half the bytes, and no visible difference.
STEP = 8


@dataclass(frozen=True)
class Stage:
    """A landscape with a known truth, and a scene and a guide in files; sides of `shape` are multiples of `RATIO`."""

    shape: Shape
    sample: synthetic.Sample
    scene: Path
    guide: Path

    @classmethod
    def made(cls, folder: Path, shape: Shape, *, ratio: int = RATIO, **changes: Any) -> Stage:
        """Make one; `changes` are arguments of `synthetic.make`."""
        lr = (shape[0] * RATIO // ratio, shape[1] * RATIO // ratio)
        settings = {"shape": lr, "ratio": ratio, "guide": "pan", "seed": SEED, "noise": NOISE} | changes
        return cls(shape, synthetic.make(**settings), *synthetic.write(folder, **settings))

    @property
    def truth(self) -> Array:
        """Reflectance on the hr grid."""
        return self.sample.reference

    def product(self, **options: Any) -> Array:
        """Sharpen the scene."""
        wanted = {"rgb": self.guide, "overwrite": True} | options
        return read(dualsr_geo.upscale(self.scene, self.scene.with_name("product.tif"), **wanted)["output"])

    def bands(self, *nm: float) -> list[int]:
        """Return the bands nearest to some wavelengths."""
        return [int(np.abs(self.sample.wavelengths_nm - w).argmin()) for w in nm]

    def corner(self, at: Place) -> tuple[int, int]:
        """Return a place in hr pixels, where a pixel of the scene begins."""
        y, x = (int(a * n) // RATIO * RATIO for a, n in zip(at, self.shape, strict=True))
        return y, x

    def crop(self, values: Array, at: Place = FARM) -> Array:
        """Cut out the part that a panel shows larger, of values (..., y, x) on any of the grids."""
        wide = RATIO * self.shape[0] // values.shape[-2]
        y, x = self.corner(at)
        return values[..., y // wide : (y + self.shape[0]) // wide, x // wide : (x + self.shape[1]) // wide]

    def whole(self, title: str, cube: Array) -> Panel:
        """Return a scene, a product or a guide in natural colours, with the same stretch."""
        three = self.bands(*RGB_NM) if len(cube) == len(self.sample.wavelengths_nm) else [0, len(cube) // 2, -1]
        shown = np.clip(cube[three] / WHITE, 0, 1).transpose(1, 2, 0) ** (1 / 2.2)
        return title, holed(shown, np.isnan(cube).any(0))

    def near(self, title: str, cube: Array, at: Place = FARM) -> Panel:
        """Return a crop in natural colours."""
        return self.whole(title, self.crop(cube, at))

    def frame(self, figure: Figure, panels: Sequence[int], at: Place = FARM) -> None:
        """Frame in panels of the whole scene the part that others show larger."""
        for i in panels:
            box = Rectangle(self.corner(at)[::-1], *self.shape[::-1], fill=False, color="white", lw=1.5)
            figure.axes[i].add_patch(box)


def read(path: str | Path) -> Array:
    """Read a raster of `synthetic` or its product as reflectance, NaN for nodata."""
    with rasterio.open(path) as file:
        return np.asarray(file.read(masked=True).astype(np.float32).filled(np.nan) * synthetic.SCALE, np.float32)


def rewrite(path: Path, values: Array) -> None:
    """Write other reflectances, NaN for nodata, into a raster of `synthetic`."""
    with rasterio.open(path, "r+") as file:
        file.write(np.where(np.isnan(values), synthetic.NODATA, np.rint(values / synthetic.SCALE)).astype(np.uint16))


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
