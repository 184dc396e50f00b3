"""Views of a product that a report shows, read in bounded pieces: overview, crops, relevance, local shifts."""

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
from dualsr_geo.registration.shift_description import describe_move
from dualsr_geo.report.data import Crop, Shift
from dualsr_geo.report.figures import rms_over_bands
from dualsr_geo.report.quicklook import visible_bands
from dualsr_geo.surveying.survey import Survey

# Longer sides of a crop (hr pixels) and of the overview (lr pixels).
CROP_PX = 256
OVERVIEW_PX = 512
# Crops are chosen at these quantiles of the windows' detail: the richest, one above the median, a calm one.
DETAIL_QUANTILES = (1.0, 0.7, 0.3)
CROP_NAMES = "ABCD"
# A window with fewer valid pixels of the overview is no candidate for a crop.
MIN_VALID_SHARE = 0.75


@dataclass(frozen=True)
class ReportInputs:
    """The rasters that a report is read from, and the estimates that belong to them.

    Attributes
    ----------
    scene, product : Scene
    ratio : int
    guide : Guide or None
        On the product's grid, its displacement field undone.
    survey : Survey or None
    reference : Readable or None
        The true values on the product's grid.
    tile_rmse : array, shape (tile row, tile column), or None
        RMSE of the degraded product against the scene.
    provenance : mapping
        How the product was made.
    tile_extent : (float, float) or None
        Rows and columns of a tile as shares of the scene's.
    uncertainty : Scene or None
        Standard deviations of the product's errors.
    """

    scene: Scene
    product: Scene
    ratio: int
    guide: Guide | None = None
    survey: Survey | None = None
    reference: Readable | None = None
    tile_rmse: NDArray[np.float64] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tile_extent: tuple[float, float] | None = None
    uncertainty: Scene | None = None

    @property
    def psf(self) -> Psf:
        """The blur of the survey; without a survey the default for the ratio."""
        return Psf.from_mtf(self.ratio) if self.survey is None else self.survey.psf

    @property
    def moved_px(self) -> tuple[float, float]:
        """Displacement that was undone by moving the whole guide, hr pixels (y, x)."""
        return (0.0, 0.0) if self.survey is None else self.survey.placement.moved_px


def overview(scene: Scene) -> NDArray[np.float32]:
    """Return a thumbnail of the scene in its visible bands, (3 or 1, y, x), `OVERVIEW_PX` a side at most."""
    height, width = scene.shape
    step = max(1.0, max(height, width) / OVERVIEW_PX)
    shape = max(1, round(height / step)), max(1, round(width / step))
    return np.stack([scene.source.thumbnail(b, shape) for b in visible_bands(scene.bands, scene.count)])


def crops(inputs: ReportInputs, overview: NDArray[np.float32]) -> tuple[Crop, ...]:
    """Read the crops in the windows of `crop_windows`."""
    windows = crop_windows(inputs, overview)
    return tuple(_crop(inputs, name, window) for name, window in zip(CROP_NAMES, windows, strict=False))


def crop_windows(inputs: ReportInputs, overview: NDArray[np.float32]) -> list[Window]:
    """Return windows (lr pixels) of much, some and little detail, and the one where the product fits the scene worst."""
    shape = inputs.scene.shape
    side = min(max(8, CROP_PX // inputs.ratio), *shape)
    windows = [Window(y, y + side, x, x + side) for y in _starts(shape[0], side) for x in _starts(shape[1], side)]
    detail = [_detail(overview, w, shape) for w in windows]
    ranking = sorted((d, i) for i, d in enumerate(detail) if d is not None) or [(0.0, 0)]
    chosen = [windows[ranking[round(q * (len(ranking) - 1))][1]] for q in DETAIL_QUANTILES]
    worst = _worst_window(inputs, side)
    return list(dict.fromkeys(chosen if worst is None else [*chosen, worst]))


def _starts(length: int, side: int) -> list[int]:
    count = -(-length // side)
    return sorted(set(np.linspace(0, length - side, count).round().astype(int).tolist()))


def _detail(overview: NDArray[np.float32], window: Window, shape: tuple[int, int]) -> float | None:
    """Return the mean difference of neighbouring overview pixels in a window; None if too few are valid."""
    scale = [n / m for n, m in zip(overview.shape[1:], shape, strict=True)]
    rows, columns = (
        slice(int(s.start * k), int(np.ceil(s.stop * k))) for s, k in zip(window.slices, scale, strict=True)
    )
    part = overview[:, rows, columns]
    if np.isfinite(part).mean() < MIN_VALID_SHARE:
        return None
    steps = [np.abs(np.diff(part, axis=a)) for a in (1, 2)]
    return float(sum(np.nanmean(s) for s in steps if np.isfinite(s).any()))


def _worst_window(inputs: ReportInputs, side: int) -> Window | None:
    """Return the middle of the tile with the largest RMSE; None if there is only one tile."""
    rmse, shape = inputs.tile_rmse, inputs.scene.shape
    if rmse is None or rmse.size < 2 or not np.isfinite(rmse).any():
        return None
    worst = np.unravel_index(np.nanargmax(rmse), rmse.shape)
    y, x = (
        min(max(0, int((i + 0.5) * n / k) - side // 2), n - side)
        for i, n, k in zip(worst, shape, rmse.shape, strict=True)
    )
    return Window(y, y + side, x, x + side)


def _crop(inputs: ReportInputs, name: str, window: Window) -> Crop:
    hr = window.scaled(inputs.ratio)
    return Crop(
        name=name,
        where=f"rows {hr.y0} to {hr.y1}, columns {hr.x0} to {hr.x1} of the product",
        ratio=inputs.ratio,
        scene=inputs.scene.source.read(window),
        product=inputs.product.source.read(hr),
        reference=None if inputs.reference is None else inputs.reference.read(hr),
        guide=None if inputs.guide is None else _registered_guide(inputs.guide, inputs, window),
        consistency=_consistency(inputs, window),
        uncertainty=_uncertainty(inputs, hr),
    )


def _registered_guide(guide: Guide, inputs: ReportInputs, window: Window) -> NDArray[np.float32]:
    """Return the guide in a window (lr pixels), its displacement undone."""
    margin = guide_margin(inputs.moved_px)
    values = guide.read(window.scaled(inputs.ratio).grown(margin))
    return move_guide(values, inputs.moved_px, margin)


def _consistency(inputs: ReportInputs, window: Window) -> NDArray[np.float32]:
    """Return the RMSE over bands of the degraded product against the scene, (y, x)."""
    around = window.grown(inputs.psf.reach_lr).clipped(inputs.scene.shape)
    product = torch.from_numpy(inputs.product.source.read(around.scaled(inputs.ratio)))
    degraded = operator(inputs.psf, inputs.scene.shape, around).degrade(product)
    inner = (slice(None), *window.within(around).slices)
    return rms_over_bands(degraded.numpy()[inner] - inputs.scene.source.read(window)).astype(np.float32)


def _uncertainty(inputs: ReportInputs, hr: Window) -> NDArray[np.float32] | None:
    """Return the standard deviations of the first visible band, (Y, X)."""
    scene = inputs.uncertainty
    if scene is None:
        return None
    planes: NDArray[np.float32] = scene.source.read(hr, [visible_bands(inputs.scene.bands, scene.count)[0]])
    plane: NDArray[np.float32] = planes[0]
    return plane


def relevance(inputs: ReportInputs) -> NDArray[np.float32] | None:
    """Return the share of each band's variance that the guide explains, (band,); NaN of bands without data."""
    survey = inputs.survey
    if survey is None or survey.guide is None or survey.guide.relevance is None:
        return None
    out = np.full(inputs.scene.count, np.nan, np.float32)
    out[list(survey.used)] = survey.guide.relevance
    return out


def shifts(inputs: ReportInputs) -> tuple[tuple[Shift, ...], str]:
    """Measure the displacement that the guide had before it was moved, block by block.

    Returns
    -------
    tuple of Shift
    str
        A sentence on how they were measured; empty without a guide.
    """
    if inputs.guide is None:
        return (), ""
    shape = inputs.scene.shape
    blocks = [
        BlockPair(w, inputs.scene.source.read(w), _registered_guide(inputs.guide, inputs, w))
        for w in block_windows(shape)
    ]
    measured = estimate_block_shifts(blocks, inputs.psf)
    (dy, dx), placement = inputs.moved_px, None if inputs.survey is None else inputs.survey.placement
    places = tuple(
        Shift(
            (s.window.y0 + s.window.y1) / 2 / shape[0],
            (s.window.x0 + s.window.x1) / 2 / shape[1],
            s.dy_px + dy,
            s.dx_px + dx,
        )
        for s in measured
    )
    gsd = f"{grid.gsd(inputs.product.geobox):.3g} {grid.unit(inputs.product.geobox)}"
    measure = f"Measured in {len(measured)} of {len(blocks)} blocks, in pixels of the product ({gsd})"
    if placement is None:
        return places, f"{measure}."
    move = describe_move(placement.shift_px, placement.moved_px, placement.shift_error_px)
    return places, f"{measure}; the guide {move}."
