"""One tile as a pure function: (scene window, guide window, work) -> stored bands.

Everything has finite support, so a tile with its halo gives what the whole scene would.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo import coarse, fine
from dualsr_geo.bands import Packing
from dualsr_geo.degrade import BLOCK_LR, Banded, Operator, Psf, blur_matrix, operator
from dualsr_geo.encode import Encoded, empty_value, encode, floor
from dualsr_geo.model import Model
from dualsr_geo.survey import Survey, guide_margin, move_guide
from dualsr_geo.tile import Tile, Tiling, Window

# Consistency is measured on every fourth row of lr pixels: a quarter of its cost, the same figure.
CONSISTENCY_STEP = 4
BAND_BLOCK = 16


@dataclass(frozen=True)
class Work:
    """What every tile needs to know; small and picklable.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    count : int
        Bands of the scene.
    ratio : int
    tile : int
        Side of a core, lr pixels.
    model : Model
    fine : str
    packing : Packing
        Of the product.
    device : str
    survey : Survey
    """

    shape: tuple[int, int]
    count: int
    ratio: int
    tile: int
    model: Model
    fine: str
    packing: Packing
    device: str
    survey: Survey

    @cached_property
    def tiling(self) -> Tiling:
        """The scene cut in tiles."""
        return Tiling(self.shape, self.tile, self.model.halo)

    @property
    def guided(self) -> bool:
        """Whether tiles read the guide."""
        return self.model.guided and self.survey.fit is not None


def guide_window(work: Work, tile: Tile) -> Window:
    """Return the guide window that a tile needs, hr pixels; it may leave the grid."""
    return tile.padded.scaled(work.ratio).grown(guide_margin(work.survey.moved_px))


class Figures:
    """What a tile counts: consistency, overshoot, saturation, guide coverage."""

    def __init__(self, count: int) -> None:
        self.square = np.zeros(count)
        self.pixels = np.zeros(count)
        self.angle = 0.0
        self.angles = 0
        self.cut = 0
        self.saturated = 0
        self.guided = 0.0
        self.coverage = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; the figures of all tiles add up."""
        return {
            "square": self.square.tolist(),
            "pixels": self.pixels.tolist(),
            "angle": self.angle,
            "angles": self.angles,
            "cut": self.cut,
            "saturated": self.saturated,
            "guided": self.guided,
            "coverage": self.coverage,
        }


def sharpen_tile(
    work: Work,
    tile: Tile,
    cube: NDArray[np.float32],
    guide: NDArray[np.float32] | None,
    figures: Figures,
    band_ranges: Iterable[slice] | None = None,
) -> Iterator[tuple[slice, NDArray[np.generic]]]:
    """Sharpen one tile, some bands at a time.

    Parameters
    ----------
    work : Work
    tile : Tile
    cube : array, shape (band, y, x)
        The scene in the padded window, physical units, NaN where nothing is.
    guide : array, shape (guide band, Y, X), or None
        The guide in `guide_window`, NaN where it does not reach.
    figures : Figures
        Filled on the way.
    band_ranges : iterable of slice, optional
        Which bands to make at once.

    Yields
    ------
    rows : slice
        Bands of the product.
    stored : array, shape (band, ratio * y, ratio * x)
        The core, in the product's packing.
    """
    ranges = list(band_ranges or _ranges(work.count))
    valid = np.isfinite(cube[:, tile.core.within(tile.padded).slices[0], tile.core.within(tile.padded).slices[1]])
    if not valid.any():
        yield from _nothing(work, tile, ranges)
        return
    with one_thread(), torch.inference_mode():
        window = _Window(work, tile, cube, guide)
        figures.coverage = window.coverage
        figures.guided = window.coverage * valid[0].size
        check = _Consistency(work, tile, window.device)
        for rows in ranges:
            encoded, hole = window.bands(rows, valid)
            figures.cut += encoded.cut
            figures.saturated += encoded.saturated
            check.add(rows, encoded.physical, window.observed(rows, valid), figures)
            yield rows, encoded.stored
        check.close(figures)


def _ranges(count: int) -> list[slice]:
    return [slice(i, min(i + BAND_BLOCK, count)) for i in range(0, count, BAND_BLOCK)]


def _nothing(work: Work, tile: Tile, ranges: list[slice]) -> Iterator[tuple[slice, NDArray[np.generic]]]:
    height, width = tile.core.scaled(work.ratio).shape
    for rows in ranges:
        shape = (rows.stop - rows.start, height, width)
        yield rows, np.full(shape, empty_value(work.packing), dtype=work.packing.dtype)


class _Window:
    """A tile at work: everything between the windows read and the bands written."""

    def __init__(self, work: Work, tile: Tile, cube: NDArray[np.float32], guide: NDArray[np.float32] | None) -> None:
        survey = work.survey
        self.work, self.tile, self.device = work, tile, torch.device(work.device)
        self.row_of = {band: i for i, band in enumerate(survey.used)}
        mean = torch.from_numpy(survey.space.mean).to(self.device)
        raw = torch.from_numpy(np.ascontiguousarray(cube[list(survey.used)])).to(self.device)
        self.cube, weight = coarse.fill(raw, mean)
        self.operator = operator(survey.psf, work.shape, tile.padded, self.device)
        if not work.model.spectral:
            self.operator = _plain(self.operator, work, tile, self.device)
        self.coverage = 0.0
        ready = self._guide(guide)
        closed, alone = (self._closed(v.tolist()) for v in (survey.lams, survey.lams_alone))
        project = torch.from_numpy(survey.space.project).to(self.device)
        z = (project @ (self.cube - mean[:, None, None]).flatten(1)).view(-1, *self.cube.shape[1:])
        mixture = None if survey.mixture is None else torch.from_numpy(survey.mixture).to(self.device)
        hr = coarse.sharpen(z, weight, ready, survey.fit, mixture, closed, alone, consistent=work.fine == "consistency")
        core = tile.core.within(tile.padded).scaled(work.ratio)
        self.spectra = coarse.spectra(survey.space, self.cube, z, hr, self.operator, core)

    def _guide(self, guide: NDArray[np.float32] | None) -> coarse.GuideWindow | None:
        survey, work = self.work.survey, self.work
        if guide is None or survey.guide_mean is None or not work.guided:
            return None
        moved = move_guide(guide, survey.moved_px, guide_margin(survey.moved_px))
        core = self.tile.core.within(self.tile.padded).scaled(work.ratio)
        self.coverage = float(np.isfinite(moved[(slice(None), *core.slices)]).all(0).mean())
        mean = torch.from_numpy(survey.guide_mean).to(self.device)
        return coarse.ready_guide(torch.from_numpy(moved).to(self.device), mean, self.operator)

    def _closed(self, lams: list[float]) -> fine.Consistency:
        work = self.work
        return fine.consistency(work.survey.psf, work.shape, lams, self.operator, self.tile.padded)

    def bands(self, rows: slice, valid: NDArray[np.bool_]) -> tuple[Any, torch.Tensor | None]:
        """Return some bands encoded, and where they have holes."""
        mine = [self.row_of[b] for b in range(rows.start, rows.stop) if b in self.row_of]
        core = self.tile.core.within(self.tile.padded)
        height, width = core.scaled(self.work.ratio).shape
        low: float | torch.Tensor = self.work.survey.low
        if len(mine) == rows.stop - rows.start:
            some = slice(mine[0], mine[-1] + 1)
            values = self._made(some)
            limit = floor(self.cube[some], self.work.survey.low, core.slices, self.work.ratio)
            low = low if limit is None else limit
        else:
            values = torch.full((rows.stop - rows.start, height, width), self.work.survey.low, device=self.device)
            for at, band in enumerate(range(rows.start, rows.stop)):
                if band in self.row_of:
                    i = self.row_of[band]
                    limit = floor(self.cube[i : i + 1], self.work.survey.low, core.slices, self.work.ratio)
                    made = self._made(slice(i, i + 1))
                    values[at] = made[0] if limit is None else torch.maximum(made, limit)[0]
        hole = None
        if not valid[rows].all():
            small = torch.from_numpy(~valid[rows]).to(self.device)
            hole = small.repeat_interleave(self.work.ratio, 1).repeat_interleave(self.work.ratio, 2)
        return encode(values, self.work.packing, rows, low, hole), hole

    def _made(self, some: slice) -> torch.Tensor:
        made = self.spectra.bands(some)
        if self.work.model.spectral or self.work.fine != "consistency":
            return made
        # Band by band there are no components: the fine stage runs on the bands themselves.
        count = some.stop - some.start
        observed = self.cube[some]
        estimate = self.operator.upsample(observed)
        closed = self._closed([0.0] * count)
        rows, columns = self.tile.core.within(self.tile.padded).scaled(self.work.ratio).slices
        return closed(estimate, observed)[:, rows, columns].contiguous()

    def observed(self, rows: slice, valid: NDArray[np.bool_]) -> torch.Tensor:
        """Return the scene's own values of some bands in the core, NaN where nothing is."""
        core = self.tile.core.within(self.tile.padded).slices
        out = torch.full((rows.stop - rows.start, *valid.shape[1:]), torch.nan, device=self.device)
        for at, band in enumerate(range(rows.start, rows.stop)):
            if band in self.row_of:
                there = torch.from_numpy(valid[band]).to(self.device)
                plane = self.cube[self.row_of[band]][core]
                out[at] = torch.where(there, plane, torch.nan)
        return out


def _plain(op: Operator, work: Work, tile: Tile, device: torch.device) -> Operator:
    """Return the operator with interpolation at the grid's own phase: plain bicubic knows no PSF."""
    centred = operator(Psf.from_mtf(work.ratio), work.shape, tile.padded, device)
    return Operator(op.blur_y, op.blur_x, centred.cubic_y, centred.cubic_x)


class _Consistency:
    """How nearly the degraded product equals the scene, on rows whose blur lies in the core."""

    def __init__(self, work: Work, tile: Tile, device: torch.device) -> None:
        psf, (height, width) = work.survey.psf, work.shape
        core, reach = tile.core, psf.reach_lr
        rows = np.arange(core.y0 and core.y0 + reach, core.y1 if core.y1 == height else core.y1 - reach)
        columns = np.arange(core.x0 and core.x0 + reach, core.x1 if core.x1 == width else core.x1 - reach)
        rows = rows[::CONSISTENCY_STEP]
        self.rows, self.columns = rows - core.y0, columns - core.x0
        by = blur_matrix(psf.taps_y, psf.start_y, psf.ratio, height, core.y0, core.y1)[self.rows]
        bx = blur_matrix(psf.taps_x, psf.start_x, psf.ratio, width, core.x0, core.x1)[self.columns]
        self.by, self.bx = (Banded(m, BLOCK_LR, device) for m in (by, bx))
        self.dot: torch.Tensor | None = None
        self.ours: torch.Tensor | None = None
        self.theirs: torch.Tensor | None = None

    def add(self, rows: slice, product: torch.Tensor, scene: torch.Tensor, figures: Figures) -> None:
        """Count some bands."""
        if not (len(self.rows) and len(self.columns)):
            return
        made = self.bx.columns(self.by.rows(product))
        want = scene[:, self.rows][:, :, self.columns]
        there = torch.isfinite(want)
        wrong = torch.where(there, made - want, 0.0)
        figures.square[rows] += (wrong.double() ** 2).sum((1, 2)).cpu().numpy()
        figures.pixels[rows] += there.sum((1, 2)).cpu().numpy()
        kept = there.any(2).any(1)
        a, b = made[kept].double(), want[kept].double()
        self.dot = _plus(self.dot, (a * b).sum(0))
        self.ours = _plus(self.ours, (a * a).sum(0))
        self.theirs = _plus(self.theirs, (b * b).sum(0))

    def close(self, figures: Figures) -> None:
        """Count the spectral angles."""
        if self.dot is None or self.ours is None or self.theirs is None:
            return
        norm = (self.ours * self.theirs).sqrt()
        known = torch.isfinite(self.dot) & (norm > 0)
        angle = torch.acos((self.dot[known] / norm[known]).clamp(-1, 1))
        figures.angle += float(torch.rad2deg(angle).sum())
        figures.angles += int(known.sum())


def _plus(total: torch.Tensor | None, part: torch.Tensor) -> torch.Tensor:
    return part if total is None else total + part


_lock = threading.Lock()
_inside = 0
_threads_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's arithmetic on one thread while any tile is at work, then restore it."""
    global _inside, _threads_before  # noqa: PLW0603  # torch's thread count is global, so is its guard
    with _lock:
        if _inside == 0:
            _threads_before = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                torch.set_num_threads(_threads_before)
