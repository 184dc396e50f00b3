"""Calibrate the error model of a product on the scene's Wald pairs, and transfer it to the target grid.

The degraded sample is restored by the training-free start, with and without a guide. The errors
relative to the error predictors give the level of each band. Three factors transfer the level to the
target grid (docs/algorithm.md):

    size_b = K / 1.645 level_b trend^t growth^d (ratio / wald ratio)^0.4

`level` is the 90 % quantile of |e| / g of the band, shrunk towards that of all bands where the pair is small.
`trend` is the growth of the errors at ratio 2 over an octave, from the scene degraded by 2 to the scene
itself; `growth` is the detail of the start on the target grid over that on the Wald pair. Errors are larger in
bright pixels: the quantile of each class of brightness is a factor on the standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import WHOLE_WEIGHT, Block, central_block, stack
from dualsr_geo.fusion.error_model import BrightnessFactors, ErrorLevel, ErrorModel, PairCoverage
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.spectra import core_spectra
from dualsr_geo.fusion.uncertainty import ErrorPredictors, error_predictors, relative_error
from dualsr_geo.fusion.wald.pairs import WaldPair, WaldPairs
from dualsr_geo.fusion.wald.starts import consistent_start
from dualsr_geo.raster.windows import Window
from dualsr_geo.surveying.error_classes import (
    QUANTILE,
    brightness_factors,
    classes_of,
    pair_coverage,
    shrunk_levels,
)

# Smallest side of a Wald pair, lr px.
MIN_SIDE_PX = 4
# The calibrated quantile in standard deviations of a Gaussian.
QUANTILE_STDS = 1.645
# With and without a guide: K, and the exponents of trend and growth. All are fitted on seven scenes (docs/algorithm.md).
GUIDED_FACTOR, UNGUIDED_FACTOR = 1.13, 1.22
GUIDED_TREND_EXPONENT, UNGUIDED_TREND_EXPONENT = 1.0, 0.8
GUIDED_GROWTH_EXPONENT, UNGUIDED_GROWTH_EXPONENT = 0.7, 0.95
# Exponent of the scene's ratio over that of its Wald pair.
RATIO_EXPONENT = 0.4
# Range of the trend, of which scenes have 0.65 to 1.4, and of the growth, of which they have 0.3 to 1.4 (the least
# without a guide). Small samples give values beyond.
TREND_RANGE, GROWTH_RANGE = (0.5, 2.0), (0.25, 2.0)
# Factor on the noise. A smaller one leaves Sentinel-2's 20 m bands, whose errors are mostly noise, 82 % covered instead of 89 %.
NOISE_FACTOR = 1.13
# Number of hr pixels from which the means of the predictors are taken.
MEAN_PX = 2**18
# Bands that are processed together; bounds the memory.
BANDS_AT_ONCE = 16
# Number of neighbouring bands that explain a band.
NEIGHBOUR_BANDS = 10
# Number of bands up to which the guide explains a band as well.
MAX_BANDS_WITH_GUIDE = 12
# Percentile of the residual's variance in windows of CALM_SIDE_PX x CALM_SIDE_PX that is taken for noise.
CALM_PERCENT, CALM_SIDE_PX = 10, 5


@dataclass(frozen=True)
class _Piece:
    """A block on the finer grid: predictors, pixels that count, and there errors (band, pixel) and brightness (pixel,)."""

    predictors: ErrorPredictors
    valid: torch.Tensor
    errors: torch.Tensor
    brightness: torch.Tensor


@dataclass(frozen=True)
class _PairLevel:
    """What one Wald pair tells of the errors: levels (band,), factors of brightness, root mean square of the detail."""

    level: NDArray[np.float64]
    brightness: BrightnessFactors
    detail: float
    coverage: PairCoverage


def calibrate_errors(pairs: WaldPairs, fit: GuideFit | None = None) -> ErrorModel:
    """Fit the model from error predictors to standard deviations.

    Parameters
    ----------
    pairs : WaldPairs
        Of the sample, at least 8 pixels on a side.
    fit : GuideFit, optional
        Of the scene; None without a guide.
    """
    with torch.inference_mode():
        # On noisy scenes the product is denoised, so that its errors have no floor of noise.
        clean = pairs.space.keeps_rest
        noise = fine_noise(pairs.blocks, pairs.psf) if clean else np.zeros(len(pairs.blocks[0].cube))
        unguided = _level(pairs, None)
        guided = None if fit is None else _level(pairs, fit)
    return ErrorModel((NOISE_FACTOR * noise).astype(np.float32), unguided, guided)


def _level(pairs: WaldPairs, fit: GuideFit | None) -> ErrorLevel:
    """Estimate the error level with or without a guide; see the module."""
    side = min(min(b.shape) for b in pairs.blocks)
    largest = pairs.psf.ratio
    ratio = next((r for r in range(largest, 2, -1) if side // r >= MIN_SIDE_PX), 2)
    pair = _pair_level(list(_restored(pairs.of_ratio(ratio), fit)), ratio, float(pairs.space.mean.mean()))
    trend = _trend(pairs, fit) if side // 4 >= MIN_SIDE_PX else 1.0
    detail, spread, scene_detail = _predictor_means(pairs, fit)
    growth = _bounded_ratio(scene_detail, pair.detail, GROWTH_RANGE)
    if fit is None:
        factor = UNGUIDED_FACTOR * trend**UNGUIDED_TREND_EXPONENT * growth**UNGUIDED_GROWTH_EXPONENT
    else:
        factor = GUIDED_FACTOR * trend**GUIDED_TREND_EXPONENT * growth**GUIDED_GROWTH_EXPONENT
    size = pair.level * factor / QUANTILE_STDS * (largest / ratio) ** RATIO_EXPONENT
    return ErrorLevel(
        size.astype(np.float32),
        detail,
        spread,
        ratio,
        trend,
        growth,
        brightness=pair.brightness,
        coverage=pair.coverage,
    )


def _bounded_ratio(value: float, reference: float, limits: tuple[float, float]) -> float:
    """Return value / reference, clipped; 1 where the reference is 0."""
    return float(np.clip(value / reference, *limits)) if reference > 0 else 1.0


# ---- on a Wald pair ------------------------------------------------------------------------


def _restored(pair: WaldPair, fit: GuideFit | None) -> Iterator[_Piece]:
    """Restore the blocks of a pair by the training-free start."""
    starts = pair.starts(None if fit is None else fit.weights)
    for block, truth, start in zip(pair.blocks, pair.truths, starts, strict=True):
        core = Window(0, block.shape[0], 0, block.shape[1])
        op, hr = start.closed.operator, core.scaled(pair.ratio)
        spectra = core_spectra(pair.space, block.cube, start.components, start.hr, op, hr)
        valid = _valid(block, pair.ratio, margin=1)
        errors = (spectra.bands(slice(None)) - truth).abs_().flatten(1)[:, valid]
        yield _Piece(error_predictors(start, core, pair.ratio), valid, errors, truth.mean(0).flatten()[valid])


def _valid(block: Block, ratio: int, margin: int = 0) -> torch.Tensor:
    """Return the pixels of the finer grid that count, (pixel,): whole ones, or any with data if none is whole."""
    whole = block.weight > WHOLE_WEIGHT
    if not bool(whole.any()):
        whole = block.weight > 0
    finer = whole.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    inner = torch.zeros_like(finer)
    inner[margin : len(finer) - margin, margin : finer.shape[1] - margin] = True
    return (finer & inner).flatten()


def _predictors(pieces: Sequence[_Piece], rows: slice) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the detail and the spread of some bands at all pixels that count, (band, pixel)."""
    each = [(p.predictors.bands(rows), p.valid) for p in pieces]
    detail = torch.cat([m[0].flatten(1)[:, v] for m, v in each], 1)
    spread = [m[1].flatten(1)[:, v] for m, v in each if m[1] is not None]
    return detail, torch.cat(spread, 1) if spread else None


def _mean(predictor: torch.Tensor | None) -> NDArray[np.float32] | None:
    return None if predictor is None else predictor.double().mean(1).float().numpy()


def _pair_level(pieces: Sequence[_Piece], ratio: int, mean: float) -> _PairLevel:
    """Return the level of every band on a Wald pair, the factors of brightness, and what intervals of both cover.

    Brightness is relative to `mean`, physical units.
    """
    count = len(pieces[0].predictors.expand)
    brightness = torch.cat([p.brightness for p in pieces]).sub(mean).numpy()
    relative, energy = np.empty((count, len(brightness)), np.float32), 0.0
    detail_class = np.empty(relative.shape, np.int8)
    for rows in _rows(count):
        detail, spread = _predictors(pieces, rows)
        error = torch.cat([p.errors[rows] for p in pieces], 1)
        relative[rows] = (error / relative_error(detail, spread, (_mean(detail), _mean(spread)))).numpy()
        energy += float(detail.double().square().sum())
        detail_class[rows] = [classes_of(d) for d in detail.numpy()]
    level = shrunk_levels(relative, relative.shape[1] / ratio**2)
    relative /= np.maximum(level, np.finfo(np.float32).tiny)[:, None].astype(np.float32)
    classes = classes_of(brightness)
    factors = brightness_factors(relative, brightness, classes)
    relative /= factors.factor[classes]
    coverage = pair_coverage(relative <= 1, classes, detail_class)
    return _PairLevel(level, factors, math.sqrt(energy / max(relative.size, 1)), coverage)


def _rows(count: int) -> list[slice]:
    return [slice(i, min(i + BANDS_AT_ONCE, count)) for i in range(0, count, BANDS_AT_ONCE)]


def _trend(pairs: WaldPairs, fit: GuideFit | None) -> float:
    """Return the growth of errors over an octave: at ratio 2, from the scene degraded by 2 to the scene itself."""
    scene, coarser = (
        np.quantile(np.concatenate([p.errors.flatten().numpy() for p in _restored(pair, fit)]), QUANTILE)
        for pair in (pairs.of_ratio(2), pairs.degraded_twice)
    )
    return _bounded_ratio(float(scene), float(coarser), TREND_RANGE)


# ---- on the target grid --------------------------------------------------------------------


def _predictor_means(
    pairs: WaldPairs, fit: GuideFit | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, float]:
    """Return the means of both predictors on the target grid, (band,), and the root mean square of the detail."""
    pieces = []
    ratio, blocks = pairs.psf.ratio, pairs.blocks
    side = max(2 * MIN_SIDE_PX, math.isqrt(MEAN_PX // len(blocks)) // ratio)
    for block in (central_block(b, ratio, side) for b in blocks):
        core = Window(0, block.shape[0], 0, block.shape[1])
        start = consistent_start(block, pairs.psf, pairs.space, fit)
        pieces.append(_Piece(error_predictors(start, core, ratio), _valid(block, ratio), *[torch.zeros(0)] * 2))
    count, energy = len(pairs.space.mean), 0.0
    means = np.zeros(count, np.float32), None if fit is None else np.zeros(count, np.float32)
    for rows in _rows(count):
        both = _predictors(pieces, rows)
        for mean, predictor in zip(means, both, strict=True):
            if mean is not None:
                mean[rows] = _mean(predictor)
        energy += float(both[0].double().square().sum())
    pixels = sum(int(p.valid.sum()) for p in pieces) * count
    return *means, math.sqrt(energy / max(pixels, 1))


def fine_noise(blocks: Sequence[Block], psf: Psf) -> NDArray[np.float64]:
    """Return the standard deviation of the sensor's noise on the target grid, physical units, shape (band,).

    It is estimated from the residual of a regression on neighbouring bands, and on the guide if there are few
    bands, where that residual is calmest. The scene's pixels average finer ones, whose noise is larger.

    Parameters
    ----------
    blocks : sequence of Block
    psf : Psf
    """
    spectra = stack([b.cube for b in blocks]).astype(np.float64)
    count, pixels = spectra.shape
    if count <= MAX_BANDS_WITH_GUIDE:
        guide = [operator(psf, b.shape).degrade(b.guide) for b in blocks]
        spectra = np.concatenate([spectra, stack(guide)])
    spectra -= spectra.mean(1, keepdims=True)
    gram = spectra @ spectra.T
    gram += 1e-9 * np.diag(np.diag(gram)) + 1e-30 * np.eye(len(gram))
    std = np.zeros(count)
    for band in range(count):
        near = sorted((b for b in range(count) if b != band), key=lambda b: abs(b - band))[:NEIGHBOUR_BANDS]
        near += range(count, len(spectra))
        if near:
            slope = np.linalg.solve(gram[np.ix_(near, near)], gram[near, band])
            freedom = pixels / max(pixels - len(near), 1)
            std[band] = math.sqrt(_calm(spectra[band] - slope @ spectra[near], blocks) * freedom)
    return std / psf.gain


def _calm(residual: NDArray[np.float64], blocks: Sequence[Block]) -> float:
    """Return the mean square of a residual (pixel,) in its calmest windows."""
    squares, first = [], 0
    for block in blocks:
        last = first + block.weight.numel()
        mean = uniform_filter(residual[first:last].reshape(block.shape) ** 2, CALM_SIDE_PX, mode="nearest")
        squares.append(mean[block.weight.numpy() > WHOLE_WEIGHT])
        first = last
    all_blocks = np.concatenate(squares)
    return float(np.percentile(all_blocks, CALM_PERCENT)) if all_blocks.size else 0.0
