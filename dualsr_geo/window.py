"""One tile as a pure function: (scene window, guide window, work) -> stored bands.

Everything has finite support, so a tile with its halo gives what the whole scene would.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo import coarse, correction, doubt, fine
from dualsr_geo import guided as learned
from dualsr_geo import refinement as refining
from dualsr_geo.alone import observed
from dualsr_geo.anchors import Anchors
from dualsr_geo.bands import Packing
from dualsr_geo.degrade import BLOCK_LR, Banded, Operator, cubic_matrix, operator
from dualsr_geo.encode import Encoded, empty_value, encode, encode_deviation, floor
from dualsr_geo.figures import Check, Figures
from dualsr_geo.injection import Sharpened, injector
from dualsr_geo.model import Model, is_consistent
from dualsr_geo.networks.backprojection import halved
from dualsr_geo.placement import guide_margin, move_guide
from dualsr_geo.refinement import Refinement, View
from dualsr_geo.stream import Place, Stream
from dualsr_geo.survey import Survey
from dualsr_geo.tile import Tile, Tiling, Window

# Bands made at once: bounds the memory of a tile.
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
    refinement : Refinement or None
        A fine stage that corrects the start, fitted to the scene.
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
    refinement: Refinement | None = None

    @cached_property
    def tiling(self) -> Tiling:
        """The scene cut in tiles."""
        return Tiling(self.shape, self.tile, self.model.halo)

    @property
    def consistent(self) -> bool:
        """Whether the start is made consistent with the scene."""
        return is_consistent(self.model, self.fine)

    @property
    def guided(self) -> bool:
        """Whether tiles read the guide."""
        known = self.survey
        ready = known.fit is not None or known.injection is not None or known.units is not None
        return self.model.guided and known.guide_mean is not None and ready


def guide_window(work: Work, tile: Tile) -> Window:
    """Return the guide window that a tile needs, hr pixels; it may leave the grid."""
    return tile.padded.scaled(work.ratio).grown(guide_margin(work.survey.moved_px))


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
        window = _Window(work, tile, cube, guide)
        figures.coverage = window.coverage
        figures.guided = window.coverage * valid[0].size
        check = Check(work.survey.psf, work.shape, tile.core, window.device)
        for rows in ranges:
            encoded = window.bands(rows, valid)
            figures.cut += encoded.cut
            figures.saturated += encoded.saturated
            check.add(rows, encoded.physical, window.observed(rows, valid), figures)
            yield rows, encoded.stored
            if window.marks is not None:
                yield _beyond(work, rows), window.deviations(rows, valid, figures)
        check.close(figures)


def view(
    work: Work, tile: Tile, cube: NDArray[np.float32], guide: NDArray[np.float32] | None, anchors: Anchors
) -> View:
    """Return a tile's start on the anchors, for a fine stage to be fitted to.

    Parameters are those of `sharpen_tile`; all of the padded window is shown. `work.refinement`
    says whether half the ratio is wanted, and is not applied.
    """
    return _Window(work, tile, cube, guide, whole=True).view(anchors)


def _ranges(count: int) -> list[slice]:
    return [slice(i, min(i + BAND_BLOCK, count)) for i in range(0, count, BAND_BLOCK)]


def _nothing(work: Work, tile: Tile, ranges: list[slice]) -> Iterator[tuple[slice, NDArray[np.generic]]]:
    height, width = tile.core.scaled(work.ratio).shape
    for rows in ranges:
        shape = (rows.stop - rows.start, height, width)
        yield rows, np.full(shape, empty_value(work.packing), dtype=work.packing.dtype)
        if work.survey.doubt is not None:
            yield _beyond(work, rows), np.full(shape, empty_value(work.packing), dtype=work.packing.dtype)


def _beyond(work: Work, rows: slice) -> slice:
    """Return which bands hold the standard deviations of some."""
    return slice(work.count + rows.start, work.count + rows.stop)


class _Window:
    """A tile at work: everything between the windows read and the bands written."""

    def __init__(
        self,
        work: Work,
        tile: Tile,
        cube: NDArray[np.float32],
        guide: NDArray[np.float32] | None,
        *,
        whole: bool = False,
    ) -> None:
        survey = work.survey
        self.work, self.tile, self.device = work, tile, torch.device(work.device)
        self.core = tile.core.within(tile.padded)
        self.row_of = {band: i for i, band in enumerate(survey.used)}
        mean = torch.from_numpy(survey.space.mean).to(self.device)
        raw = torch.from_numpy(np.ascontiguousarray(cube[list(survey.used)])).to(self.device)
        self.raw = cube, guide
        self.cube, weight = coarse.fill(raw, mean)
        self.weight = weight
        refined = work.refinement is not None and work.refinement.share > 0
        # What corrects a start looks around itself; else the core is enough.
        self.span = tile.padded.within(tile.padded) if whole or refined else self.core
        self.operator = operator(survey.psf, work.shape, tile.padded, self.device)
        if work.model.cubic_a is not None:
            self.operator = _plain(self.operator, work, tile, work.model.cubic_a)
        self.coverage = 0.0
        self.ready = ready = self._ready(guide)
        self.injected = self._injected(ready)
        self.blend = None if ready is None else ready.blend
        self.stream = self._stream(ready)
        guided = self._guided(ready)
        closed, alone = (self._closed(v.tolist()) for v in (survey.lams, survey.lams_alone))
        project = torch.from_numpy(survey.space.project).to(self.device)
        z = (project @ (self.cube - mean[:, None, None]).flatten(1)).view(-1, *self.cube.shape[1:])
        hr = coarse.sharpen(z, weight, guided, closed, alone, consistent=work.consistent)
        self.seen = observed(survey.space, self.cube, z)
        made = coarse.spectra(survey.space, self.cube, z, hr, self.operator, self.span.scaled(work.ratio))
        self.spectra = replace(made, added=self._added(z, hr, weight, guided, closed))
        self.marks = None if whole else self._marks(z, hr, closed, guided)
        self.kept = self._kept() if refined or whole else None
        if refined and not whole:
            self._refine()

    def _added(
        self,
        z: torch.Tensor,
        hr: torch.Tensor,
        weight: torch.Tensor | None,
        guided: coarse.Guided | None,
        closed: fine.Consistency,
    ) -> tuple[coarse.Added, ...]:
        """Return what our own networks add to the start."""
        known, psf, space = self.work.survey.correction, self.work.survey.psf, self.work.survey.space
        ours = self.work.model.ours
        if known is None or ours is None:
            return ()
        padded, window = self.tile.padded, None
        if guided is not None:
            origin = (padded.y0, padded.x0)
            window = learned.Window(space, self.cube, z, hr, guided, psf, closed, weight, origin)
        plain = self._closed([0.0] * len(self.cube))
        core = self.span.scaled(self.work.ratio)
        return correction.added(ours, known, window, self.seen, weight, psf, plain, core)

    def _marks(
        self, z: torch.Tensor, hr: torch.Tensor, closed: fine.Consistency, guided: coarse.Guided | None
    ) -> doubt.Marks | None:
        """Return what tells of errors in the core; None where nobody asked."""
        survey = self.work.survey
        if survey.doubt is None:
            return None
        expand = torch.from_numpy(survey.space.expand).to(self.device)
        start = doubt.Start(expand, z, hr, closed, guided, self.weight)
        return doubt.marks(start, self.core, self.work.ratio)

    def _ready(self, guide: NDArray[np.float32] | None) -> coarse.GuideWindow | None:
        survey, work = self.work.survey, self.work
        if guide is None or survey.guide_mean is None or not work.guided:
            return None
        moved = move_guide(guide, survey.moved_px, guide_margin(survey.moved_px))
        core = self.core.scaled(work.ratio)
        self.coverage = float(np.isfinite(moved[(slice(None), *core.slices)]).all(0).mean())
        mean = torch.from_numpy(survey.guide_mean).to(self.device)
        return coarse.ready_guide(torch.from_numpy(moved).to(self.device), mean, self.operator)

    def _guided(self, ready: coarse.GuideWindow | None) -> coarse.Guided | None:
        survey = self.work.survey
        if ready is None or survey.fit is None or survey.mixture is None:
            return None
        return coarse.Guided(ready, survey.fit, torch.from_numpy(survey.mixture).to(self.device))

    def _injected(self, ready: coarse.GuideWindow | None) -> Sharpened | None:
        """Return the classic rule of this window, faded out where the guide ends."""
        rule, known = self.work.model.injection, self.work.survey.injection
        if rule is None or known is None or ready is None:
            return None
        inject, blend = injector(rule, known, self.cube, ready.values, self.operator), ready.blend
        if blend is None:
            return inject
        return lambda up, rows: torch.lerp(up, inject(up, rows), blend)

    def _stream(self, ready: coarse.GuideWindow | None) -> Stream | None:
        """Return the bands of a network; None for other models, and where its guide is not."""
        work, known = self.work, self.work.survey
        if known.units is None or (work.model.guided and ready is None):
            return None
        guide = None if ready is None else ready.values
        place = Place(self.tile.padded, work.shape)
        return Stream(work.model, work.fine, known.units, known.angle, self.cube, guide, place)

    def _closed(self, lams: list[float]) -> fine.Consistency:
        work = self.work
        return fine.consistency(work.survey.psf, work.shape, lams, self.operator, self.tile.padded)

    def bands(self, rows: slice, valid: NDArray[np.bool_]) -> Encoded:
        """Return some bands of the core as they are stored."""
        values, low = self._values(rows)
        return encode(values, self.work.packing, rows, low, self._hole(valid[rows]))

    def _hole(self, valid: NDArray[np.bool_]) -> torch.Tensor | None:
        """Return where nothing is, (band, Y, X); None where all is there."""
        if valid.all():
            return None
        small = torch.from_numpy(~valid).to(self.device)
        return small.repeat_interleave(self.work.ratio, 1).repeat_interleave(self.work.ratio, 2)

    def deviations(self, rows: slice, valid: NDArray[np.bool_], figures: Figures) -> NDArray[np.generic]:
        """Return the standard deviations of some bands of the core as they are stored."""
        assert self.marks is not None
        used = [self.row_of.get(band) for band in range(rows.start, rows.stop)]
        known = [i for i in used if i is not None]
        values = torch.zeros((len(used), *self.core.scaled(self.work.ratio).shape), device=self.device)
        if known:
            there = torch.tensor([i is not None for i in used])
            values[there] = self._sigma(slice(known[0], known[-1] + 1))
        # Of bands with too few pixels to be used nothing is known.
        valid = valid[rows] & np.array([i is not None for i in used])[:, None, None]
        figures.doubt(rows, values, valid, self.work.ratio)
        return encode_deviation(values, self.work.packing, rows, self._hole(valid))

    def _sigma(self, some: slice) -> torch.Tensor:
        known, seen = self.work.survey.doubt, self.marks
        assert known is not None
        assert seen is not None
        blend = self.blend
        if blend is not None:
            rows, columns = self.core.scaled(self.work.ratio).slices
            blend = blend[rows, columns]
        return doubt.sigma(known, seen, some, blend)

    def _values(self, rows: slice) -> tuple[torch.Tensor, float | torch.Tensor]:
        """Return some bands, physical, and the lowest value allowed; bands without data hold that."""
        low = self.work.survey.low
        mine = [(at, self.row_of.get(band)) for at, band in enumerate(range(rows.start, rows.stop))]
        known = [(at, i) for at, i in mine if i is not None]
        if len(known) == len(mine):
            some = slice(known[0][1], known[-1][1] + 1)
            limit = self._floor(some)
            return self._made(some), low if limit is None else limit
        values = torch.full((len(mine), *self.core.scaled(self.work.ratio).shape), low, device=self.device)
        limits = values.clone()
        for at, i in known:
            values[at] = self._made(slice(i, i + 1))[0]
            limit = self._floor(slice(i, i + 1))
            if limit is not None:
                limits[at] = limit[0]
        return values, limits

    def _floor(self, some: slice) -> torch.Tensor | None:
        return floor(self.cube[some], self.work.survey.low, self.core.slices, self.work.ratio)

    def _made(self, some: slice) -> torch.Tensor:
        """Return some bands of the core, physical, not clamped."""
        made = self.start(some)
        rows, columns = self.core.within(self._shown).scaled(self.work.ratio).slices
        return made[:, rows, columns].contiguous()

    @property
    def _by_bands(self) -> bool:
        """Whether bands are made one by one: then rules and the fine stage run on the bands themselves."""
        work = self.work
        return not work.model.spectral and bool(work.consistent or self.injected or self.stream)

    @property
    def _shown(self) -> Window:
        """What `start` makes, in the window's own coordinates, lr pixels."""
        return self.tile.padded.within(self.tile.padded) if self._by_bands else self.span

    def start(self, some: slice) -> torch.Tensor:
        """Return some bands of what `_shown` says, (band, Y, X)."""
        if self.kept is not None:
            return self.kept[some]
        if not self._by_bands:
            return self.spectra.bands(some)
        observed = self.cube[some]
        estimate = self._band_by_band(observed, some)
        return self._closed([0.0] * len(observed))(estimate, observed) if self.work.consistent else estimate

    def _kept(self) -> torch.Tensor | None:
        """Return all bands, where they can be made but once and a fine stage needs some of them first."""
        self.kept = None
        return self.start(slice(0, len(self.cube))) if self._by_bands else None

    def view(self, anchors: Anchors) -> View:
        """Return the padded window's start on the anchors, as a fine stage sees it."""
        rows, work = list(anchors.bands), self.work
        start = torch.cat([self.start(slice(i, i + 1)) for i in rows])
        valid = correction.faded(start, None if self.ready is None else self.ready.blend, self.weight)
        closed = self._closed([0.0] * len(rows)) if work.consistent else None
        seen = View(start, self.seen[rows], self.operator, work.survey.psf, closed, valid)
        wanted = work.refinement
        if wanted is not None and wanted.is_projected:
            return replace(seen, half=self._half(wanted, anchors))
        return seen if self.ready is None else replace(seen, guide=self.ready.values, missed=self._missed(self.ready))

    def _missed(self, ready: coarse.GuideWindow) -> torch.Tensor:
        """Return what the response leaves of the guide, (guide band, Y, X), but for what it leaves on the lr grid."""
        response = torch.from_numpy(self.work.survey.srf).to(self.cube)
        made = self.spectra.through(response) if self.kept is None else torch.einsum("gb,byx->gyx", response, self.kept)
        usual = self.operator.degrade(ready.values) - torch.einsum("gb,byx->gyx", response, self.seen)
        return ready.values - made - self.operator.upsample(usual)

    def _half(self, refinement: Refinement, anchors: Anchors) -> torch.Tensor:
        """Return the anchors at half the ratio."""
        rows, (cube, guide), work = list(anchors.bands), self.raw, self.work
        if refinement.half is None:
            return self.seen[rows]
        if guide is not None:
            moved = move_guide(guide, work.survey.moved_px, guide_margin(work.survey.moved_px))
            guide = halved(torch.from_numpy(moved)).numpy()
        half = replace(work, ratio=work.ratio // 2, survey=refinement.half, refinement=None)
        window = _Window(half, self.tile, cube, guide, whole=True)
        return torch.cat([window.start(slice(i, i + 1)) for i in rows])

    def _refine(self) -> None:
        """Correct the start of the padded window."""
        refinement = self.work.refinement
        assert refinement is not None
        planes = refining.correct(refinement, self.view(refinement.anchors)).flatten(1)
        spread = torch.from_numpy(refinement.anchors.spread).to(planes)
        if self.kept is None:
            part = coarse.Added(planes, spread)
            self.spectra = replace(self.spectra, added=(*self.spectra.added, part))
        else:
            self.kept.flatten(1).addmm_(spread, planes)

    def _band_by_band(self, observed: torch.Tensor, some: slice) -> torch.Tensor:
        """Return some bands of the padded window, (band, ratio * y, ratio * x), before the fine stage."""
        if self.stream is None:
            plain = self.operator.upsample(observed)
            return self.injected(plain, some) if self.injected else plain
        made = self.stream.take(some)
        return made if self.blend is None else torch.lerp(self.operator.upsample(observed), made, self.blend)

    def observed(self, rows: slice, valid: NDArray[np.bool_]) -> torch.Tensor:
        """Return the scene's own values of some bands in the core, NaN where nothing is."""
        out = torch.full((rows.stop - rows.start, *valid.shape[1:]), torch.nan, device=self.device)
        for at, band in enumerate(range(rows.start, rows.stop)):
            if band in self.row_of:
                there = torch.from_numpy(valid[band]).to(self.device)
                plane = self.cube[self.row_of[band]][self.core.slices]
                out[at] = torch.where(there, plane, torch.nan)
        return out


def _plain(op: Operator, work: Work, tile: Tile, a: float) -> Operator:
    """Return the operator with interpolation at the grid's own phase: plain bicubic knows no PSF."""
    (y0, y1), (x0, x1) = (tile.padded.y0, tile.padded.y1), (tile.padded.x0, tile.padded.x1)
    device, block = work.device, BLOCK_LR * work.ratio
    cubic_y, cubic_x = (
        Banded(cubic_matrix(0.0, work.ratio, length, low, high, a), block, device)
        for length, low, high in ((work.shape[0], y0, y1), (work.shape[1], x0, x1))
    )
    return Operator(op.blur_y, op.blur_x, cubic_y, cubic_x)


_lock = threading.Lock()
_inside = 0
_threads_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's arithmetic on one thread while any tile is at work, then restore it."""
    global _inside, _threads_before  # noqa: PLW0603  # torch's thread count is global, so is its guard
    with _lock:
        # Asking makes a new thread take over the process' count, which would else undo what is set here.
        here = torch.get_num_threads()
        if _inside == 0:
            _threads_before = here
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            # Restored by the last to leave: another tile at work would change its last bits.
            if _inside == 0:
                torch.set_num_threads(_threads_before)
