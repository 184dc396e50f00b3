"""Smoothing of what the closed form adds to the regressions, where it would leave a lattice of the scene's pixels.

The closed form adds the residual between scene and degraded regressions. Where the scene's pixels are not samples of the
assumed blur (repeated or resampled pixels, a grid finer than the optics), that residual oscillates from pixel to pixel and
shows in the product as a lattice. On the middle of the sample the start is computed once; only if it has a lattice
that the guide has not, the residual is smoothed by [1 2 1] / 4 along both axes, which removes what alternates
from pixel to pixel, once or twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import Consistency, consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.fusion.artefacts import ArtefactSums, mean_lattice, measure_steps
from dualsr_geo.fusion.blocks import Block, central_block, components
from dualsr_geo.fusion.candidates import fit_mixture
from dualsr_geo.fusion.coarse_stage import continued, smoothed
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates

# Lattice beyond the guide's from which the residual is smoothed. The starts of 20 clean and real pairs have 0.04 at most,
# those of repeated pixels 0.23 to 0.42, or 0.05 where these made the blur too wide.
MIN_EXCESS = 0.1
# Mean number of times that a pixel is repeated from which the residual is smoothed in any case.
MIN_REPETITION = 1.5
# How often the residual is smoothed at most.
MAX_PASSES = 2
# Side of the part that is judged, lr pixels, and number of parts of a large scene.
JUDGED_SIDE_LR, JUDGED_BLOCKS = 66, 3


@dataclass(frozen=True)
class ResidualSmoothing:
    """How often the residual is smoothed, and why; see `choose_smoothing`.

    Attributes
    ----------
    passes : int
        Passes of [1 2 1] / 4.
    lattice, lattice_unsmoothed, lattice_guide : float or None
        Lattice of the judged part as it is made, without smoothing, and of the guide there; None in small scenes.
    """

    passes: int
    lattice: float | None
    lattice_unsmoothed: float | None
    lattice_guide: float | None


def choose_smoothing(common: CommonEstimates, fit: GuideFit, ridges: NDArray[np.float32]) -> ResidualSmoothing | None:
    """Return how often the residual is smoothed, so that the scene's pixels do not show; None where they do not.

    Parameters
    ----------
    common : CommonEstimates
    fit : GuideFit
        Regressions of the scene.
    ridges : array, shape (component,)
        Of the closed form.
    """
    parts = [
        _Part.of(central_block(block, common.psf.ratio, JUDGED_SIDE_LR), common, fit, ridges)
        for block in common.blocks[:: -(-len(common.blocks) // JUDGED_BLOCKS)]
    ]
    guide = mean_lattice([part.guide_steps() for part in parts])
    plain = least = mean_lattice([part.steps(0) for part in parts])
    passes = 0
    for further in range(1, MAX_PASSES + 1):
        is_due = common.repetition >= MIN_REPETITION and further == 1
        if not is_due and (least is None or guide is None or least - guide < MIN_EXCESS):
            break
        lattice = mean_lattice([part.steps(further) for part in parts])
        if not is_due and lattice is not None and least is not None and lattice >= least:
            break
        passes, least = further, lattice
    return ResidualSmoothing(passes, least, plain, guide) if passes else None


@dataclass(frozen=True, eq=False)
class _Part:
    """The mean over the bands of a part of the sample, before the closed form.

    Attributes
    ----------
    block : Block
    estimate : Tensor, shape (1, ratio * y, ratio * x)
        Of the regressions.
    residual : Tensor, shape (1, y, x)
    closed : Consistency
    """

    block: Block
    estimate: Tensor
    residual: Tensor
    closed: Consistency

    @classmethod
    def of(cls, block: Block, common: CommonEstimates, fit: GuideFit, ridges: NDArray[np.float32]) -> _Part:
        """Compute the mean band as one component, with the weights and the ridge of those that it consists of."""
        space, op = common.statistics.space, operator(common.psf, block.shape)
        z, rows = components(space, block.cube), space.expand.mean(0)[None]
        energy = (rows[0] * z.flatten(1).std(1).numpy()) ** 2 + np.finfo(np.float32).tiny
        share = (energy / energy.sum()).astype(np.float32)
        observed = torch.from_numpy(rows) @ z.flatten(1)
        observed = observed.view(1, *block.shape)
        inputs = prepare_inputs(observed, block.guide, fit.fit.combined(rows), op, block.weight)
        estimate = fit_mixture(inputs, torch.from_numpy(share[None] @ fit.mixture)).evaluate(0, 1)
        closed = consistency(common.psf, block.shape, [float(share @ ridges)], op)
        return cls(block, estimate, continued(closed.residual(estimate, observed), block.weight), closed)

    @property
    def everywhere(self) -> NDArray[np.bool_]:
        """All pixels: filled ones have no lattice, and windows without any of them may be too few."""
        return np.ones(self.block.shape, bool)

    def steps(self, passes: int) -> ArtefactSums:
        """Measure the start with so many passes of the smoothing."""
        return measure_steps((self.estimate + self.closed.spread(smoothed(self.residual, passes)))[0], self.everywhere)

    def guide_steps(self) -> ArtefactSums:
        """Measure the mean band of the guide."""
        return measure_steps(self.block.guide.mean(0), self.everywhere)


def describe_smoothing(smoothing: ResidualSmoothing | None) -> tuple[str, ...]:
    """Return a note if the residual is smoothed."""
    if smoothing is None:
        return ()
    over = f"What alternates from pixel to pixel is smoothed over {2 * smoothing.passes + 1} pixels"
    if smoothing.lattice is None or smoothing.lattice_unsmoothed is None or smoothing.lattice_guide is None:
        return (f"{over}, because the scene's pixels are repeated, and would show in the product as a lattice.",)
    note = (
        f"The scene's pixels would show in the product as a lattice of index {smoothing.lattice_unsmoothed:.2f} (the guide has "
        f"{smoothing.lattice_guide:.2f}): they seem to be repeated or resampled, or the assumed blur is too wide. {over}, which "
        f"leaves {smoothing.lattice:.2f}. Give the scene on the grid on which it was measured, or a larger --mtf-gain."
    )
    return (note,)
