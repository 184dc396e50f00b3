"""Figures of a report: images of a crop, error maps, and drawings over the overview, as data URIs and numbers."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.bands import Band
from dualsr_geo.report.data import Crop
from dualsr_geo.report.quicklook import Limits, Rgba, composite, heat, stretch, to_png, visible_bands
from dualsr_geo.report.tables import number

# Errors above the upper percentile share a colour: a few outliers would leave one colour to all others.
ERROR_PERCENTILES = (0.0, 99.0)
# Longer side of a drawing, and length of the longest arrow in it, in the drawing's units.
DRAWING_SIDE = 1000.0
LONGEST_ARROW = 90.0
# The longest arrow is drawn as if it were at least so long: a guide in its place shall not look displaced.
MIN_ARROW_PX = 0.5
_SMALLEST_SPAN = float(np.finfo(np.float32).tiny)


def data_uri(rgba: Rgba) -> str:
    """Return an image as a data URI."""
    return "data:image/png;base64," + base64.b64encode(to_png(rgba)).decode()


# ---- images of a crop --------------------------------------------------------------------


@dataclass(frozen=True)
class Legend:
    """The values of the darkest and the brightest colour of a map, as text."""

    low: str
    high: str


@dataclass(frozen=True)
class Figure:
    """One image of a crop.

    Attributes
    ----------
    kind : str
        ``"before"``, ``"after"``, ``"reference"``, ``"guide"``, ``"error"``, ``"consistency"`` or ``"uncertainty"``.
    label : str
    src : str
        The image as a data URI.
    alt : str
        The image in words.
    legend : Legend or None
        Of a map.
    """

    kind: str
    label: str
    src: str
    alt: str
    legend: Legend | None = None


def color_bar() -> str:
    """Return the colours of every map from low to high, as a data URI."""
    return data_uri(heat(np.linspace(0, 1, 256)[None], 0.0, 1.0))


def error_map(values: NDArray[np.floating], unit: str) -> tuple[Rgba, Legend]:
    """Return a map of errors, shape (y, x), from 0 to their 99th percentile, and its legend."""
    ((_, high),) = stretch(np.asarray(values, np.float32)[None], percentiles=ERROR_PERCENTILES)
    valid = values[np.isfinite(values)]
    more = " and more" if valid.size > 0 and float(valid.max()) > high else ""
    # Zero everywhere is the darkest colour, whatever the span.
    return heat(values, 0.0, max(high, _SMALLEST_SPAN)), Legend("0", f"{number(high)} {unit}".rstrip() + more)


def rms_over_bands(difference: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the root mean square of the valid bands of each pixel, shape (y, x); NaN where no band is valid."""
    valid = np.isfinite(difference)
    mean = (np.where(valid, difference, 0) ** 2).sum(0) / np.maximum(valid.sum(0), 1)
    return np.where(valid.any(0), np.sqrt(mean), np.nan)


def crop_figures(crop: Crop, bands: Sequence[Band], unit: str) -> Iterator[Figure]:
    """Yield the figures of a crop: before, after, and those of the optional arrays that it has.

    Before, after and reference share one stretch, so that their colours can be compared.

    Parameters
    ----------
    crop : Crop
    bands : sequence of Band
        Of scene and product.
    unit : str
        Of the values.
    """
    visible = list(visible_bands(bands, len(crop.scene)))
    images = {
        "before": ("Before (scene)", crop.scene[visible], "the scene as measured"),
        "after": ("After (product)", crop.product[visible], "the product"),
    }
    if crop.reference is not None:
        images["reference"] = ("Reference", crop.reference[visible], "the reference")
    limits = stretch(*(cube for _, cube, _ in images.values()))
    for kind, (label, cube, words) in images.items():
        yield _image(kind, label, cube, limits, words)
    if crop.guide is not None:
        # The wavelengths of a guide are unknown: one band is grey, the first three are red, green and blue.
        channels = crop.guide[:3] if len(crop.guide) >= 3 else crop.guide[:1]
        yield _image("guide", "Guide", channels, stretch(channels), "the guide")
    if crop.reference is not None:
        error = rms_over_bands(crop.product.astype(np.float64) - crop.reference)
        yield _map("error", "Error", error, unit, "RMSE over bands of the product against the reference, per pixel")
    if crop.consistency is not None:
        words = "RMSE over bands of the degraded product against the scene, per scene pixel"
        yield _map("consistency", "Consistency", crop.consistency, unit, words)
    if crop.uncertainty is not None:
        words = f"standard deviation of the error of band {visible[0] + 1}"
        yield _map("uncertainty", "Uncertainty", crop.uncertainty, unit, words)


def _image(kind: str, label: str, cube: NDArray[np.float32], limits: Limits, words: str) -> Figure:
    height, width = cube.shape[1:]
    return Figure(kind, label, data_uri(composite(cube, limits)), f"{words}, {height} x {width} pixels")


def _map(kind: str, label: str, values: NDArray[np.floating], unit: str, alt: str) -> Figure:
    rgba, legend = error_map(values, unit)
    return Figure(kind, label, data_uri(rgba), alt, legend)


# ---- drawings over the overview ----------------------------------------------------------


@dataclass(frozen=True)
class Drawing:
    """An overview to draw on: its image as a data URI, and its size in the drawing's units."""

    src: str
    width: float
    height: float


def overview(cube: NDArray[np.float32]) -> Drawing:
    """Return a thumbnail, shape (channel, y, x), to draw on; the first channel if there are neither 1 nor 3."""
    channels = cube if len(cube) in (1, 3) else cube[:1]
    limits: Limits = stretch(channels)
    height, width = channels.shape[1:]
    unit = DRAWING_SIDE / max(height, width)
    return Drawing(data_uri(composite(channels, limits)), width * unit, height * unit)


@dataclass(frozen=True)
class Arrows:
    """Displacements as arrows.

    Attributes
    ----------
    lines : tuple of (float, float, float, float)
        (x0, y0, x1, y1) of each arrow, in the drawing's units.
    scale_px, scale_length : float
        Displacement (hr pixels) and length (the drawing's units) of the scale arrow.
    """

    lines: tuple[tuple[float, float, float, float], ...]
    scale_px: float
    scale_length: float


def arrows(shifts: Sequence[tuple[float, float, float, float]], on: Drawing) -> Arrows | None:
    """Return displacements as arrows.

    Parameters
    ----------
    shifts : sequence of (y, x, dy, dx)
        Place as a share of the scene, displacement in hr pixels.
    on : Drawing

    Returns
    -------
    Arrows or None
        None if no displacement is finite.
    """
    valid = [s for s in shifts if all(map(math.isfinite, s))]
    if not valid:
        return None
    longest = max(MIN_ARROW_PX, *(math.hypot(dy, dx) for *_, dy, dx in valid))
    per_px = LONGEST_ARROW / longest
    lines = tuple(
        (x * on.width, y * on.height, x * on.width + dx * per_px, y * on.height + dy * per_px) for y, x, dy, dx in valid
    )
    scale_px = _round_down(longest)
    return Arrows(lines, scale_px, scale_px * per_px)


def _round_down(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above the value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(k * power for k in (1, 2, 5) if k * power <= value * (1 + 1e-9))


@dataclass(frozen=True)
class TileMap:
    """A map of tiles over a drawing: its image as a data URI, its size in the drawing's units, and its legend."""

    src: str
    width: float
    height: float
    legend: Legend


def tile_map(values: NDArray[np.float64], extent: tuple[float, float] | None, on: Drawing, unit: str) -> TileMap:
    """Return a map of one value a tile.

    Parameters
    ----------
    values : array, shape (tile row, tile column)
    extent : (float, float) or None
        Rows and columns of a tile as shares of the scene's; the last tiles reach over its edge and are cut. If
        None, all tiles are drawn in one size.
    on : Drawing
    unit : str
    """
    rgba, legend = error_map(values, unit)
    rows, columns = values.shape
    height, width = extent or (1 / rows, 1 / columns)
    return TileMap(data_uri(rgba), columns * width * on.width, rows * height * on.height, legend)
