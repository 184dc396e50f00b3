"""Calibrate the error model of a product on the scene's Wald pairs, and transfer it to the target grid.

The degraded sample is restored by the training-free start, with and without a guide. The errors
relative to the error predictors give the level of each band. Three factors transfer the level to the
target grid (docs/algorithm.md):

    size_b = K / 1.645 a_b q90(|e| / (a_b g)) trend growth^0.6 (ratio / wald ratio)^0.4,
    a_b = mean_p(|e| / g)

`trend` is the growth of the errors at ratio 2 over an octave, from the scene degraded by 2 to the scene
itself; `growth` is the detail of the start on the target grid over that on the Wald pair.
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
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.spectra import core_spectra
from dualsr_geo.fusion.uncertainty import ErrorLevel, ErrorModel, ErrorPredictors, error_predictors, relative_error
from dualsr_geo.fusion.wald.pairs import WaldPair, WaldPairs
from dualsr_geo.fusion.wald.starts import consistent_start
from dualsr_geo.raster.windows import Window

# Smallest side of a Wald pair, lr px.
MIN_SIDE_PX = 4
# The quantile of absolute errors that is calibrated, and its value in standard deviations of a Gaussian.
QUANTILE, QUANTILE_STDS = 0.9, 1.645
# K with a guide, by which the floor is multiplied as well, and K without one. Both are fitted on seven scenes;
# with a scene left out in turn the second is 0.70 to 0.80 (docs/algorithm.md).
GUIDED_FACTOR, UNGUIDED_FACTOR = 1.13, 0.76
# Exponents of the growth, and of the scene's ratio over that of its Wald pair.
GROWTH_EXPONENT, RATIO_EXPONENT = 0.6, 0.4
# Largest trend and growth, and the inverse of the smallest. Scenes have trends of 0.65 to 1.4 and growths of 0.56
# to 1.4; small samples give values beyond.
MAX_FACTOR = 2.0
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
    """A block on the finer grid: predictors, pixels that count, and absolute errors there (band, pixel)."""

    predictors: ErrorPredictors
    valid: torch.Tensor
    errors: torch.Tensor


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
        floor = fine_noise(pairs.blocks, pairs.psf) if clean else np.zeros(len(pairs.blocks[0].cube))
        unguided = _level(pairs, None)
        guided = None if fit is None else _level(pairs, fit)
    return ErrorModel((GUIDED_FACTOR * floor).astype(np.float32), unguided, guided)


def _level(pairs: WaldPairs, fit: GuideFit | None) -> ErrorLevel:
    """Estimate the error level with or without a guide; see the module."""
    side = min(min(b.shape) for b in pairs.blocks)
    largest = pairs.psf.ratio
    ratio = next((r for r in range(largest, 2, -1) if side // r >= MIN_SIDE_PX), 2)
    size, pair_detail = _relative(list(_restored(pairs.of_ratio(ratio), fit)))
    trend = _trend(pairs, fit) if side // 4 >= MIN_SIDE_PX else 1.0
    detail, spread, scene_detail = _predictor_means(pairs, fit)
    growth = _bounded_ratio(scene_detail, pair_detail)
    constant = (UNGUIDED_FACTOR if fit is None else GUIDED_FACTOR) / QUANTILE_STDS
    size = size * constant * trend * growth**GROWTH_EXPONENT * (largest / ratio) ** RATIO_EXPONENT
    return ErrorLevel(size.astype(np.float32), detail, spread, ratio, trend, growth)


def _bounded_ratio(value: float, reference: float) -> float:
    """Return value / reference, clipped to 1 / MAX_FACTOR..MAX_FACTOR; 1 where the reference is 0."""
    return float(np.clip(value / reference, 1 / MAX_FACTOR, MAX_FACTOR)) if reference > 0 else 1.0


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
        yield _Piece(error_predictors(start, core, pair.ratio), valid, errors)


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


def _relative(pieces: Sequence[_Piece]) -> tuple[NDArray[np.float64], float]:
    """Return the level of every band on a Wald pair, and the root mean square of the detail there."""
    count = len(pieces[0].predictors.expand)
    level, relative, energy = np.zeros(count), [], 0.0
    for rows in _rows(count):
        detail, spread = _predictors(pieces, rows)
        error = torch.cat([p.errors[rows] for p in pieces], 1) / relative_error(
            detail, spread, (_mean(detail), _mean(spread))
        )
        mean = error.mean(1, keepdim=True)
        level[rows] = mean[:, 0].numpy()
        relative.append((error / mean.clamp_min(1e-30)).flatten().numpy())
        energy += float(detail.double().square().sum())
    all_bands = np.concatenate(relative)
    return level * np.quantile(all_bands, QUANTILE), math.sqrt(energy / all_bands.size)


def _rows(count: int) -> list[slice]:
    return [slice(i, min(i + BANDS_AT_ONCE, count)) for i in range(0, count, BANDS_AT_ONCE)]


def _trend(pairs: WaldPairs, fit: GuideFit | None) -> float:
    """Return the growth of errors over an octave: at ratio 2, from the scene degraded by 2 to the scene itself."""
    scene, coarser = (
        np.quantile(np.concatenate([p.errors.flatten().numpy() for p in _restored(pair, fit)]), QUANTILE)
        for pair in (pairs.of_ratio(2), pairs.degraded_twice)
    )
    return _bounded_ratio(float(scene), float(coarser))


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
        pieces.append(_Piece(error_predictors(start, core, ratio), _valid(block, ratio), torch.zeros(0)))
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
