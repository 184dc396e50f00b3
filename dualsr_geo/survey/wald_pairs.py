"""Which candidate suits which band: the scene's own Wald pair decides.

The sample is degraded once more, every candidate brings it back, and what each got wrong on
each band gives its weight (algorithm-lab.md section 7.5, algorithm-lab-2.md A2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates, subspace
from dualsr_geo.fusion.blocks import Block, components, stack
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import SceneRegression, fit_scene_regression
from dualsr_geo.fusion.subspace import Subspace

# A Wald scale needs at least this many pixels on a side; ratio 2 is always tried.
SMALLEST_SIDE = 6
POWER = 9.0
# Of a band's own error against the scene's mean profile, and of soft weights against simplex.
OWN = 0.5
SIMPLEX_STEPS = 200
LAM_STEPS = 8
NOISE_SEED = 1


def ratios(shape: tuple[int, int], ratio: int) -> list[int]:
    """Return the Wald ratios for a scene: the largest that leaves six pixels, and 2."""
    side = min(shape)
    first = next((r for r in (ratio, 4, 3, 2) if r <= ratio and side // r >= SMALLEST_SIDE), 2)
    return sorted({first, 2})


def degraded(blocks: Sequence[Block], psf: Psf, ratio: int, space: Subspace) -> list[tuple[Block, torch.Tensor]]:
    """Degrade the sample once more by `ratio`; return each new block with its truth."""
    blur = Psf.from_mtf(ratio)
    generator = torch.Generator().manual_seed(NOISE_SEED)
    out = []
    for block in blocks:
        height, width = (n // ratio * ratio for n in block.shape)
        cut = (..., slice(height), slice(width))
        truth = _denoised(block.cube, space)[cut]
        guide = operator(psf, block.shape).degrade(block.guide)[cut]
        op = operator(blur, (height // ratio, width // ratio))
        lr = op.degrade(truth)
        if not space.keeps_rest:
            # What one noisy component spreads over the bands: noise * expand's row norm.
            level = torch.from_numpy(np.linalg.norm(space.expand, axis=1)).clamp_min(0)
            level = space.noise * level / level.median()
            lr = lr + level[:, None, None] * torch.randn(lr.shape, generator=generator)
        weight = op.degrade(block.weight[cut]).clamp(0, 1)
        out.append((Block(lr, weight, guide), truth))
    return out


def _denoised(cube: torch.Tensor, space: Subspace) -> torch.Tensor:
    if space.keeps_rest:
        return cube
    flat = cube.flatten(1).cpu().numpy()
    clean = space.expand @ space.components(flat) + space.mean[:, None]
    return torch.from_numpy(clean).view_as(cube)


def ridge(residual: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Return noise variance over prior variance for residual variances; 0 on clean data.

    Rounded to eight steps a decade of doublings, so that few distinct matrices are needed.
    """
    if noise == 0:
        return np.zeros_like(residual)
    prior = np.maximum(residual - noise**2, 0.02 * noise**2)
    return np.asarray(2.0 ** np.round(np.log2(noise**2 / prior)))


def candidates_of(block: Block, psf: Psf, space: Subspace, fit: SceneRegression) -> tuple[torch.Tensor, torch.Tensor]:
    """Return every candidate's components, consistent, (candidate, component, Y, X), and the lr ones."""
    op = operator(psf, block.shape)
    observed = components(space, block.cube)
    pair = prepare_inputs(observed, block.guide, fit, op, block.weight)
    out = []
    for index in range(len(candidates.CANDIDATES)):
        one = torch.zeros(space.count, len(candidates.CANDIDATES))
        one[:, index] = 1
        start = candidates.fit_mixture(pair, one).evaluate(0, space.count)
        residual = observed - op.degrade(start)
        lams = ridge((residual.double() ** 2).mean((1, 2)).numpy(), space.noise)
        closed = consistency.consistency(psf, block.shape, lams.tolist(), op)
        out.append(start + closed.spread(residual))
    return torch.stack(out), observed


def errors(blocks: Sequence[Block], psf: Psf, ratio: int, space: Subspace) -> NDArray[np.float64]:
    """Return the Gram matrix of the candidates' errors on the Wald pair of one ratio.

    Shape (band, candidate, candidate) on clean scenes; on noisy ones (component, candidate,
    candidate), because there each component is weighted by itself (A1c).
    """
    pairs = degraded(blocks, psf, ratio, space)
    spectra = stack([b.cube for b, _ in pairs])
    weight = stack([b.weight for b, _ in pairs])
    own = subspace.estimate_subspace(spectra, weight) if space.keeps_rest else space
    blur = Psf.from_mtf(ratio)
    lr_guide = stack([operator(blur, b.shape).degrade(b.guide) for b, _ in pairs])
    fit = fit_scene_regression(own.components(spectra), lr_guide, weight)
    grams = []
    for block, truth in pairs:
        found, observed = candidates_of(block, blur, own, fit)
        grams.append(_gram(block, truth, found, observed, blur, own))
    return np.asarray(sum(grams))


def _gram(
    block: Block, truth: torch.Tensor, found: torch.Tensor, observed: torch.Tensor, blur: Psf, own: Subspace
) -> NDArray[np.float64]:
    inner = (..., slice(1, -1), slice(1, -1))
    valid = torch.nn.functional.interpolate(block.weight[None, None], scale_factor=blur.ratio, mode="nearest")[0, 0][
        inner
    ]
    if not own.keeps_rest:
        return _products((found - components(own, truth))[inner], valid)
    op, expand = operator(blur, block.shape), torch.from_numpy(own.expand)
    mean = torch.from_numpy(own.mean)[:, None, None]
    inside = (expand @ observed.flatten(1)).view_as(block.cube) + mean
    missing = truth - mean - op.upsample(block.cube - inside)
    parts = []
    for first in range(0, len(truth), 16):
        rows = slice(first, first + 16)
        made = torch.einsum("bk,ckyx->cbyx", expand[rows], found)
        parts.append(_products((made - missing[rows])[inner], valid))
    return np.concatenate(parts)


def _products(wrong: torch.Tensor, valid: torch.Tensor) -> NDArray[np.float64]:
    """Return mean products of errors (candidate, band, y, x) as (band, candidate, candidate)."""
    flat = (wrong * valid.sqrt()).flatten(2).transpose(0, 1)
    return (flat @ flat.transpose(1, 2)).double().numpy()


def weights(grams: Sequence[NDArray[np.float64]], *, by_energy: bool = False) -> NDArray[np.float64]:
    """Turn error Gram matrices of several Wald ratios into candidate weights.

    Each band's errors are shrunk half way to the scene's profile, because a sample is small.

    Parameters
    ----------
    grams : sequence of array, shape (band, candidate, candidate)
    by_energy : bool
        Whether a band counts in the profile by the size of its errors (for spectral components,
        most of which are small) or all count the same (for bands).

    Returns
    -------
    array, shape (band, candidate)
        Rows sum to 1: half from inverse errors to the ninth power, half least squares on the
        simplex.
    """
    grams = [_handicap(g) for g in grams]
    squares = [np.maximum(np.diagonal(g, axis1=1, axis2=2), 1e-300) for g in grams]
    scaled = [g / e.mean(1)[:, None, None] for g, e in zip(grams, squares, strict=True)]
    own = np.exp(np.mean([np.log(e / e.mean(1, keepdims=True)) for e in squares], axis=0))
    if by_energy:
        profile = np.exp(np.mean([np.log(e.mean(0) / e.mean()) for e in squares], axis=0))
        whole = np.mean([g.mean(0) / e.mean() for g, e in zip(grams, squares, strict=True)], axis=0)
    else:
        profile = own.mean(0)
        whole = np.mean(scaled, axis=0).mean(0)
    soft = _soft(own ** (1 - OWN) * profile**OWN)
    return 0.5 * soft + 0.5 * _simplex((1 - OWN) * np.mean(scaled, axis=0) + OWN * whole)


def _handicap(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Double the squared error of the candidate without a guide.

    It is there for bands that the guide does not explain; elsewhere a small Wald pair flatters it.
    """
    out = gram.copy()
    out[:, -1, -1] *= 2
    return out


def _soft(square: NDArray[np.float64]) -> NDArray[np.float64]:
    logit = -0.5 * POWER * np.log(square / square.min(1, keepdims=True))
    weight = np.exp(logit)
    return np.asarray(weight / weight.sum(1, keepdims=True))


def _simplex(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimise w' G w on the simplex by exponentiated gradients."""
    weight = np.full(gram.shape[:2], 1 / gram.shape[1])
    for _ in range(SIMPLEX_STEPS):
        slope = 2 * np.einsum("bij,bj->bi", gram, weight)
        centred = slope - slope.mean(1, keepdims=True)
        weight = weight * np.exp(-0.5 * centred / np.abs(slope).mean(1, keepdims=True).clip(1e-9))
        weight = weight / weight.sum(1, keepdims=True)
    return weight
