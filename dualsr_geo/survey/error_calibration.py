"""How large a scene's errors are: its own Wald pairs, carried on to the target grid.

The sample is degraded by the ratio once more and brought back by the training-free start, with a
guide and without. What that gets wrong, relative to the shape that `calibrate_errors` gives a tile, is the
level of every band. Three things carry it to the target grid (research/algorithm-lab-2.md, B2):

    size_b = K / 1.645 a_b q90(|e| / (a_b g)) trend growth^0.6 (ratio / wald ratio)^0.4,
    a_b = mean_p(|e| / g)

`trend` is how errors at ratio 2 grow from the scene degraded by 2 to the scene itself, an octave
further; `growth` is the detail that the start has on the target grid over that on the Wald pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates, coarse_stage, subspace
from dualsr_geo.fusion.blocks import Block, Filled, central_block, components, stack
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import GuideFit, fit_scene_regression
from dualsr_geo.fusion.spectra import core_spectra
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.uncertainty import (
    ConsistentStart,
    ErrorLevel,
    ErrorModel,
    ErrorPredictors,
    error_predictors,
    relative_error,
)
from dualsr_geo.raster.windows import Window
from dualsr_geo.survey import wald_pairs

# A Wald pair has at least so many lr pixels on a side.
SMALLEST_SIDE = 4
# The share of errors that is calibrated, and its standard deviations to either side.
SHARE, DEVIATIONS = 0.9, 1.645
# What levels (and the floor, by the first) are multiplied by. With a guide the lab's constant, fitted on
# seven scenes; without one it was fitted on the same here: 0.70 to 0.80 with a scene left out in turn.
GUIDED, ALONE = 1.13, 0.76
# Exponents of growth and of a Wald ratio below the scene's.
GROWTH, SHORT = 0.6, 0.4
# Scenes have trends of 0.65 to 1.4 and growths of 0.56 to 1.4; beyond this a small sample speaks.
LARGEST_SCALE = 2.0
# The means of marks on the target grid are taken from about this many hr pixels.
MEAN_PX = 2**18
# A pixel of at least this weight has no hole near.
WHOLE = 0.999
# Bands that are looked at together.
BANDS = 16
# Bands that explain a band, and below how many the guide helps; the calmest tenth of 5 x 5 windows of
# what they leave is noise alone.
NEIGHBOURS, FEW_BANDS = 10, 12
CALM_PERCENT, CALM_SIDE = 10, 5


@dataclass(frozen=True)
class _Piece:
    """A block on the finer grid: its marks, which pixels count, and absolute errors (band, those) if known."""

    marks: ErrorPredictors
    valid: torch.Tensor
    wrong: torch.Tensor


def unguided(filled: Sequence[Filled], ratio: int) -> list[Block]:
    """Return the sample as blocks with a guide of no bands."""
    return [Block(c, w, torch.zeros(0, c.shape[1] * ratio, c.shape[2] * ratio)) for c, w in filled]


def calibrate_errors(blocks: Sequence[Block], psf: Psf, space: Subspace, held: GuideFit | None = None) -> ErrorModel:
    """Return how far a scene's product is to be doubted.

    Parameters
    ----------
    blocks : sequence of Block
        The sample, at least 8 pixels on a side.
    psf : Psf
        The surveyed blur.
    space : Subspace
    held : GuideFit, optional
        Left out without a guide.
    """
    with torch.inference_mode():
        # On noisy scenes the Wald pair has the noise in it, and the product is without.
        floor = fine_noise(blocks, psf) if space.keeps_rest else np.zeros(len(blocks[0].cube))
        alone = _level(blocks, psf, space, None)
        guided = None if held is None else _level(blocks, psf, space, held)
    return ErrorModel((GUIDED * floor).astype(np.float32), alone, guided)


def _level(blocks: Sequence[Block], psf: Psf, space: Subspace, held: GuideFit | None) -> ErrorLevel:
    side = min(min(b.shape) for b in blocks)
    ratio = next((r for r in range(psf.ratio, 2, -1) if side // r >= SMALLEST_SIDE), 2)
    size, detail_there = _relative(list(_restored(blocks, psf, ratio, space, held)))
    trend = _trend(blocks, psf, space, held) if side // 4 >= SMALLEST_SIDE else 1.0
    detail, spread, detail_here = _usual(blocks, psf, space, held)
    growth = _within(detail_here, detail_there)
    constant = (ALONE if held is None else GUIDED) / DEVIATIONS
    size = size * constant * trend * growth**GROWTH * (psf.ratio / ratio) ** SHORT
    return ErrorLevel(size.astype(np.float32), detail, spread, ratio, trend, growth)


def _within(value: float, by: float) -> float:
    """Return a ratio, kept between 1 / MOST and MOST; 1 where there is nothing to compare with."""
    return float(np.clip(value / by, 1 / LARGEST_SCALE, LARGEST_SCALE)) if by > 0 else 1.0


# ---- a Wald pair, brought back -------------------------------------------------------------


def _restored(
    blocks: Sequence[Block], psf: Psf, ratio: int, space: Subspace, held: GuideFit | None
) -> Iterator[_Piece]:
    """Degrade the sample once more and bring it back, as the survey of that scene would have it done."""
    blur = Psf.from_mtf(ratio)
    pairs = wald_pairs.degraded(blocks, psf, ratio, space)
    spectra, weight = stack([b.cube for b, _ in pairs]), stack([b.weight for b, _ in pairs])
    own = subspace.estimate_subspace(spectra, weight) if space.keeps_rest else space
    here = None
    if held is not None:
        guide = stack([operator(blur, b.shape).degrade(b.guide) for b, _ in pairs])
        mixture = (own.share() @ held.weights if own.keeps_rest else held.weights).astype(np.float32)
        here = replace(held, fit=fit_scene_regression(own.components(spectra), guide, weight), mixture=mixture)
    for block, truth in pairs:
        start = _opened(block, blur, own, here)
        core = Window(0, block.shape[0], 0, block.shape[1])
        op, hr = start.closed.operator, core.scaled(ratio)
        made = core_spectra(own, block.cube, start.components, start.hr, op, hr).bands(slice(None))
        valid = _valid(block, ratio, margin=1)
        yield _Piece(error_predictors(start, core, ratio), valid, (made - truth).abs_().flatten(1)[:, valid])


def _opened(block: Block, psf: Psf, space: Subspace, held: GuideFit | None) -> ConsistentStart:
    """Return the training-free start of a block."""
    op, z, guided = operator(psf, block.shape), components(space, block.cube), None
    left = z
    if held is not None:
        window = PreparedGuide(block.guide, None, None)
        guided = coarse_stage.GuidedStart(window, held.fit, torch.from_numpy(held.mixture))
        pair = prepare_inputs(z, block.guide, held.fit, op, block.weight)
        left = z - op.degrade(candidates.fit_mixture(pair, guided.mixture).evaluate(0, space.count))
    lams = wald_pairs.ridge((left.double() ** 2).mean((1, 2)).numpy(), space.noise).tolist()
    closed = consistency(psf, block.shape, lams, op)
    hr = coarse_stage.sharpen(z, block.weight, guided, closed, closed)
    return ConsistentStart(torch.from_numpy(space.expand), z, hr, closed, guided, block.weight)


def _valid(block: Block, ratio: int, margin: int = 0) -> torch.Tensor:
    """Return which pixels of the finer grid count, (pixel,); of a block full of holes, all that have something."""
    there = block.weight > WHOLE
    if not bool(there.any()):
        there = block.weight > 0
    finer = there.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    inner = torch.zeros_like(finer)
    inner[margin : len(finer) - margin, margin : finer.shape[1] - margin] = True
    return (finer & inner).flatten()


def _marked(pieces: Sequence[_Piece], rows: slice) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return detail and spread of some bands in all pixels that count, (band, pixel)."""
    seen = [(p.marks.bands(rows), p.valid) for p in pieces]
    detail = torch.cat([m[0].flatten(1)[:, v] for m, v in seen], 1)
    spread = [m[1].flatten(1)[:, v] for m, v in seen if m[1] is not None]
    return detail, torch.cat(spread, 1) if spread else None


def _mean(mark: torch.Tensor | None) -> NDArray[np.float32] | None:
    return None if mark is None else mark.double().mean(1).float().numpy()


def _relative(pair: Sequence[_Piece]) -> tuple[NDArray[np.float64], float]:
    """Return the level of every band in a Wald pair, and the detail there (root of its mean square)."""
    count = len(pair[0].marks.expand)
    level, relative, energy = np.zeros(count), [], 0.0
    for rows in _rows(count):
        detail, spread = _marked(pair, rows)
        error = torch.cat([p.wrong[rows] for p in pair], 1) / relative_error(
            detail, spread, (_mean(detail), _mean(spread))
        )
        mean = error.mean(1, keepdim=True)
        level[rows] = mean[:, 0].numpy()
        relative.append((error / mean.clamp_min(1e-30)).flatten().numpy())
        energy += float(detail.double().square().sum())
    every = np.concatenate(relative)
    return level * np.quantile(every, SHARE), math.sqrt(energy / every.size)


def _rows(count: int) -> list[slice]:
    return [slice(i, min(i + BANDS, count)) for i in range(0, count, BANDS)]


def _trend(blocks: Sequence[Block], psf: Psf, space: Subspace, held: GuideFit | None) -> float:
    """Return how errors grow over an octave: at ratio 2, from the scene degraded by 2 to the scene itself."""
    coarser = [block for block, _ in wald_pairs.degraded(blocks, psf, 2, space)]
    here, there = (
        np.quantile(np.concatenate([p.wrong.flatten().numpy() for p in pieces]), SHARE)
        for pieces in (
            _restored(blocks, psf, 2, space, held),
            _restored(coarser, Psf.from_mtf(2), 2, space, held),
        )
    )
    return _within(float(here), float(there))


# ---- on the target grid --------------------------------------------------------------------


def _usual(
    blocks: Sequence[Block], psf: Psf, space: Subspace, held: GuideFit | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, float]:
    """Return the means of both marks on the target grid, shape (band,), and the detail (root of its mean square)."""
    pieces = []
    side = max(2 * SMALLEST_SIDE, math.isqrt(MEAN_PX // len(blocks)) // psf.ratio)
    for block in (central_block(b, psf.ratio, side) for b in blocks):
        core = Window(0, block.shape[0], 0, block.shape[1])
        seen = error_predictors(_opened(block, psf, space, held), core, psf.ratio)
        pieces.append(_Piece(seen, _valid(block, psf.ratio), torch.zeros(0)))
    count, energy = len(space.mean), 0.0
    usual = np.zeros(count, np.float32), None if held is None else np.zeros(count, np.float32)
    for rows in _rows(count):
        both = _marked(pieces, rows)
        for means, mark in zip(usual, both, strict=True):
            if means is not None:
                means[rows] = _mean(mark)
        energy += float(both[0].double().square().sum())
    pixels = sum(int(p.valid.sum()) for p in pieces) * count
    return *usual, math.sqrt(energy / max(pixels, 1))


def fine_noise(blocks: Sequence[Block], psf: Psf) -> NDArray[np.float64]:
    """Return the noise that the sensor would have on the target grid, physical units, shape (band,).

    What a band's neighbours do not explain, in the calmest places; few bands are explained by the
    guide, too. The scene's pixels are weighted means of finer ones, so those have more of it.

    Parameters
    ----------
    blocks : sequence of Block
    psf : Psf
    """
    spectra = stack([b.cube for b in blocks]).astype(np.float64)
    count, pixels = spectra.shape
    if count <= FEW_BANDS:
        guide = [operator(psf, b.shape).degrade(b.guide) for b in blocks]
        spectra = np.concatenate([spectra, stack(guide)])
    spectra -= spectra.mean(1, keepdims=True)
    gram = spectra @ spectra.T
    gram += 1e-9 * np.diag(np.diag(gram)) + 1e-30 * np.eye(len(gram))
    found = np.zeros(count)
    for band in range(count):
        near = sorted((b for b in range(count) if b != band), key=lambda b: abs(b - band))[:NEIGHBOURS]
        near += range(count, len(spectra))
        if near:
            slope = np.linalg.solve(gram[np.ix_(near, near)], gram[near, band])
            freedom = pixels / max(pixels - len(near), 1)
            found[band] = math.sqrt(_calm(spectra[band] - slope @ spectra[near], blocks) * freedom)
    return found / psf.gain


def _calm(left: NDArray[np.float64], blocks: Sequence[Block]) -> float:
    """Return the mean square of a plane where it is calmest."""
    squares, first = [], 0
    for block in blocks:
        last = first + block.weight.numel()
        mean = uniform_filter(left[first:last].reshape(block.shape) ** 2, CALM_SIDE, mode="nearest")
        squares.append(mean[block.weight.numpy() > WHOLE])
        first = last
    every = np.concatenate(squares)
    return float(np.percentile(every, CALM_PERCENT)) if every.size else 0.0
