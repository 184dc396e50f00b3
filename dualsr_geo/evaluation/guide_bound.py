"""How good a product could be: what a guide can give at most, and the noise of the truth.

In blocks of the truth, its difference from interpolation is regressed on what a local estimate can read:

    truth - P = a + b * (guide at the pixel and its 8 neighbours, and the guide without its detail)
                  + c * (leading components of P at the pixel and one lr pixel up, down, left and right,
                         and those of the scene made sharper without a guide by the closed form),
    P = up(scene)

The coefficients are fitted to the truth, which no method knows: the residual is that of the best estimate of this
form. A fit to n pixels with p coefficients also explains p / n of what is random, so the sum of squares is that of the
residual times n / (n - p), its unbiased estimate. With leave-one-out residuals (PRESS, from the leverages h of the
pixels: residual / (1 - h)) a second figure says how well coefficients that are estimated do; the best estimate of this
form is between the two. Both are about linear estimates in a neighbourhood. A method that reads more of the guide, or
is not linear, may do better, and then the share exceeds 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.noise import estimate_noise
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan, plan_run
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.reconstruction import TileInputs, prepare
from dualsr_geo.evaluation.wald_protocol import WaldTrial, trial_options
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.resources import cores
from dualsr_geo.surveying.sampling import sample_windows
from dualsr_geo.threads import one_thread

# Usual side of a block, px. Blocks of 24 px are below `auto` on a synthetic scene; those of 16 px fit few pixels.
BLOCK_PX = 20
# Components of the scene whose neighbourhood is read.
LEADING_COMPONENTS = 8
# Largest number of coefficients of a block as a share of its pixels.
MAX_FREEDOM_SHARE = 0.25
# Directions of the regressors with a smaller share of the largest one's energy are the rounding of 32-bit floats.
MIN_ENERGY_SHARE = 1e-10
# Side of a tile, hr px, and bands whose residuals are computed together; both bound the memory.
TILE_PX, BANDS_AT_ONCE = 192, 32
# Default limit of threads, each of which holds about 100 MB.
MAX_DEFAULT_JOBS = 8
# A guide that can give less than this over interpolation has no share, dB.
MIN_GAIN_DB = 0.1


@dataclass(frozen=True)
class GuideBound:
    """What a guide can give at most on a scene, by its truth.

    Attributes
    ----------
    interpolation_psnr_db : float
        PSNR of interpolation.
    guide_psnr_db : float
        PSNR of the best local linear estimate from guide and scene.
    cross_validated_psnr_db : float
        The same from leave-one-out residuals.
    freedom_share : float
        Coefficients that are fitted, as a share of the pixels.
    seconds : float
        Cost of the bound.
    """

    interpolation_psnr_db: float
    guide_psnr_db: float
    cross_validated_psnr_db: float
    freedom_share: float
    seconds: float

    def share(self, psnr_db: float) -> float | None:
        """Return how much of the way in dB from interpolation to the bound a product has gone.

        Parameters
        ----------
        psnr_db : float
            Of the product.

        Returns
        -------
        float or None
            None if the guide can give next to nothing, and for a product without a finite PSNR.
        """
        gain = self.guide_psnr_db - self.interpolation_psnr_db
        if not gain >= MIN_GAIN_DB or not math.isfinite(psnr_db):
            return None
        return (psnr_db - self.interpolation_psnr_db) / gain

    def to_json(self) -> dict[str, Any]:
        """Return the bound as JSON, rounded."""
        return {
            "interpolation_psnr_db": round(self.interpolation_psnr_db, 3),
            "guide_psnr_db": round(self.guide_psnr_db, 3),
            "cross_validated_psnr_db": round(self.cross_validated_psnr_db, 3),
            "freedom_share": round(self.freedom_share, 4),
            "seconds": round(self.seconds, 2),
        }


def guide_bound(trial: WaldTrial, options: Options, peak: float) -> GuideBound | None:
    """Return what the guides of a trial can give at most.

    Parameters
    ----------
    trial : WaldTrial
    options : Options
        Of the models that are compared.
    peak : float
        Data range of the PSNR, physical units.

    Returns
    -------
    GuideBound or None
        None without a guide, and if it covers too little of the scene.
    """
    if not trial.guides:
        return None
    start = time.monotonic()
    plan = _plan(trial, options)
    survey = survey_scene(plan.inputs, plan.scene.shape, replace(plan.survey_options, detail=False))
    if survey.guide is None:
        return None
    context = plan.context_for(survey)
    reference, unit = trial.reference, 1.0
    if survey.normalization is not None:
        reference, unit = reference.normalized(survey.normalization), survey.normalization.unit

    def work(tile: Tile) -> NDArray[np.float64]:
        with one_thread(), torch.inference_mode():
            return _tile_sums(plan, context, tile, reference)

    with ThreadPoolExecutor(options.jobs or min(cores(), MAX_DEFAULT_JOBS)) as pool:
        sums = sum(pool.map(work, context.tiling), np.zeros(6))
    count, pixels, freedom = sums[:3]
    if not count:
        return None
    plain, best, crossed = (_psnr(square * unit**2 / count, peak) for square in sums[3:])
    return GuideBound(plain, best, crossed, freedom / pixels, time.monotonic() - start)


def noise_ceiling_db(reference: Source, peak: float) -> float | None:
    """Return the PSNR at which an estimate differs from the truth by the truth's noise only.

    Parameters
    ----------
    reference : Source
        The truth.
    peak : float
        Data range of the PSNR, physical units.

    Returns
    -------
    float or None
        dB; None if no noise can be distinguished in the truth.
    """
    cubes = [reference.read(window) for window in sample_windows((reference.shape[1], reference.shape[2]))]
    bands = [b for b in range(reference.shape[0]) if all(np.isfinite(c[b]).any() for c in cubes)]
    valid = [np.isfinite(c[bands]).all(0) for c in cubes]
    if not bands or not any(v.any() for v in valid):
        return None
    filled = [c[bands] for c in cubes]
    for cube, v in zip(filled, valid, strict=True):
        cube[:, ~v] = 0
    weights = [np.asarray(v, np.float32) for v in valid]
    variance = float((estimate_noise(filled, weights) ** 2).mean())
    return _psnr(variance, peak) if variance > 0 else None


def _psnr(mean_square: float, peak: float) -> float:
    return 20 * math.log10(peak) - 10 * math.log10(mean_square) if mean_square > 0 else math.inf


def _plan(trial: WaldTrial, options: Options) -> RunPlan:
    """Return the plan of `regression` in tiles of the bound's own size, so that the bound is the same everywhere."""
    tile = max(1, TILE_PX // trial.scale)
    own = replace(trial_options(trial, options, "regression"), fine=None, tile=tile, device="cpu")
    return plan_run(open_scene(trial.scene), [open_scene(g) for g in trial.guides], own)


def _tile_sums(plan: RunPlan, context: TileContext, tile: Tile, reference: Source) -> NDArray[np.float64]:
    """Return sums over a tile's core.

    Returns
    -------
    array, shape (6,)
        Numbers of values, of pixels and of coefficients; sums of squares of the truth less interpolation, of the
        residual over its degrees of freedom, and of leave-one-out residuals.
    """
    cube, guide = read_tile(plan.inputs, context, tile)
    inputs = prepare(context, tile, cube, guide)
    sums = np.zeros(6)
    truth = torch.from_numpy(reference.read(tile.core.scaled(context.ratio)))[list(context.survey.used)]
    observed = np.isfinite(cube[list(context.survey.used)][:, *inputs.core.slices]).all(0)
    valid = torch.from_numpy(observed).repeat_interleave(context.ratio, 0).repeat_interleave(context.ratio, 1)
    valid = valid & torch.isfinite(truth).all(0)
    regressors, missing = _regressors(inputs), _missing(inputs, truth)
    for rows, columns in _blocks(valid.shape):
        use = valid[rows, columns].flatten()
        if use.any():
            sums += _block_sums(*(planes[:, rows, columns].flatten(1)[:, use] for planes in (regressors, missing)))
    return sums


def _regressors(inputs: TileInputs) -> Tensor:
    """Return the regressors on a tile's core, (regressor, Y, X); only those of the scene where no guide reaches."""
    window, ratio = inputs.window, inputs.window.ratio
    observed, op, core = window.components[:LEADING_COMPONENTS], window.operator, inputs.core.scaled(ratio)
    sharper = window.closed_form(window.statistics.ridges[: len(observed)].tolist()).spread(observed)
    parts = [_shifted(sharper, core, [(0, 0)])]
    parts.append(_shifted(op.upsample(observed), core, [(0, 0), (-ratio, 0), (ratio, 0), (0, -ratio), (0, ratio)]))
    if window.guide is not None:
        guide = window.guide.values
        parts.append(_shifted(op.upsample(op.degrade(guide)), core, [(0, 0)]))
        parts.append(_shifted(guide, core, [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]))
    return torch.cat(parts).double()


def _shifted(planes: Tensor, core: Window, shifts: list[tuple[int, int]]) -> Tensor:
    """Return a core of planes at some distances (rows, columns), (shift * plane, Y, X); edges are repeated."""
    height, width = planes.shape[1:]
    parts = []
    for dy, dx in shifts:
        rows = torch.arange(core.y0 + dy, core.y1 + dy).clamp_(0, height - 1)
        columns = torch.arange(core.x0 + dx, core.x1 + dx).clamp_(0, width - 1)
        parts.append(planes[:, rows][:, :, columns])
    return torch.cat(parts)


def _missing(inputs: TileInputs, truth: Tensor) -> Tensor:
    """Return what interpolation lacks on a tile's core, (band, Y, X)."""
    rows, columns = inputs.core.scaled(inputs.window.ratio).slices
    op = inputs.window.operator
    y, x = op.cubic_y.cut(rows.start, rows.stop), op.cubic_x.cut(columns.start, columns.stop)
    return truth - y.rows(x.columns(inputs.window.cube))


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield blocks of about `BLOCK_PX` that partition a core."""
    yield from ((rows, columns) for rows in _parts(shape[0]) for columns in _parts(shape[1]))


def _parts(length: int) -> list[slice]:
    count = max(1, round(length / BLOCK_PX))
    ends = [length * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def _block_sums(regressors: Tensor, missing: Tensor) -> NDArray[np.float64]:
    """Return the sums of `_tile_sums` over the valid pixels of a block, from (regressor, pixel) and (band, pixel)."""
    basis = _basis(regressors)
    (freedom, pixels), leverage = basis.shape, (basis**2).sum(0)
    plain = residual = crossed = 0.0
    for first in range(0, len(missing), BANDS_AT_ONCE):
        wanted = missing[first : first + BANDS_AT_ONCE].double()
        left = (wanted - (wanted @ basis.T) @ basis) ** 2
        plain += float((wanted**2).sum())
        residual += float(left.sum())
        crossed += float((left / (1 - leverage).clamp_min(1 / pixels) ** 2).sum())
    unbiased = residual * pixels / max(pixels - freedom, 1)
    return np.array([missing.numel(), pixels, freedom, plain, unbiased, crossed])


def _basis(regressors: Tensor) -> Tensor:
    """Return an orthonormal basis (direction, pixel) of the regressors and a constant, the strongest directions."""
    pixels = regressors.shape[1]
    constant = regressors.new_full((1, pixels), pixels**-0.5)
    centred = regressors - regressors.mean(1, keepdim=True)
    size = centred.norm(dim=1, keepdim=True)
    centred = centred / size.clamp_min(1e-300)
    energies, directions = torch.linalg.eigh(centred @ centred.T)
    most = max(int(MAX_FREEDOM_SHARE * pixels) - 1, 0)
    chosen = torch.nonzero(energies > MIN_ENERGY_SHARE * energies[-1]).flatten()
    chosen = chosen[max(len(chosen) - most, 0) :]
    basis = directions[:, chosen].T @ centred / energies[chosen].sqrt()[:, None]
    return torch.cat([constant, basis])
