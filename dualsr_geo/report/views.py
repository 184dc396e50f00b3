"""Views of a finished run, read in bounded pieces: overview, crops, relevance, local shifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.io.guides import Guide
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import Readable
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.block_shifts import BlockPair, block_windows, estimate_block_shifts
from dualsr_geo.registration.shift import guide_margin, move_guide
from dualsr_geo.report.data import Crop, Shift
from dualsr_geo.report.quicklook import visible_bands
from dualsr_geo.survey.survey import Survey

# Sides of a crop (hr pixels) and of the overview (lr pixels).
CROP_PX = 256
OVERVIEW_PX = 512
# Where crops lie among windows ordered by detail: the richest, one above the middle, a calm one.
PLACES = (1.0, 0.7, 0.3)
NAMES = "ABCD"
LEAST_VALID = 0.75


@dataclass(frozen=True)
class Material:
    """A finished run, opened again.

    Attributes
    ----------
    scene, product : Scene
    ratio : int
    guide : Guide or None
        On the product's grid.
    survey : Survey or None
    reference : Readable or None
        The truth on the product's grid, where there is one.
    tiles : array, shape (tile row, tile column), or None
        RMSE of the degraded product against the scene, per tile.
    lineage : mapping
    tile_extent : (float, float) or None
        Rows and columns of a tile as a share of the scene's.
    uncertainty : Scene or None
        Standard deviations of the product's errors.
    """

    scene: Scene
    product: Scene
    ratio: int
    guide: Guide | None = None
    survey: Survey | None = None
    reference: Readable | None = None
    tiles: NDArray[np.float64] | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    tile_extent: tuple[float, float] | None = None
    uncertainty: Scene | None = None

    @property
    def psf(self) -> Psf:
        """The blur that the run found, or a usual one."""
        return Psf.from_mtf(self.ratio) if self.survey is None else self.survey.psf

    @property
    def moved_px(self) -> tuple[float, float]:
        """How far the guide was moved, hr pixels."""
        return (0.0, 0.0) if self.survey is None else self.survey.moved_px


def overview(scene: Scene) -> NDArray[np.float32]:
    """Return the bands of a picture of the whole scene, at most `OVERVIEW_PX` on a side, (3 or 1, y, x)."""
    height, width = scene.shape
    step = max(1.0, max(height, width) / OVERVIEW_PX)
    shape = max(1, round(height / step)), max(1, round(width / step))
    return np.stack([scene.source.thumbnail(b, shape) for b in visible_bands(scene.bands, scene.count)])


def crops(material: Material, overview: NDArray[np.float32]) -> tuple[Crop, ...]:
    """Cut the crops that `crop_windows` chooses."""
    return tuple(_crop(material, n, w) for n, w in zip(NAMES, crop_windows(material, overview), strict=False))


def crop_windows(material: Material, overview: NDArray[np.float32]) -> list[Window]:
    """Choose crops, lr pixels: of much, some and little detail, and where the product fits the scene worst."""
    shape = material.scene.shape
    side = min(max(8, CROP_PX // material.ratio), *shape)
    windows = [Window(y, y + side, x, x + side) for y in _starts(shape[0], side) for x in _starts(shape[1], side)]
    detail = [_detail(overview, w, shape) for w in windows]
    known = sorted((d, i) for i, d in enumerate(detail) if d is not None) or [(0.0, 0)]
    chosen = [windows[known[round(p * (len(known) - 1))][1]] for p in PLACES]
    worst = _worst(material, side)
    return list(dict.fromkeys(chosen if worst is None else [*chosen, worst]))


def _starts(length: int, side: int) -> list[int]:
    count = -(-length // side)
    return sorted(set(np.linspace(0, length - side, count).round().astype(int).tolist()))


def _detail(overview: NDArray[np.float32], window: Window, shape: tuple[int, int]) -> float | None:
    """Return how much a window of the overview varies from pixel to pixel; None where little is there."""
    scale = [n / m for n, m in zip(overview.shape[1:], shape, strict=True)]
    rows, columns = (
        slice(int(s.start * k), int(np.ceil(s.stop * k))) for s, k in zip(window.slices, scale, strict=True)
    )
    seen = overview[:, rows, columns]
    if np.isfinite(seen).mean() < LEAST_VALID:
        return None
    steps = [np.abs(np.diff(seen, axis=a)) for a in (1, 2)]
    return float(sum(np.nanmean(s) for s in steps if np.isfinite(s).any()))


def _worst(material: Material, side: int) -> Window | None:
    """Return the middle of the tile whose product fits the scene worst, where there are several tiles."""
    tiles, shape = material.tiles, material.scene.shape
    if tiles is None or tiles.size < 2 or not np.isfinite(tiles).any():
        return None
    at = np.unravel_index(np.nanargmax(tiles), tiles.shape)
    y, x = (
        min(max(0, int((i + 0.5) * n / k) - side // 2), n - side)
        for i, n, k in zip(at, shape, tiles.shape, strict=True)
    )
    return Window(y, y + side, x, x + side)


def _crop(material: Material, name: str, window: Window) -> Crop:
    hr = window.scaled(material.ratio)
    return Crop(
        name=name,
        where=f"rows {hr.y0} to {hr.y1}, columns {hr.x0} to {hr.x1} of the product",
        ratio=material.ratio,
        scene=material.scene.source.read(window),
        product=material.product.source.read(hr),
        reference=None if material.reference is None else material.reference.read(hr),
        guide=_guide(material, window),
        consistency=_consistency(material, window),
        uncertainty=_uncertainty(material, hr),
    )


def _guide(material: Material, window: Window) -> NDArray[np.float32] | None:
    """Return the guide as it was used."""
    if material.guide is None:
        return None
    margin = guide_margin(material.moved_px)
    read = material.guide.read(window.scaled(material.ratio).grown(margin))
    return move_guide(read, material.moved_px, margin)


def _consistency(material: Material, window: Window) -> NDArray[np.float32]:
    """Return the RMSE over bands of the degraded product against the scene, (y, x)."""
    around = window.grown(material.psf.reach_lr).clipped(material.scene.shape)
    product = torch.from_numpy(material.product.source.read(around.scaled(material.ratio)))
    low = operator(material.psf, material.scene.shape, around).degrade(product)
    inner = (slice(None), *window.within(around).slices)
    wrong = low.numpy()[inner] - material.scene.source.read(window)
    there = np.isfinite(wrong)
    square = np.where(there, wrong, 0) ** 2
    mean = square.sum(0) / np.maximum(there.sum(0), 1)
    return np.where(there.any(0), np.sqrt(mean), np.nan).astype(np.float32)


def _uncertainty(material: Material, hr: Window) -> NDArray[np.float32] | None:
    """Return the standard deviations of the first band that is shown, (Y, X)."""
    scene = material.uncertainty
    if scene is None:
        return None
    read: NDArray[np.float32] = scene.source.read(hr, [visible_bands(material.scene.bands, scene.count)[0]])
    plane: NDArray[np.float32] = read[0]
    return plane


def relevance(material: Material) -> NDArray[np.float32] | None:
    """Return how well the guide explains each band, NaN where the survey did not look."""
    known = material.survey
    if known is None or known.relevance is None:
        return None
    out = np.full(material.scene.count, np.nan, np.float32)
    out[list(known.used)] = known.relevance
    return out


def shifts(material: Material) -> tuple[tuple[Shift, ...], str]:
    """Measure the guide block by block, as it was delivered."""
    if material.guide is None:
        return (), ""
    blocks = [
        BlockPair(w, material.scene.source.read(w), _held(material, w)) for w in block_windows(material.scene.shape)
    ]
    dy, dx = material.moved_px
    (height, width), found = material.scene.shape, estimate_block_shifts(blocks, material.psf)
    measured = tuple(
        Shift(
            (d.window.y0 + d.window.y1) / 2 / height,
            (d.window.x0 + d.window.x1) / 2 / width,
            d.dy_px + dy,
            d.dx_px + dx,
        )
        for d in found
    )
    gsd = f"{grid.gsd(material.product.geobox):.3g} {grid.unit(material.product.geobox)}"
    move = (
        f"the guide was moved by {-dy:+.2f} px down, {-dx:+.2f} px right"
        if (dy, dx) != (0, 0)
        else "the guide was not moved"
    )
    return measured, f"Measured on {len(found)} of {len(blocks)} blocks, in pixels of the product ({gsd}); {move}."


def _held(material: Material, window: Window) -> NDArray[np.float32]:
    held = _guide(material, window)
    if held is None:
        raise ValueError("no guide")
    return held
