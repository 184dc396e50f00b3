"""One tile as a pure function: (scene window, guide window, work) -> stored bands.

Everything has finite support, so a tile with its halo gives what the whole scene would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.encoding import Encoded, empty_value, encode, encode_deviation, floor
from dualsr_geo.engine.tiles.fine_stage import FineStageInput
from dualsr_geo.engine.tiles.reconstruction import TileReconstruction
from dualsr_geo.engine.tiles.statistics import ConsistencyCheck, TileStatistics
from dualsr_geo.fusion import uncertainty
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.raster.windows import Tile
from dualsr_geo.threads import one_thread

# Bands made at once: bounds the memory of a tile.
BAND_BLOCK = 16


def sharpen_tile(
    work: TileContext,
    tile: Tile,
    cube: NDArray[np.float32],
    guide: NDArray[np.float32] | None,
    figures: TileStatistics,
    band_ranges: Iterable[slice] | None = None,
) -> Iterator[tuple[slice, NDArray[np.generic]]]:
    """Sharpen one tile, some bands at a time.

    Parameters
    ----------
    work : TileContext
    tile : Tile
    cube : array, shape (band, y, x)
        The scene in the padded window, physical units, NaN where nothing is.
    guide : array, shape (guide band, Y, X), or None
        The guide in `guide_window`, NaN where it does not reach.
    figures : TileStatistics
        Filled on the way.
    band_ranges : iterable of slice, optional
        Which bands to make at once.

    Yields
    ------
    slice and array, shape (band, ratio * y, ratio * x)
        Bands of the product, and their core in its packing; where doubt was surveyed, also
        the standard deviations of their errors, as bands that follow all others.
    """
    ranges = list(band_ranges or _ranges(work.count))
    valid = np.isfinite(cube[(slice(None), *tile.core.within(tile.padded).slices)])
    if not valid.any():
        yield from _nothing(work, tile, ranges)
        return
    with one_thread(), torch.inference_mode():
        opened = TileReconstruction(work, tile, cube, guide)
        core = _Core(opened)
        figures.coverage = opened.coverage
        figures.guided = opened.coverage * valid[0].size
        figures.withheld = opened.withheld * valid[0].size
        check = ConsistencyCheck(work.survey.psf, work.shape, tile.core, opened.device)
        for rows in ranges:
            encoded = core.bands(rows, valid)
            figures.cut += encoded.cut
            figures.saturated += encoded.saturated
            check.add(rows, encoded.physical, core.observed(rows, valid), figures)
            yield rows, encoded.stored
            if opened.marks is not None:
                yield _beyond(work, rows), core.deviations(rows, valid, figures)
        check.close(figures)


def fine_stage_input(
    work: TileContext, tile: Tile, cube: NDArray[np.float32], guide: NDArray[np.float32] | None, anchors: AnchorBands
) -> FineStageInput:
    """Return a tile's start on the anchors, for a fine stage to be fitted to.

    Parameters are those of `sharpen_tile`; all of the padded window is shown. `work.refinement`
    says whether half the ratio is wanted, and is not applied.
    """
    return TileReconstruction(work, tile, cube, guide, whole=True).view(anchors)


def _ranges(count: int) -> list[slice]:
    return [slice(i, min(i + BAND_BLOCK, count)) for i in range(0, count, BAND_BLOCK)]


def _nothing(work: TileContext, tile: Tile, ranges: list[slice]) -> Iterator[tuple[slice, NDArray[np.generic]]]:
    height, width = tile.core.scaled(work.ratio).shape
    for rows in ranges:
        shape = (rows.stop - rows.start, height, width)
        yield rows, np.full(shape, empty_value(work.packing), dtype=work.packing.dtype)
        if work.survey.doubt is not None:
            yield _beyond(work, rows), np.full(shape, empty_value(work.packing), dtype=work.packing.dtype)


def _beyond(work: TileContext, rows: slice) -> slice:
    """Return which bands hold the standard deviations of some."""
    return slice(work.count + rows.start, work.count + rows.stop)


class _Core:
    """The core of an opened tile: its bands, cut, encoded and checked."""

    def __init__(self, opened: TileReconstruction) -> None:
        self.opened = opened
        self.row_of = {band: i for i, band in enumerate(opened.work.survey.used)}

    def bands(self, rows: slice, valid: NDArray[np.bool_]) -> Encoded:
        """Return some bands of the core as they are stored."""
        values, low = self._values(rows)
        return encode(values, self.opened.work.packing, rows, low, self._hole(valid[rows]))

    def _hole(self, valid: NDArray[np.bool_]) -> torch.Tensor | None:
        """Return where nothing is, (band, Y, X); None where all is there."""
        if valid.all():
            return None
        small = torch.from_numpy(~valid).to(self.opened.device)
        return small.repeat_interleave(self.opened.work.ratio, 1).repeat_interleave(self.opened.work.ratio, 2)

    def deviations(self, rows: slice, valid: NDArray[np.bool_], figures: TileStatistics) -> NDArray[np.generic]:
        """Return the standard deviations of some bands of the core as they are stored."""
        assert self.opened.marks is not None
        used = [self.row_of.get(band) for band in range(rows.start, rows.stop)]
        known = [i for i in used if i is not None]
        values = torch.zeros(
            (len(used), *self.opened.core.scaled(self.opened.work.ratio).shape), device=self.opened.device
        )
        if known:
            there = torch.tensor([i is not None for i in used])
            values[there] = self._sigma(slice(known[0], known[-1] + 1))
        # Of bands with too few pixels to be used nothing is known.
        valid = valid[rows] & np.array([i is not None for i in used])[:, None, None]
        figures.doubt(rows, values, valid, self.opened.work.ratio)
        return encode_deviation(values, self.opened.work.packing, rows, self._hole(valid))

    def _sigma(self, some: slice) -> torch.Tensor:
        known, seen = self.opened.work.survey.doubt, self.opened.marks
        assert known is not None
        assert seen is not None
        blend = self.opened.blend
        if blend is not None:
            rows, columns = self.opened.core.scaled(self.opened.work.ratio).slices
            blend = blend[rows, columns]
        return uncertainty.standard_deviation(known, seen, some, blend)

    def _values(self, rows: slice) -> tuple[torch.Tensor, float | torch.Tensor]:
        """Return some bands, physical, and the lowest value allowed; bands without data hold that."""
        low = self.opened.work.survey.low
        mine = [(at, self.row_of.get(band)) for at, band in enumerate(range(rows.start, rows.stop))]
        known = [(at, i) for at, i in mine if i is not None]
        if len(known) == len(mine):
            some = slice(known[0][1], known[-1][1] + 1)
            limit = self._floor(some)
            return self._made(some), low if limit is None else limit
        values = torch.full(
            (len(mine), *self.opened.core.scaled(self.opened.work.ratio).shape), low, device=self.opened.device
        )
        limits = values.clone()
        for at, i in known:
            values[at] = self._made(slice(i, i + 1))[0]
            limit = self._floor(slice(i, i + 1))
            if limit is not None:
                limits[at] = limit[0]
        return values, limits

    def _floor(self, some: slice) -> torch.Tensor | None:
        return floor(
            self.opened.cube[some], self.opened.work.survey.low, self.opened.core.slices, self.opened.work.ratio
        )

    def _made(self, some: slice) -> torch.Tensor:
        """Return some bands of the core, physical, not clamped."""
        made = self.opened.start(some)
        rows, columns = self.opened.core.within(self.opened.shown).scaled(self.opened.work.ratio).slices
        return made[:, rows, columns].contiguous()

    def observed(self, rows: slice, valid: NDArray[np.bool_]) -> torch.Tensor:
        """Return the scene's own values of some bands in the core, NaN where nothing is."""
        out = torch.full((rows.stop - rows.start, *valid.shape[1:]), torch.nan, device=self.opened.device)
        for at, band in enumerate(range(rows.start, rows.stop)):
            if band in self.row_of:
                there = torch.from_numpy(valid[band]).to(self.opened.device)
                plane = self.opened.cube[self.row_of[band]][self.opened.core.slices]
                out[at] = torch.where(there, plane, torch.nan)
        return out
