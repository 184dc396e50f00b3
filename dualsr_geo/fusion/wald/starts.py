"""The training-free start of a block: the mixture of regressions on the guide, made consistent with the scene."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import coarse_stage
from dualsr_geo.fusion.blocks import Block, components
from dualsr_geo.fusion.candidates import fit_mixture
from dualsr_geo.fusion.coarse_stage import GuidedStart
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.uncertainty import ConsistentStart

# Smallest prior variance, relative to the variance of the noise.
MIN_PRIOR_SHARE = 0.02


def ridge(residual: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Return noise variance over prior variance of each component; 0 on clean scenes.

    Parameters
    ----------
    residual : array, shape (component,)
        Variance that the start does not explain, noise included.
    noise : float
        Standard deviation of the noise of each component.
    """
    return component_ridges(residual, np.full_like(residual, noise**2))


def component_ridges(residual: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of errors over prior variance of each component; 0 where there are none.

    The values are rounded to powers of two, so that few distinct matrices are needed.

    Parameters
    ----------
    residual : array, shape (component,)
        Variance that the start does not explain, errors included.
    error : array, shape (component,)
        Variance of the errors of the observation.
    """
    prior = np.maximum(residual - error, MIN_PRIOR_SHARE * error)
    share = error / np.where(prior > 0, prior, 1.0)
    return np.asarray(np.where(share > 0, 2.0 ** np.round(np.log2(np.where(share > 0, share, 1.0))), 0.0))


def guided_start(block: Block, fit: GuideFit) -> GuidedStart:
    """Return the guide of a block, which reaches everywhere, with the regressions."""
    return GuidedStart(PreparedGuide(block.guide, None, None), fit.fit, torch.from_numpy(fit.mixture))


def coarse_start(block: Block, observed: Tensor, guided: GuidedStart, op: Operator) -> Tensor:
    """Return the mixture of the candidates before consistency, (component, ratio * y, ratio * x)."""
    pair = prepare_inputs(observed, block.guide, guided.fit, op, block.weight)
    return fit_mixture(pair, guided.mixture).evaluate(0, len(observed))


def block_ridges(
    block: Block, observed: Tensor, guided: GuidedStart | None, op: Operator, space: Subspace
) -> list[float]:
    """Return the ridges of a block's components, from the residual of the coarse start."""
    if space.noise == 0:
        return [0.0] * space.count
    residual = observed if guided is None else observed - op.degrade(coarse_start(block, observed, guided, op))
    ridges = ridge((residual.double() ** 2).mean((1, 2)).numpy(), space.noise)
    return [float(v) for v in ridges]


def consistent_start(
    block: Block, psf: Psf, space: Subspace, fit: GuideFit | None, *, as_tile: bool = False
) -> ConsistentStart:
    """Return the training-free start of a block.

    Parameters
    ----------
    block : Block
    psf : Psf
        Blur between the target grid and the block.
    space : Subspace
    fit : GuideFit or None
        None without a guide.
    as_tile : bool
        Whether a block without holes has no weights, as a tile without holes.
    """
    op, observed = operator(psf, block.shape), components(space, block.cube)
    guided = None if fit is None else guided_start(block, fit)
    closed = consistency(psf, block.shape, block_ridges(block, observed, guided, op, space), op)
    weight = block.holes if as_tile else block.weight
    hr = coarse_stage.sharpen(observed, weight, guided, closed, closed)
    return ConsistentStart(torch.from_numpy(space.expand), observed, hr, closed, guided, weight)
