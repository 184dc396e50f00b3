"""Estimate the weights of the candidates from their errors on the scene's Wald pairs.

Every candidate restores the degraded sample; its error in each band determines its weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.fusion import candidates
from dualsr_geo.fusion.blocks import Block, components
from dualsr_geo.fusion.candidates import fit_mixture
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.wald.pairs import WaldPair, WaldPairs
from dualsr_geo.fusion.wald.starts import ridge

# Soft weights are inverse errors to this power.
ERROR_POWER = 9.0
# Shrinkage of a band's errors to the scene's mean profile, 0..1.
PROFILE_SHRINKAGE = 0.5
# Factor on the squared error of the unguided candidate, which small Wald pairs underestimate.
UNGUIDED_ERROR_FACTOR = 2
# Share of the soft weights in the sum with those on the simplex, 0..1.
SOFT_SHARE = 0.5
# The same for guides of several bands, whose candidates differ more: the soft weights lose 0.2 dB in the mean, and up
# to 0.6 dB on small scenes.
MULTIBAND_SOFT_SHARE = 0.0
# Number of steps of the weights on the simplex.
SIMPLEX_STEPS = 200
# Pixels whose products are summed in 32 bits before the sums are added in 64.
PIXELS_AT_ONCE = 8192


def candidate_errors(pair: WaldPair, judged: Sequence[int] | None = None) -> NDArray[np.float64]:
    """Return the Gram matrices of the candidates' errors on a Wald pair.

    Parameters
    ----------
    pair : WaldPair
    judged : sequence of int, optional
        Indices of the candidates that are judged; by default those for a guide of so many bands, see
        `dualsr_geo.fusion.candidates.usable`. ``usable(1)`` are the candidates for any guide.

    Returns
    -------
    array, shape (band or component, candidate, candidate)
        By band on clean scenes, by component on noisy ones, where each component has its own weights. The error
        of a candidate that is not judged is infinite, its products with others are zero.
    """
    if judged is None:
        judged = candidates.usable(len(pair.blocks[0].guide), few=pair.regression.lowest is not None)
    some = np.asarray(sum(_gram(b, t, pair, judged) for b, t in zip(pair.blocks, pair.truths, strict=True)))
    count = len(candidates.CANDIDATES)
    out = np.zeros((len(some), count, count))
    out[:, range(count), range(count)] = np.inf
    out[np.ix_(range(len(some)), judged, judged)] = some
    return out


def mixture_errors(gram: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared error of the weighted mean of the candidates, (band or component,).

    Parameters
    ----------
    gram : array, shape (band or component, candidate, candidate)
        As `candidate_errors` returns.
    weights : array, shape (band or component, candidate)
        Zero for candidates that were not judged.
    """
    return np.asarray(np.einsum("bi,bij,bj->b", weights, np.where(np.isfinite(gram), gram, 0.0), weights))


def _candidates(block: Block, pair: WaldPair, judged: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the components of each consistent candidate, (candidate, component, Y, X), and those of the block."""
    op, space = operator(pair.blur, block.shape), pair.space
    observed = components(space, block.cube)
    fitted = prepare_inputs(observed, block.guide, pair.regression, op, block.weight)
    out = []
    for index in judged:
        one = torch.zeros(space.count, len(candidates.CANDIDATES))
        one[:, index] = 1
        start = fit_mixture(fitted, one).evaluate(0, space.count)
        residual = observed - op.degrade(start)
        lams = ridge((residual.double() ** 2).mean((1, 2)).numpy(), space.noise)
        closed = consistency(pair.blur, block.shape, lams.tolist(), op)
        out.append(start + closed.spread(residual))
    return torch.stack(out), observed


def _gram(block: Block, truth: torch.Tensor, pair: WaldPair, judged: Sequence[int]) -> NDArray[np.float64]:
    """Return the Gram matrices of one block, without the pixels at its edge."""
    restored, observed = _candidates(block, pair, judged)
    blur, space, inner = pair.blur, pair.space, (..., slice(1, -1), slice(1, -1))
    weight = block.weight[None, None]
    valid = torch.nn.functional.interpolate(weight, scale_factor=blur.ratio, mode="nearest")[0, 0][inner]
    if not space.keeps_rest:
        return _products((restored - components(space, truth))[inner], valid)
    op, expand = operator(blur, block.shape), torch.from_numpy(space.expand)
    mean = torch.from_numpy(space.mean)[:, None, None]
    inside = (expand @ observed.flatten(1)).view_as(block.cube) + mean
    missing = truth - mean - op.upsample(block.cube - inside)
    return _band_products(restored[inner], missing[inner], valid, space.expand)


def _band_products(
    restored: torch.Tensor, missing: torch.Tensor, valid: torch.Tensor, expand: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the sums of products of the candidates' errors in all bands, (band, candidate, candidate).

    An error is that of the first candidate, plus the difference of two candidates. The differences are products of
    `expand` and components, so that no candidate is expanded to all bands but the first.

    Parameters
    ----------
    restored : Tensor, shape (candidate, component, y, x)
    missing : Tensor, shape (band, y, x)
        What the components have to restore.
    valid : Tensor, shape (y, x)
        Weights of the pixels.
    expand : array, shape (band, component)
    """
    count, size = restored.shape[:2]
    e, root = expand.astype(np.float64), valid.sqrt().flatten()
    apart = ((restored[1:] - restored[:1]).flatten(2) * root).flatten(0, 1)
    error = torch.addmm(missing.flatten(1), torch.from_numpy(expand), restored[0].flatten(1), beta=-1) * root
    own, cross, square = np.zeros((len(apart), len(apart))), np.zeros((len(apart), len(e))), np.zeros(len(e))
    for first in range(0, apart.shape[1], PIXELS_AT_ONCE):
        a, b = apart[:, first : first + PIXELS_AT_ONCE], error[:, first : first + PIXELS_AT_ONCE]
        own += (a @ a.T).numpy()
        cross += (a @ b.T).numpy()
        square += b.square().sum(1).numpy()
    out = np.zeros((len(e), count, count)) + square[:, None, None]
    shared = np.einsum("bk,ckb->bc", e, cross.reshape(count - 1, size, len(e)))
    out[:, 1:] += shared[:, :, None]
    out[:, :, 1:] += shared[:, None]
    half = np.tensordot(e, own.reshape(count - 1, size, count - 1, size), (1, 1))
    out[:, 1:, 1:] += np.einsum("bcdl,bl->bcd", half, e)
    return out


def _products(errors: torch.Tensor, valid: torch.Tensor) -> NDArray[np.float64]:
    """Return the sums of products of errors (candidate, band, y, x), (band, candidate, candidate)."""
    flat = (errors * valid.sqrt()).flatten(2).transpose(0, 1)
    return (flat @ flat.transpose(1, 2)).double().numpy()


def scene_weights(pairs: WaldPairs) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the weights of the candidates on the Wald pairs of a scene, and the Gram matrices of their errors."""
    grams = [candidate_errors(pairs.of_ratio(ratio)) for ratio in pairs.ratios]
    share = MULTIBAND_SOFT_SHARE if len(pairs.blocks[0].guide) > 1 else SOFT_SHARE
    return candidate_weights(grams, by_energy=not pairs.space.keeps_rest, soft_share=share), grams


def principal_gain_db(grams: Sequence[NDArray[np.float64]], *, by_energy: bool = False) -> float:
    """Return by how much a regression on the guide's first principal direction beats the mixture of those on all bands.

    Parameters
    ----------
    grams : sequence of array, shape (band or component, candidate, candidate)
        As `candidate_errors` returns.
    by_energy : bool
        As for `candidate_weights`.

    Returns
    -------
    float
        Difference of the errors on the Wald pairs, mean over the bands, dB; -inf for a guide of one band.
    """
    everything = list(candidates.usable(1))
    parts = [g[:, everything][:, :, everything] for g in grams]
    weights = candidate_weights(parts, by_energy=by_energy)
    others = [mixture_errors(part, weights) for part in parts]
    gains = []
    for index in map(candidates.CANDIDATES.index, candidates.REDUCED):
        own = [g[:, index, index] for g in grams]
        gains.append(np.mean([_log_ratio(a, b, by_energy=by_energy) for a, b in zip(others, own, strict=True)]))
    return 10 / math.log(10) * float(max(gains))


def _log_ratio(a: NDArray[np.float64], b: NDArray[np.float64], *, by_energy: bool) -> float:
    """Return the logarithm of squared errors a over b: of components their sums, of bands the mean of all."""
    if by_energy:
        return math.log(max(a.sum(), 1e-300)) - math.log(max(b.sum(), 1e-300))
    return float(np.mean(np.log(np.maximum(a, 1e-300)) - np.log(np.maximum(b, 1e-300))))


def candidate_weights(
    grams: Sequence[NDArray[np.float64]], *, by_energy: bool = False, soft_share: float = SOFT_SHARE
) -> NDArray[np.float64]:
    """Return the weights of the candidates for the Gram matrices of one or more Wald pairs.

    The errors of each band are shrunk to the scene's mean profile, because a sample is small.

    Parameters
    ----------
    grams : sequence of array, shape (band, candidate, candidate)
        As `candidate_errors` returns; candidates of infinite error have no weight.
    by_energy : bool
        Whether the profile weights bands by the size of their errors, as for spectral components, most of
        which are small, or equally, as for bands.
    soft_share : float
        Share of the soft weights, 0..1.

    Returns
    -------
    array, shape (band, candidate)
        Rows sum to 1. The soft weights are in proportion to the inverse error to the ninth power; the others are the
        least-squares solution on the simplex.
    """
    judged = np.flatnonzero(np.isfinite(np.diagonal(grams[0][0])))
    out = np.zeros(grams[0].shape[:2])
    out[:, judged] = _weights([g[:, judged][:, :, judged] for g in grams], by_energy=by_energy, soft_share=soft_share)
    return out


def _weights(grams: Sequence[NDArray[np.float64]], *, by_energy: bool, soft_share: float) -> NDArray[np.float64]:
    grams = [_with_unguided_factor(g) for g in grams]
    squares = [np.maximum(np.diagonal(g, axis1=1, axis2=2), 1e-300) for g in grams]
    scaled = [g / e.mean(1)[:, None, None] for g, e in zip(grams, squares, strict=True)]
    own = np.exp(np.mean([np.log(e / e.mean(1, keepdims=True)) for e in squares], axis=0))
    if by_energy:
        profile = np.exp(np.mean([np.log(e.mean(0) / e.mean()) for e in squares], axis=0))
        whole = np.mean([g.mean(0) / e.mean() for g, e in zip(grams, squares, strict=True)], axis=0)
    else:
        profile = own.mean(0)
        whole = np.mean(scaled, axis=0).mean(0)
    soft = _soft(own ** (1 - PROFILE_SHRINKAGE) * profile**PROFILE_SHRINKAGE)
    simplex = _simplex((1 - PROFILE_SHRINKAGE) * np.mean(scaled, axis=0) + PROFILE_SHRINKAGE * whole)
    return soft_share * soft + (1 - soft_share) * simplex


def _with_unguided_factor(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Gram matrices with a larger squared error of the last candidate, which is unguided."""
    out = gram.copy()
    out[:, -1, -1] *= UNGUIDED_ERROR_FACTOR
    return out


def _soft(square: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights in proportion to the inverse error to the power of `ERROR_POWER`."""
    logit = -0.5 * ERROR_POWER * np.log(square / square.min(1, keepdims=True))
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
