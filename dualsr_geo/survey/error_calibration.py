"""Size of a product's errors, calibrated on the scene's Wald pairs and carried to the target grid.

The degraded sample is restored by the training-free start, with a guide and without. Its errors,
relative to the shape that the error predictors give, are the level of each band. Three factors
carry the level to the target grid (docs/algorithm.md):

    size_b = K / 1.645 a_b q90(|e| / (a_b g)) trend growth^0.6 (ratio / wald ratio)^0.4,
    a_b = mean_p(|e| / g)

`trend` is how errors at ratio 2 grow from the scene degraded by 2 to the scene itself, an octave
further; `growth` is the detail of the start on the target grid over that on the Wald pair.
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

# A Wald pair has at least so many lr pixels on a side.
MIN_SIDE_PX = 4
# The quantile of absolute errors that is calibrated, and what it is in standard deviations of a Gaussian.
QUANTILE, QUANTILE_STDS = 0.9, 1.645
# What levels (and the floor, by the first) are multiplied by. With a guide the constant was fitted on seven
# scenes; without one on the same: 0.70 to 0.80 with a scene left out in turn (docs/algorithm.md).
GUIDED_FACTOR, UNGUIDED_FACTOR = 1.13, 0.76
# Exponents of growth, and of the scene's ratio over that of its Wald pair.
GROWTH_EXPONENT, RATIO_EXPONENT = 0.6, 0.4
# Scenes have trends of 0.65 to 1.4 and growths of 0.56 to 1.4; values beyond this come from small samples.
MAX_FACTOR = 2.0
# Means of the predictors on the target grid are taken from about this many hr pixels.
MEAN_PX = 2**18
# Bands that are processed together; bounds the memory.
BANDS_AT_ONCE = 16
# Bands that explain a band, and below how many the guide helps; the calmest tenth of 5 x 5 windows of
# the residual is noise alone.
NEIGHBOUR_BANDS, MANY_BANDS = 10, 12
CALM_PERCENT, CALM_SIDE_PX = 10, 5


@dataclass(frozen=True)
class _Piece:
    """A block on the finer grid: predictors, which pixels count, and absolute errors (band, those) if known."""

    predictors: ErrorPredictors
    valid: torch.Tensor
    errors: torch.Tensor


def calibrate_errors(pairs: WaldPairs, fit: GuideFit | None = None) -> ErrorModel:
    """Fit the error model that turns predictors into standard deviations.

    Parameters
    ----------
    pairs : WaldPairs
        Of the sample, at least 8 pixels on a side.
    fit : GuideFit, optional
        Of the scene; left out without a guide.
    """
    with torch.inference_mode():
        # On noisy scenes the Wald pair has the noise in it, and the product is without.
        clean = pairs.space.keeps_rest
        floor = fine_noise(pairs.blocks, pairs.psf) if clean else np.zeros(len(pairs.blocks[0].cube))
        unguided = _level(pairs, None)
        guided = None if fit is None else _level(pairs, fit)
    return ErrorModel((GUIDED_FACTOR * floor).astype(np.float32), unguided, guided)


def _level(pairs: WaldPairs, fit: GuideFit | None) -> ErrorLevel:
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
    """Return value / reference between 1 / MAX_FACTOR and MAX_FACTOR; 1 where the reference is 0."""
    return float(np.clip(value / reference, 1 / MAX_FACTOR, MAX_FACTOR)) if reference > 0 else 1.0


# ---- on a Wald pair ------------------------------------------------------------------------


def _restored(pair: WaldPair, fit: GuideFit | None) -> Iterator[_Piece]:
    """Restore the blocks of a pair as the scene itself will be."""
    starts = pair.starts(None if fit is None else fit.weights)
    for block, truth, start in zip(pair.blocks, pair.truths, starts, strict=True):
        core = Window(0, block.shape[0], 0, block.shape[1])
        op, hr = start.closed.operator, core.scaled(pair.ratio)
        spectra = core_spectra(pair.space, block.cube, start.components, start.hr, op, hr)
        valid = _valid(block, pair.ratio, margin=1)
        errors = (spectra.bands(slice(None)) - truth).abs_().flatten(1)[:, valid]
        yield _Piece(error_predictors(start, core, pair.ratio), valid, errors)


def _valid(block: Block, ratio: int, margin: int = 0) -> torch.Tensor:
    """Return which pixels of the finer grid count, (pixel,); of a block full of holes, all that have something."""
    whole = block.weight > WHOLE_WEIGHT
    if not bool(whole.any()):
        whole = block.weight > 0
    finer = whole.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    inner = torch.zeros_like(finer)
    inner[margin : len(finer) - margin, margin : finer.shape[1] - margin] = True
    return (finer & inner).flatten()


def _predictors(pieces: Sequence[_Piece], rows: slice) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return detail and spread of some bands in all pixels that count, (band, pixel)."""
    each = [(p.predictors.bands(rows), p.valid) for p in pieces]
    detail = torch.cat([m[0].flatten(1)[:, v] for m, v in each], 1)
    spread = [m[1].flatten(1)[:, v] for m, v in each if m[1] is not None]
    return detail, torch.cat(spread, 1) if spread else None


def _mean(predictor: torch.Tensor | None) -> NDArray[np.float32] | None:
    return None if predictor is None else predictor.double().mean(1).float().numpy()


def _relative(pieces: Sequence[_Piece]) -> tuple[NDArray[np.float64], float]:
    """Return the level of every band on a Wald pair, and the detail there (root of its mean square)."""
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
    every = np.concatenate(relative)
    return level * np.quantile(every, QUANTILE), math.sqrt(energy / every.size)


def _rows(count: int) -> list[slice]:
    return [slice(i, min(i + BANDS_AT_ONCE, count)) for i in range(0, count, BANDS_AT_ONCE)]


def _trend(pairs: WaldPairs, fit: GuideFit | None) -> float:
    """Return how errors grow over an octave: at ratio 2, from the scene degraded by 2 to the scene itself."""
    scene, coarser = (
        np.quantile(np.concatenate([p.errors.flatten().numpy() for p in _restored(pair, fit)]), QUANTILE)
        for pair in (pairs.of_ratio(2), pairs.degraded_twice)
    )
    return _bounded_ratio(float(scene), float(coarser))


# ---- on the target grid --------------------------------------------------------------------


def _predictor_means(
    pairs: WaldPairs, fit: GuideFit | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, float]:
    """Return the means of both predictors on the target grid, shape (band,), and the detail (root of its mean square)."""
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
    """Return the noise that the sensor would have on the target grid, physical units, shape (band,).

    It is what the neighbours of a band do not explain, in the calmest places; few bands are explained
    by the guide, too. The scene's pixels are weighted means of finer ones, which have more noise.

    Parameters
    ----------
    blocks : sequence of Block
    psf : Psf
    """
    spectra = stack([b.cube for b in blocks]).astype(np.float64)
    count, pixels = spectra.shape
    if count <= MANY_BANDS:
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
    """Return the mean square of a residual (pixel,) where it is calmest."""
    squares, first = [], 0
    for block in blocks:
        last = first + block.weight.numel()
        mean = uniform_filter(residual[first:last].reshape(block.shape) ** 2, CALM_SIDE_PX, mode="nearest")
        squares.append(mean[block.weight.numpy() > WHOLE_WEIGHT])
        first = last
    every = np.concatenate(squares)
    return float(np.percentile(every, CALM_PERCENT)) if every.size else 0.0
