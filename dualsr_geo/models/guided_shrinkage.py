"""Shrinkage factor of the guided correction, estimated on the scene's Wald pairs.

The degraded sample is restored by the start and the network, as the scene is. The prior mean is half of
the correction, which a small scene with imprecise pairs keeps; a scene on whose pairs the network increases
the error gets no correction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, central_block
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.uncertainty import ConsistentStart
from dualsr_geo.fusion.wald.pairs import WaldPair
from dualsr_geo.fusion.wald.starts import consistent_start
from dualsr_geo.models.guided_correction import correct
from dualsr_geo.models.guided_inputs import GuidedInputs, GuidedWindow
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.shrinkage import Evidence, Prior, sums_by_part

# Half of a correction keeps three quarters of its gain if the best factor is 1 (docs/algorithm.md).
PRIOR = Prior(mean=0.5, std=0.4, transfer_std=0.3)
# Best factors are limited to this value: a pair that needs twice the correction is unlike the scene.
MAX_BEST_FACTOR = 1.2
# Numbers of lr pixels and of blocks on which the strength of the correction on the scene is measured.
STRENGTH_PX, STRENGTH_BLOCKS = 4096, 4


def guided_shrinkage_factor(evidence: Sequence[Evidence], strength: float = math.inf) -> float:
    """Return the shrinkage factor of the correction, 0..1.

    Parameters
    ----------
    evidence : sequence of Evidence
        Of one or more Wald pairs.
    strength : float
        Strength of the correction on the scene itself. The best factor of a pair with a stronger correction is
        reduced in proportion, because the errors of such a pair are unlike those of the scene.
    """
    best = [min(e.best, MAX_BEST_FACTOR) * min(1.0, strength / max(e.strength, 1e-300)) for e in evidence]
    return float(np.clip(PRIOR.combined(best, [e.error for e in evidence]), 0, 1))


def evidence_on(network: GuidedNetwork, pair: WaldPair, fit: GuideFit, *, orientations: int = 1) -> Evidence:
    """Correct a Wald pair, and compare the correction with the error of its start.

    Parameters
    ----------
    network : GuidedNetwork
    pair : WaldPair
    fit : GuideFit
        Of the scene, whose weights of the candidates are used on the pair.
    orientations : int
        As for the scene, see `dualsr_geo.models.guided_correction.correct`.
    """
    pair_fit = pair.guide_fit(fit.weights)
    inputs = GuidedInputs.of(pair.space, pair_fit, pair.spectra, pair.guide, pair.weight)
    sums, corrections = [], []
    for block, truth, start in zip(pair.blocks, pair.truths, pair.starts(fit.weights), strict=True):
        window = guided_window(block, start, pair.blur, pair.space)
        corrections.append(correct(network, window, inputs, orientations=orientations))
        sums.append(sums_by_part(corrections[-1], _lacking(truth, window, inputs), block.weight, pair.ratio))
    gain, size = np.concatenate(sums, 1)
    return Evidence(gain, size, _strength(corrections, inputs))


def strength_on_scene(
    network: GuidedNetwork,
    blocks: Sequence[Block],
    psf: Psf,
    space: Subspace,
    fit: GuideFit,
    inputs: GuidedInputs,
) -> float:
    """Return the root mean square of the correction on the scene itself, in standard deviations of its bands.

    Parameters
    ----------
    network : GuidedNetwork
    blocks : sequence of Block
        The sample; the central parts of a few blocks are used.
    psf : Psf
        Blur of the scene.
    space : Subspace
    fit : GuideFit
    inputs : GuidedInputs
    """
    side = math.isqrt(STRENGTH_PX // min(len(blocks), STRENGTH_BLOCKS))
    parts = [central_block(block, psf.ratio, side) for block in blocks[:: -(-len(blocks) // STRENGTH_BLOCKS)]]
    windows = [guided_window(b, consistent_start(b, psf, space, fit), psf, space) for b in parts]
    return _strength([correct(network, window, inputs) for window in windows], inputs)


def guided_window(block: Block, start: ConsistentStart, psf: Psf, space: Subspace) -> GuidedWindow:
    """Return a block with its start as the window that the network corrects."""
    assert start.guided is not None
    return GuidedWindow(space, block.cube, start.components, start.hr, start.guided, psf, start.closed, start.weight)


def _strength(corrections: Sequence[torch.Tensor], inputs: GuidedInputs) -> float:
    """Return the root mean square of corrections (anchor, Y, X), in standard deviations of the anchors."""
    std = torch.from_numpy(inputs.std).to(corrections[0])[list(inputs.anchors.bands), None, None].clamp_min(1e-30)
    square = sum(float((c / std).double().square().sum()) for c in corrections)
    return math.sqrt(square / sum(c.numel() for c in corrections))


def _lacking(truth: torch.Tensor, window: GuidedWindow, inputs: GuidedInputs) -> torch.Tensor:
    """Return the truth of the anchors less their start, (anchor, Y, X)."""
    bands = inputs.anchors.bands
    return window.centred(truth, bands, spectral=inputs.spectral) - window.start(bands, spectral=inputs.spectral)
