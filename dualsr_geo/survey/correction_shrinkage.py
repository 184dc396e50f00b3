"""By how much our own networks correct a scene: without a gate by all, else by what the scene itself says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, Filled
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.models.correction import CorrectionState, PairEvidence
from dualsr_geo.models.definition import LearnedCorrection
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.loading import guided_network, unguided_network
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.survey import guided_shrinkage, unguided_shrinkage

# Less of a correction is not worth its time.
LEAST = 0.05


def shrink_guided(
    ours: LearnedCorrection,
    known: CorrectionState,
    told: GuidedInputs,
    blocks: Sequence[Block],
    psf: Psf,
    ratios: Sequence[int],
    space: Subspace,
    held: GuideFit,
) -> CorrectionState:
    """Add in what terms the network with a guide is told of the scene, and by how much it corrects.

    Parameters
    ----------
    ours : LearnedCorrection
    known : CorrectionState
    told : GuidedInputs
    blocks : sequence of Block
        The sample.
    psf : Psf
        The surveyed blur.
    ratios : sequence of int
        Of the Wald pairs that are asked.
    space : Subspace
    held : GuideFit
        What the survey found of the guide.
    """
    if not ours.gated:
        return replace(known, guided=told)
    assert ours.guided is not None
    network = guided_network(ours.guided, "cpu")
    with torch.inference_mode():
        said = {
            ratio: guided_shrinkage.evidence_of_pair(network, blocks, psf, ratio, space, held.weights)
            for ratio in ratios
        }
        own = guided_shrinkage.strength(network, blocks, psf, space, held.fit, held.mixture, told)
    # Where there is no correction it is neither stronger nor weaker.
    times = {ratio: own / e.strength if own and e.strength else 1.0 for ratio, e in said.items()}
    asked = tuple(PairEvidence(ratio, e.best, e.error, times[ratio]) for ratio, e in said.items())
    share = _worth_it(guided_shrinkage.guided_shrinkage_factor(list(said.values()), own))
    return replace(known, guided=replace(told, share=share), guided_asked=asked)


def shrink_unguided(
    ours: LearnedCorrection,
    known: CorrectionState,
    filled: Sequence[Filled],
    guides: Sequence[NDArray[np.float32]],
    psf: Psf,
    space: Subspace,
    noise: NDArray[np.floating],
) -> CorrectionState:
    """Add by how much the network without a guide corrects; where all that was sampled is guided, caution says it.

    Parameters
    ----------
    ours : LearnedCorrection
    known : CorrectionState
    filled : sequence of (Tensor, Tensor), shapes (band, y, x) and (y, x)
        The sample, and how valid its pixels are.
    guides : sequence of array, shape (guide band, Y, X)
        With the margin of `sample_margin`, NaN where there is none.
    psf : Psf
        The surveyed blur.
    space : Subspace
    noise : array, shape (band,)
    """
    if not ours.gated:
        return known
    if known.guided is not None and _cover(guides, psf.ratio):
        return replace(known, alone=replace(known.alone, share=guided_shrinkage.CAUTIOUS))
    assert ours.alone is not None
    with torch.inference_mode():
        said = unguided_shrinkage.evidence_of_scales(unguided_network(ours.alone, "cpu"), filled, psf, space, noise)
    asked = PairEvidence(unguided_shrinkage.RATIO, said.best, said.error, said.excess)
    return replace(
        known,
        alone=replace(known.alone, share=_worth_it(unguided_shrinkage.unguided_shrinkage_factor(said))),
        alone_asked=(asked,),
    )


def _worth_it(share: float) -> float:
    return share if share >= LEAST else 0.0


def _cover(guides: Sequence[NDArray[np.float32]], ratio: int) -> bool:
    margin = sample_margin(ratio)
    return all(bool(np.isfinite(g[:, margin:-margin, margin:-margin]).all()) for g in guides)
