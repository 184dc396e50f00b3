"""The pictures of a report's page: plates of a crop, maps of errors, arrows, as data URIs and numbers."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.bands import Band
from dualsr_geo.report.quicklook import Limits, Rgba, composite, heat, stretch, to_png, visible_bands
from dualsr_geo.report.tables import number

# The few largest errors would make all others look like none.
ERROR_PERCENTILES = (0.0, 99.0)
# Drawings are this many units along the longer side of the overview; the longest arrow has this many.
DRAWING = 1000.0
LONGEST_ARROW = 90.0
_SMALLEST = float(np.finfo(np.float32).tiny)


def uri(rgba: Rgba) -> str:
    """Return a picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(to_png(rgba)).decode()


@dataclass(frozen=True)
class Legend:
    """What the colours of a map mean."""

    low: str
    high: str


@dataclass(frozen=True)
class Figure:
    """One picture of a crop: what it is, for the eye, and in words."""

    kind: str
    label: str
    src: str
    alt: str
    legend: Legend | None = None


def bar() -> str:
    """Return the colours of every map from low to high, as a data URI."""
    return uri(heat(np.linspace(0, 1, 256)[None], 0.0, 1.0))


def errors(values: NDArray[np.floating], unit: str) -> tuple[Rgba, Legend]:
    """Return a map of errors, shape (y, x), from 0 to the 99th percentile, and what its colours mean."""
    ((_, high),) = stretch(np.asarray(values, np.float32)[None], percentiles=ERROR_PERCENTILES)
    valid = values[np.isfinite(values)]
    more = " and more" if valid.size > 0 and float(valid.max()) > high else ""
    # All zero is all dark, whatever the span.
    return heat(values, 0.0, max(high, _SMALLEST)), Legend("0", f"{number(high)} {unit}".rstrip() + more)


def error_of(product: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the RMSE over bands per pixel, shape (y, x), of the bands that both have."""
    wrong = product.astype(np.float64) - reference
    there = np.isfinite(wrong)
    mean = (np.where(there, wrong, 0) ** 2).sum(0) / np.maximum(there.sum(0), 1)
    return np.where(there.any(0), np.sqrt(mean), np.nan)


def crop_figures(
    *,
    scene: NDArray[np.float32],
    product: NDArray[np.float32],
    reference: NDArray[np.float32] | None,
    guide: NDArray[np.float32] | None,
    consistency: NDArray[np.floating] | None,
    uncertainty: NDArray[np.floating] | None = None,
    bands: Sequence[Band],
    unit: str,
) -> Iterator[Figure]:
    """Yield what is known of a crop: before, after, and the others that there are.

    Before, after and reference share one stretch, so that their colours can be compared.
    """
    shown = list(visible_bands(bands, len(scene)))
    photos = {
        "before": ("Before (scene)", scene[shown], "the scene, every pixel as it was measured"),
        "after": ("After (product)", product[shown], "the product"),
    }
    if reference is not None:
        photos["reference"] = ("Reference", reference[shown], "the truth")
    limits = stretch(*(cube for _, cube, _ in photos.values()))
    for kind, (label, cube, words) in photos.items():
        yield Figure(kind, label, uri(composite(cube, limits)), f"{words}, {_size(cube)}")
    if guide is not None:
        # A guide says nothing of its bands: one is grey, the first three are red, green, blue.
        seen = guide[:3] if len(guide) >= 3 else guide[:1]
        yield Figure("guide", "Guide", uri(composite(seen, stretch(seen))), f"the guide, {_size(seen)}")
    if reference is not None:
        wrong, legend = errors(error_of(product, reference), unit)
        yield Figure(
            "error", "Error", uri(wrong), "RMSE over bands of the product against the reference, per pixel", legend
        )
    if consistency is not None:
        wrong, legend = errors(consistency, unit)
        words = "RMSE over bands of the degraded product against the scene, per scene pixel"
        yield Figure("consistency", "Consistency", uri(wrong), words, legend)
    if uncertainty is not None:
        wrong, legend = errors(uncertainty, unit)
        first = f"band {shown[0] + 1}"
        yield Figure("uncertainty", "Uncertainty", uri(wrong), f"standard deviation of the error of {first}", legend)


def _size(cube: NDArray[np.float32]) -> str:
    return f"{cube.shape[1]} x {cube.shape[2]} pixels"


# ---- drawings on the overview ------------------------------------------------------------


@dataclass(frozen=True)
class Drawing:
    """An overview to draw on: its picture, and its width and height in units of the drawing."""

    src: str
    width: float
    height: float


def overview(cube: NDArray[np.float32]) -> Drawing:
    """Return a thumbnail, shape (channel, y, x); of channels other than 1 or 3 the first."""
    seen = cube if len(cube) in (1, 3) else cube[:1]
    limits: Limits = stretch(seen)
    height, width = seen.shape[1:]
    unit = DRAWING / max(height, width)
    return Drawing(uri(composite(seen, limits)), width * unit, height * unit)


# The longest arrow stands for at least this: a guide in its place shall not look displaced.
SHORTEST_PX = 0.5


@dataclass(frozen=True)
class Arrows:
    """Displacements as arrows (x0, y0, x1, y1) of a drawing, and the arrow that says their scale."""

    lines: tuple[tuple[float, float, float, float], ...]
    scale_px: float
    scale_length: float


def arrows(shifts: Sequence[tuple[float, float, float, float]], on: Drawing) -> Arrows | None:
    """Draw displacements (y, x as a share of the scene; dy, dx in px); None where none is finite."""
    known = [s for s in shifts if all(map(math.isfinite, s))]
    if not known:
        return None
    longest = max(SHORTEST_PX, *(math.hypot(dy, dx) for *_, dy, dx in known))
    per_px = LONGEST_ARROW / longest
    lines = tuple(
        (x * on.width, y * on.height, x * on.width + dx * per_px, y * on.height + dy * per_px) for y, x, dy, dx in known
    )
    nice = _nice(longest)
    return Arrows(lines, nice, nice * per_px)


def _nice(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above the value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(k * power for k in (1, 2, 5) if k * power <= value * (1 + 1e-9))


@dataclass(frozen=True)
class TileMap:
    """The map of tiles over a drawing, in its units, and what the colours mean."""

    src: str
    width: float
    height: float
    legend: Legend


def tile_map(values: NDArray[np.float64], extent: tuple[float, float] | None, on: Drawing, unit: str) -> TileMap:
    """Draw a value a tile, shape (tile row, tile column).

    `extent` is the rows and columns of a tile as a share of the scene's; the last tiles reach
    over the edge and are cut. Without it the tiles are taken to be of one size.
    """
    rgba, legend = errors(values, unit)
    rows, columns = values.shape
    tall, wide = extent or (1 / rows, 1 / columns)
    return TileMap(uri(rgba), columns * wide * on.width, rows * tall * on.height, legend)


def finite(values: Mapping[str, NDArray[np.floating]]) -> dict[str, list[float | None]]:
    """Return arrays as lists that JSON can say: None where a value is not finite."""
    return {k: [float(x) if math.isfinite(x) else None for x in np.asarray(v).tolist()] for k, v in values.items()}
