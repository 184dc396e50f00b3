"""A tile's windows, opened: everything between what is read and the bands that are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation import consistency
from dualsr_geo.degradation.operators import BLOCK_LR, Banded, Operator, cubic_matrix, operator
from dualsr_geo.engine.tiles import fine_stage as refining
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage, FineStageInput
from dualsr_geo.fusion import change_detection, coarse_stage, uncertainty
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.injection import Sharpened, injector
from dualsr_geo.fusion.prepared_guide import PreparedGuide, prepare_guide
from dualsr_geo.fusion.spectra import DetailPlanes, core_spectra
from dualsr_geo.models import correction
from dualsr_geo.models import guided_correction as learned
from dualsr_geo.models.band_stream import Place, Stream
from dualsr_geo.models.networks.backprojection import halved
from dualsr_geo.models.unguided_correction import observed
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.shift import guide_margin, move_guide


class TileReconstruction:
    """A tile's windows, filled and sharpened, of which bands are made when asked for.

    Parameters
    ----------
    work : TileContext
    tile : Tile
    cube : array, shape (band, y, x)
        The scene in the padded window, physical units, NaN where nothing is.
    guide : array, shape (guide band, Y, X), or None
        The guide in `guide_window`, NaN where it does not reach.
    whole : bool
        Make all of the padded window, to fit a fine stage to; `work.refinement` is not applied then.

    Attributes
    ----------
    core : Window
        The core in the padded window, lr pixels.
    shown : Window
        What `start` makes, in the padded window, lr pixels.
    coverage : float
        Share of the core that the guide reaches, 0..1.
    withheld : float
        Share of the core where the guide shows something else and is not used, 0..1.
    marks : Marks or None
        What tells of errors in the core; None where nobody asked.
    """

    def __init__(
        self,
        work: TileContext,
        tile: Tile,
        cube: NDArray[np.float32],
        guide: NDArray[np.float32] | None,
        *,
        whole: bool = False,
    ) -> None:
        survey = work.survey
        self.work, self.tile, self.device = work, tile, torch.device(work.device)
        self.core = tile.core.within(tile.padded)
        mean = torch.from_numpy(survey.space.mean).to(self.device)
        raw = torch.from_numpy(np.ascontiguousarray(cube[list(survey.used)])).to(self.device)
        self.raw = cube, guide
        self.cube, weight = fill_holes(raw, mean)
        self.weight = weight
        refined = work.refinement is not None and work.refinement.share > 0
        # What corrects a start looks around itself; else the core is enough.
        self.span = tile.padded.within(tile.padded) if whole or refined else self.core
        self.operator = operator(survey.psf, work.shape, tile.padded, self.device)
        if work.model.cubic_a is not None:
            self.operator = _plain(self.operator, work, tile, work.model.cubic_a)
        self.coverage = self.withheld = 0.0
        self.ready = ready = self._ready(guide)
        self.injected = self._injected(ready)
        self.blend = None if ready is None else ready.blend
        self.stream = self._stream(ready)
        guided = self._guided(ready)
        closed, alone = (self._closed(v.tolist()) for v in (survey.lams, survey.lams_alone))
        project = torch.from_numpy(survey.space.project).to(self.device)
        z = (project @ (self.cube - mean[:, None, None]).flatten(1)).view(-1, *self.cube.shape[1:])
        hr = coarse_stage.sharpen(z, weight, guided, closed, alone, consistent=work.consistent)
        self.seen = observed(survey.space, self.cube, z)
        made = core_spectra(survey.space, self.cube, z, hr, self.operator, self.span.scaled(work.ratio))
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
        guided: coarse_stage.GuidedStart | None,
        closed: consistency.Consistency,
    ) -> tuple[DetailPlanes, ...]:
        """Return what our own networks add to the start."""
        known, psf, space = self.work.survey.correction, self.work.survey.psf, self.work.survey.space
        ours = self.work.model.ours
        if known is None or ours is None:
            return ()
        padded, window = self.tile.padded, None
        if guided is not None:
            origin = (padded.y0, padded.x0)
            window = learned.GuidedWindow(space, self.cube, z, hr, guided, psf, closed, weight, origin)
        plain = self._closed([0.0] * len(self.cube))
        core = self.span.scaled(self.work.ratio)
        return correction.learned_detail(ours, known, window, self.seen, weight, psf, plain, core)

    def _marks(
        self,
        z: torch.Tensor,
        hr: torch.Tensor,
        closed: consistency.Consistency,
        guided: coarse_stage.GuidedStart | None,
    ) -> uncertainty.ErrorPredictors | None:
        """Return what tells of errors in the core; None where nobody asked."""
        survey = self.work.survey
        if survey.doubt is None:
            return None
        expand = torch.from_numpy(survey.space.expand).to(self.device)
        start = uncertainty.ConsistentStart(expand, z, hr, closed, guided, self.weight)
        return uncertainty.error_predictors(start, self.core, self.work.ratio)

    def _ready(self, guide: NDArray[np.float32] | None) -> PreparedGuide | None:
        survey, work = self.work.survey, self.work
        if guide is None or survey.guide_mean is None or not work.guided:
            return None
        moved = move_guide(guide, survey.moved_px, guide_margin(survey.moved_px))
        core = self.core.scaled(work.ratio)
        self.coverage = float(np.isfinite(moved[(slice(None), *core.slices)]).all(0).mean())
        mean = torch.from_numpy(survey.guide_mean).to(self.device)
        ready = prepare_guide(torch.from_numpy(moved).to(self.device), mean, self.operator)
        if ready is None or survey.changes is None:
            return ready
        ready, kept = change_detection.withhold_changes(survey.changes, self.cube, ready, self.operator)
        self.withheld = 1 - float(kept[self.core.slices].mean())
        return ready

    def _guided(self, ready: PreparedGuide | None) -> coarse_stage.GuidedStart | None:
        survey = self.work.survey
        if ready is None or survey.fit is None or survey.mixture is None:
            return None
        return coarse_stage.GuidedStart(ready, survey.fit, torch.from_numpy(survey.mixture).to(self.device))

    def _injected(self, ready: PreparedGuide | None) -> Sharpened | None:
        """Return the classic rule of this window, faded out where the guide ends."""
        rule, known = self.work.model.injection, self.work.survey.injection
        if rule is None or known is None or ready is None:
            return None
        inject, blend = injector(rule, known, self.cube, ready.values, self.operator), ready.blend
        if blend is None:
            return inject
        return lambda up, rows: torch.lerp(up, inject(up, rows), blend)

    def _stream(self, ready: PreparedGuide | None) -> Stream | None:
        """Return the bands of a network; None for other models, and where its guide is not."""
        work, known = self.work, self.work.survey
        if known.units is None or (work.model.guided and ready is None):
            return None
        guide = None if ready is None else ready.values
        place = Place(self.tile.padded, work.shape)
        return Stream(work.model, work.fine, known.units, known.angle, self.cube, guide, place)

    def _closed(self, lams: list[float]) -> consistency.Consistency:
        work = self.work
        return consistency.consistency(work.survey.psf, work.shape, lams, self.operator, self.tile.padded)

    @property
    def _by_bands(self) -> bool:
        """Whether bands are made one by one: then rules and the fine stage run on the bands themselves."""
        work = self.work
        return not work.model.spectral and bool(work.consistent or self.injected or self.stream)

    @property
    def shown(self) -> Window:
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

    def view(self, anchors: AnchorBands) -> FineStageInput:
        """Return the padded window's start on the anchors, as a fine stage sees it."""
        rows, work = list(anchors.bands), self.work
        start = torch.cat([self.start(slice(i, i + 1)) for i in rows])
        valid = correction.faded(start, None if self.ready is None else self.ready.blend, self.weight)
        closed = self._closed([0.0] * len(rows)) if work.consistent else None
        seen = FineStageInput(start, self.seen[rows], self.operator, work.survey.psf, closed, valid)
        wanted = work.refinement
        if wanted is not None and wanted.is_projected:
            return replace(seen, half=self._half(wanted, anchors))
        return seen if self.ready is None else replace(seen, guide=self.ready.values, missed=self._missed(self.ready))

    def _missed(self, ready: PreparedGuide) -> torch.Tensor:
        """Return what the response leaves of the guide, (guide band, Y, X), but for what it leaves on the lr grid."""
        response = torch.from_numpy(self.work.survey.srf).to(self.cube)
        made = (
            self.spectra.observed_by(response)
            if self.kept is None
            else torch.einsum("gb,byx->gyx", response, self.kept)
        )
        usual = self.operator.degrade(ready.values) - torch.einsum("gb,byx->gyx", response, self.seen)
        return ready.values - made - self.operator.upsample(usual)

    def _half(self, refinement: FineStage, anchors: AnchorBands) -> torch.Tensor:
        """Return the anchors at half the ratio."""
        rows, (cube, guide), work = list(anchors.bands), self.raw, self.work
        if refinement.half is None:
            return self.seen[rows]
        if guide is not None:
            moved = move_guide(guide, work.survey.moved_px, guide_margin(work.survey.moved_px))
            guide = halved(torch.from_numpy(moved)).numpy()
        half = replace(work, ratio=work.ratio // 2, survey=refinement.half, refinement=None)
        window = TileReconstruction(half, self.tile, cube, guide, whole=True)
        return torch.cat([window.start(slice(i, i + 1)) for i in rows])

    def _refine(self) -> None:
        """Correct the start of the padded window."""
        refinement = self.work.refinement
        assert refinement is not None
        planes = refining.correct(refinement, self.view(refinement.anchors)).flatten(1)
        spread = torch.from_numpy(refinement.anchors.spread).to(planes)
        if self.kept is None:
            part = DetailPlanes(planes, spread)
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


def _plain(op: Operator, work: TileContext, tile: Tile, a: float) -> Operator:
    """Return the operator with interpolation at the grid's own phase: plain bicubic knows no PSF."""
    (y0, y1), (x0, x1) = (tile.padded.y0, tile.padded.y1), (tile.padded.x0, tile.padded.x1)
    device, block = work.device, BLOCK_LR * work.ratio
    cubic_y, cubic_x = (
        Banded(cubic_matrix(0.0, work.ratio, length, low, high, a), block, device)
        for length, low, high in ((work.shape[0], y0, y1), (work.shape[1], x0, x1))
    )
    return Operator(op.blur_y, op.blur_x, cubic_y, cubic_x)
