"""How much of our network's correction a scene can stand: the scene's own Wald pair is asked.

The sample is degraded once more and brought back by start and network, as the scene itself will be.
The share that would have been best there is trusted as far as parts of the scene agree on it; what
they leave open is decided by caution. So a small scene, which cannot judge, gets half of the
correction, and one that says clearly that the network harms it gets none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates, coarse_stage, subspace
from dualsr_geo.fusion.blocks import Block, central_block, components, stack
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import SceneRegression, fit_scene_regression
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.models.guided_correction import GuidedWindow, correct
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.survey import wald_pairs
from dualsr_geo.survey.shrinkage import Evidence, by_parts

# What is used of a correction that nothing is known about: half of it loses a quarter of what all would.
CAUTIOUS = 0.5
# How far the best shares of a scene and of its Wald pair differ, and how far scenes differ (standard deviations).
DOUBT, SPREAD = 0.3, 0.4
# More than this no pair is believed: one that asks for twice the correction is unlike the scene.
LARGEST_BEST = 1.2
# lr pixels, and blocks, on which the correction's own strength is taken.
OWN_PX, OWN_BLOCKS = 4096, 4


def guided_shrinkage_factor(evidence: Sequence[Evidence], strength: float = math.inf) -> float:
    """Return how much of the correction is used, 0..1.

    The cautious share and the best ones of all Wald pairs, each by what it is sure of (precision).

    Parameters
    ----------
    evidence : sequence of Evidence
    strength : float
        Of the correction on the scene itself. A pair on which it is stronger is another task, with
        errors of another kind: what it says counts in proportion.
    """
    sure = [SPREAD**-2] + [1 / (DOUBT**2 + e.error**2) for e in evidence]
    said = [CAUTIOUS] + [min(e.best, LARGEST_BEST) * min(1.0, strength / max(e.strength, 1e-300)) for e in evidence]
    return float(np.clip(np.average(said, weights=sure), 0, 1))


def evidence_of_pair(
    network: GuidedNetwork,
    blocks: Sequence[Block],
    psf: Psf,
    ratio: int,
    space: Subspace,
    found: NDArray[np.float64],
    *,
    lays: int = 1,
) -> Evidence:
    """Correct the scene's own Wald pair.

    Parameters
    ----------
    network : GuidedNetwork
    blocks : sequence of Block
        The sample.
    psf : Psf
        The surveyed blur.
    ratio : int
        Of the Wald pair.
    space : Subspace
    found : array, shape (band or component, candidate)
        The candidates' weights: of bands on clean scenes, of components on noisy ones.
    lays : int
        As the scene will be corrected, see `dualsr_geo.models.guided_correction.correct`.

    Returns
    -------
    Evidence
    """
    blur = Psf.from_mtf(ratio)
    pairs = wald_pairs.degraded(blocks, psf, ratio, space)
    spectra, weight = stack([b.cube for b, _ in pairs]), stack([b.weight for b, _ in pairs])
    guide = stack([operator(blur, b.shape).degrade(b.guide) for b, _ in pairs])
    own = subspace.estimate_subspace(spectra, weight) if space.keeps_rest else space
    fit = fit_scene_regression(own.components(spectra), guide, weight)
    mixture = (own.share() @ found if own.keeps_rest else found).astype(np.float32)
    said = GuidedInputs.of(own, fit, mixture, spectra, guide, weight)
    sums, all_made = [], []
    for block, truth in pairs:
        window = _opened(block, blur, own, fit, mixture)
        all_made.append(correct(network, window, said, lays=lays))
        sums.append(by_parts(all_made[-1], _lacking(truth, window, said), block.weight, ratio))
    gain, size = np.concatenate(sums, 1)
    return Evidence(gain, size, _strength(all_made, said))


def strength(
    network: GuidedNetwork,
    blocks: Sequence[Block],
    psf: Psf,
    space: Subspace,
    fit: SceneRegression,
    mixture: NDArray[np.float32],
    told: GuidedInputs,
) -> float:
    """Return the root mean square of the correction on the scene itself, in deviations of its bands.

    Parameters
    ----------
    network : GuidedNetwork
    blocks : sequence of Block
        The sample; the midst of a few is enough.
    psf : Psf
        The surveyed blur.
    space : Subspace
    fit : SceneRegression
    mixture : array, shape (component, candidate)
    told : GuidedInputs
    """
    side = math.isqrt(OWN_PX // min(len(blocks), OWN_BLOCKS))
    some = [central_block(block, psf.ratio, side) for block in blocks[:: -(-len(blocks) // OWN_BLOCKS)]]
    return _strength([correct(network, _opened(b, psf, space, fit, mixture), told) for b in some], told)


def _strength(made: Sequence[torch.Tensor], told: GuidedInputs) -> float:
    """Return the root mean square of corrections (anchor, Y, X), each anchor in its deviation."""
    std = torch.from_numpy(told.std).to(made[0])[list(told.anchors.bands), None, None].clamp_min(1e-30)
    square = sum(float((m / std).double().square().sum()) for m in made)
    return math.sqrt(square / sum(m.numel() for m in made))


def _opened(
    block: Block, blur: Psf, space: Subspace, fit: SceneRegression, mixture: NDArray[np.float32]
) -> GuidedWindow:
    held = coarse_stage.GuidedStart(PreparedGuide(block.guide, None, None), fit, torch.from_numpy(mixture))
    op = operator(blur, block.shape)
    z = components(space, block.cube)
    pair = prepare_inputs(z, block.guide, held.fit, op, block.weight)
    left = z - op.degrade(candidates.fit_mixture(pair, held.mixture).evaluate(0, space.count))
    lams = wald_pairs.ridge((left.double() ** 2).mean((1, 2)).numpy(), space.noise).tolist()
    closed = consistency(blur, block.shape, lams, op)
    hr = coarse_stage.sharpen(z, block.weight, held, closed, closed)
    return GuidedWindow(space, block.cube, z, hr, held, blur, closed, block.weight)


def _lacking(truth: torch.Tensor, window: GuidedWindow, said: GuidedInputs) -> torch.Tensor:
    bands = said.anchors.bands
    return window.centred(truth, bands, spectral=said.spectral) - window.start(bands, spectral=said.spectral)
