"""Sharpen one tile, a pure function of scene window, guide window and context.

Every step has finite support, so a tile with its halo equals the same part of the whole scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.encoding import Encoded, empty_value, encode, encode_deviation, floor
from dualsr_geo.engine.tiles.fine_stage import FineStageInput
from dualsr_geo.engine.tiles.index_check import IndexCheck
from dualsr_geo.engine.tiles.reconstruction import TileInputs, prepare, reconstruct, refine, stage_input
from dualsr_geo.engine.tiles.statistics import ConsistencyCheck, TileStatistics
from dualsr_geo.fusion import artefacts
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.uncertainty import ErrorPredictors, error_predictors, standard_deviation
from dualsr_geo.models.reconstruction import Reconstruction
from dualsr_geo.raster.windows import Tile
from dualsr_geo.threads import one_thread

# Bands that are computed together; bounds the memory of a tile.
BANDS_AT_ONCE = 16


def sharpen_tile(
    context: TileContext,
    tile: Tile,
    cube: NDArray[np.float32],
    guide: NDArray[np.float32] | None,
    statistics: TileStatistics,
    band_ranges: Iterable[slice] | None = None,
) -> Iterator[tuple[slice, NDArray[np.generic]]]:
    """Sharpen one tile, a few bands at a time.

    Parameters
    ----------
    context : TileContext
    tile : Tile
    cube : array, shape (band, y, x)
        The scene in the padded window, physical units, NaN where it has no value.
    guide : array, shape (guide band, Y, X), or None
        The guide in `guide_window`, NaN where it does not reach.
    statistics : TileStatistics
        Statistics to add to.
    band_ranges : iterable of slice, optional
        Bands that are computed together; by default 16.

    Yields
    ------
    slice and array, shape (band, ratio * y, ratio * x)
        Indices of bands in the product, and their core in its packing. With an uncertainty estimate also the
        standard deviations of the errors, as bands that follow all others.
    """
    ranges = list(band_ranges or _ranges(context.count))
    valid = np.isfinite(cube[(slice(None), *tile.core.within(tile.padded).slices)])
    if not valid.any():
        statistics.guides_covered[:] = 0
        yield from _empty(context, tile, ranges)
        return
    with one_thread(), torch.inference_mode():
        inputs = prepare(context, tile, cube, guide)
        estimate = reconstruct(context, inputs)
        predictors = _predictors(context, inputs, estimate)
        # The predictors are the last to need the start, whose planes take memory.
        estimate = estimate.without_start()
        core = _Core(context, inputs, refine(context, inputs, estimate), predictors)
        statistics.coverage = inputs.coverage
        statistics.guided = inputs.coverage * valid[0].size
        statistics.withheld = inputs.withheld * valid[0].size
        check = ConsistencyCheck(
            context.survey.psf, context.shape, tile.core, inputs.device, context.survey.normalization
        )
        index_check = IndexCheck(context, check)
        for rows in ranges:
            encoded = core.bands(rows, valid)
            statistics.cut += encoded.cut
            statistics.saturated += encoded.saturated
            observed = core.observed(rows, valid)
            check.add(rows, encoded.physical, observed, statistics)
            index_check.add(rows, encoded.physical, observed)
            core.add_to_mean(rows, encoded.physical)
            yield rows, encoded.stored
            if predictors is not None:
                yield _deviation_rows(context, rows), core.deviations(rows, valid, statistics)
        check.close(statistics)
        index_check.close(statistics)
        core.measure_artefacts(valid, statistics)


def fine_stage_input(
    context: TileContext, tile: Tile, cube: NDArray[np.float32], guide: NDArray[np.float32] | None, anchors: AnchorBands
) -> FineStageInput:
    """Return the coarse estimate of a tile on the anchor bands, to fit a fine stage to.

    The parameters are those of `sharpen_tile`; all of the padded window is sharpened. `context.fine_stage`
    is not applied; it decides whether the result of half the ratio is needed.
    """
    inputs = prepare(context, tile, cube, guide, whole=True)
    return stage_input(context, inputs, reconstruct(context, inputs).held(), anchors)


def _ranges(count: int) -> list[slice]:
    return [slice(i, min(i + BANDS_AT_ONCE, count)) for i in range(0, count, BANDS_AT_ONCE)]


def _empty(context: TileContext, tile: Tile, ranges: list[slice]) -> Iterator[tuple[slice, NDArray[np.generic]]]:
    height, width = tile.core.scaled(context.ratio).shape
    for rows in ranges:
        shape = (rows.stop - rows.start, height, width)
        yield rows, np.full(shape, empty_value(context.packing), dtype=context.packing.dtype)
        if context.survey.uncertainty is not None:
            yield (
                _deviation_rows(context, rows),
                np.full(shape, empty_value(context.packing), dtype=context.packing.dtype),
            )


def _deviation_rows(context: TileContext, rows: slice) -> slice:
    """Return the indices in the product of the standard deviations of some bands."""
    return slice(context.count + rows.start, context.count + rows.stop)


class _Core:
    """Encodes the bands of a tile's core, and their standard deviations."""

    def __init__(
        self, context: TileContext, inputs: TileInputs, estimate: Reconstruction, predictors: ErrorPredictors | None
    ) -> None:
        self.context, self.inputs, self.estimate, self.predictors = context, inputs, estimate, predictors
        self.cube, self.core, self.device = inputs.window.cube, inputs.core, inputs.device
        self.row_of = {band: i for i, band in enumerate(context.survey.used)}
        self.hr_shape = inputs.core.scaled(context.ratio).shape
        self.measured = artefacts.measured_bands(context.survey.used)
        self.mean = torch.zeros(self.hr_shape, device=self.device)

    def add_to_mean(self, rows: slice, product: torch.Tensor) -> None:
        """Add some bands of the core, as a reader decodes them, to the mean over the measured bands."""
        for at, band in enumerate(range(rows.start, rows.stop)):
            if band in self.measured:
                self.mean.add_(product[at], alpha=1 / len(self.measured))

    def measure_artefacts(self, valid: NDArray[np.bool_], statistics: TileStatistics) -> None:
        """Measure lattice and overshoot of the mean over the bands, and of the guide where there is one."""
        whole: NDArray[np.bool_] = np.logical_and.reduce(valid[list(self.measured)])
        window, core = self.inputs.window, self.inputs.core
        observed = self.cube[[self.row_of[band] for band in self.measured]].mean(0)
        origin = self.inputs.tile.core.y0, self.inputs.tile.core.x0
        statistics.artefacts = artefacts.measure(self.mean, observed, whole, core.slices, origin)
        if window.guide is None:
            return
        if window.guide.weight is not None:
            whole = whole & (window.guide.weight[core.slices] > 0).numpy(force=True)
        guide = window.guide.values.mean(0)
        part, degraded = guide[core.scaled(self.context.ratio).slices], window.operator.degrade(guide)
        statistics.guide_artefacts = artefacts.measure(part, degraded, whole, core.slices, origin)

    def bands(self, rows: slice, valid: NDArray[np.bool_]) -> Encoded:
        """Return some bands of the core, encoded."""
        values, low = self._values(rows)
        hole = self._hole(valid[rows])
        return encode(values, self.context.packing, rows, low, hole, self.context.survey.normalization)

    def _hole(self, valid: NDArray[np.bool_]) -> torch.Tensor | None:
        """Return the pixels without a value, (band, Y, X); None if there are none."""
        if valid.all():
            return None
        small, ratio = torch.from_numpy(~valid).to(self.device), self.context.ratio
        return small.repeat_interleave(ratio, 1).repeat_interleave(ratio, 2)

    def deviations(self, rows: slice, valid: NDArray[np.bool_], statistics: TileStatistics) -> NDArray[np.generic]:
        """Return the standard deviations of some bands of the core, encoded."""
        positions = [self.row_of.get(band) for band in range(rows.start, rows.stop)]
        used = [i for i in positions if i is not None]
        values = torch.zeros((len(positions), *self.hr_shape), device=self.device)
        if used:
            values[torch.tensor([i is not None for i in positions])] = self._sigma(slice(used[0], used[-1] + 1))
        # Bands with too few valid pixels are not used, and have no estimate.
        valid = valid[rows] & np.array([i is not None for i in positions])[:, None, None]
        statistics.add_deviations(rows, values, valid, self.context.ratio)
        hole = self._hole(valid)
        return encode_deviation(values, self.context.packing, rows, hole, self.context.survey.normalization)

    def _sigma(self, some: slice) -> torch.Tensor:
        model, blend = self.context.survey.uncertainty, self.inputs.window.blend
        assert model is not None
        assert self.predictors is not None
        if blend is not None:
            rows, columns = self.core.scaled(self.context.ratio).slices
            blend = blend[rows, columns]
        return standard_deviation(model, self.predictors, some, blend)

    def _values(self, rows: slice) -> tuple[torch.Tensor, float | torch.Tensor]:
        """Return some bands, physical units, and their lower limit, which bands without data are filled with."""
        low = self.context.survey.statistics.low
        positions = [(at, self.row_of.get(band)) for at, band in enumerate(range(rows.start, rows.stop))]
        used = [(at, i) for at, i in positions if i is not None]
        if len(used) == len(positions):
            some = slice(used[0][1], used[-1][1] + 1)
            limit = self._floor(some)
            return self._estimated(some), low if limit is None else limit
        values = torch.full((len(positions), *self.hr_shape), low, device=self.device)
        limits = values.clone()
        for at, i in used:
            values[at] = self._estimated(slice(i, i + 1))[0]
            limit = self._floor(slice(i, i + 1))
            if limit is not None:
                limits[at] = limit[0]
        return values, limits

    def _floor(self, some: slice) -> torch.Tensor | None:
        low = self.context.survey.statistics.low
        return floor(self.cube[some], low, self.core.slices, self.context.ratio)

    def _estimated(self, some: slice) -> torch.Tensor:
        """Return some bands of the core, physical units, not clamped."""
        bands = self.estimate.bands(some)
        rows, columns = self.core.within(self.estimate.extent).scaled(self.context.ratio).slices
        return bands[:, rows, columns].contiguous()

    def observed(self, rows: slice, valid: NDArray[np.bool_]) -> torch.Tensor:
        """Return some bands of the scene in the core, NaN where it has no value."""
        out = torch.full((rows.stop - rows.start, *valid.shape[1:]), torch.nan, device=self.device)
        for at, band in enumerate(range(rows.start, rows.stop)):
            if band in self.row_of:
                data = torch.from_numpy(valid[band]).to(self.device)
                plane = self.cube[self.row_of[band]][self.core.slices]
                out[at] = torch.where(data, plane, torch.nan)
        return out


def _predictors(context: TileContext, inputs: TileInputs, estimate: Reconstruction) -> ErrorPredictors | None:
    """Return the predictors of the error on the core; None unless uncertainty is requested."""
    if context.survey.uncertainty is None or estimate.start is None:
        return None
    return error_predictors(estimate.start, inputs.core, context.ratio)
