"""Smoothing of what the closed form adds to the regressions, where it would leave a lattice of the scene's pixels.

The closed form adds the residual between scene and degraded regressions. Where the scene's pixels are not samples of the
assumed blur (repeated or resampled pixels, a grid finer than the optics), that residual oscillates from pixel to pixel and
shows in the product as a lattice. On the middle of the sample the start is computed once; only if it has a lattice
that the guide has not, the residual is smoothed by [1 2 1] / 4 along both axes, which removes what alternates
from pixel to pixel, once or twice.

The mean band shows no fringes of colour. In the components after the first these are waves of two lr pixels: power at that
scale over power at twice that scale. What the closed form adds may raise that ratio little; where it doubles it, as on real
pairs whose blur is estimated too wide, the residual is smoothed once.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from dualsr_geo.models.unguided_correction import nyquist_gains

# Lattice beyond the guide's from which the residual is smoothed. The starts of 20 clean and real pairs have 0.04 at most,
# those of repeated pixels 0.23 to 0.42, or 0.05 where these made the blur too wide.
MIN_EXCESS = 0.1
# Mean number of times that a pixel is repeated from which the residual is smoothed in any case.
MIN_REPETITION = 1.5
# Factor by which the closed form raises the fringes of the regressions, from which the residual is smoothed once. Clean pairs
# have 1.3 at most where the guide explains their detail, SPOT-6 2.8 and Pleiades 2.1.
MIN_FRINGES = 1.6
# Gain at the Nyquist frequency, mean of both axes, below which fringes are judged: the closed form amplifies by its
# inverse. Scenes whose detail the guide does not explain have fringes of 2.8 (abu-airport-4, pan) at their true gain of 0.3.
MAX_FRINGED_GAIN = 0.12
# Components after the first whose fringes are judged at most.
FRINGE_COMPONENTS = 7
# Smallest side of a part whose fringes are judged, lr pixels.
MIN_FRINGE_SIDE_LR = 24
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
    fringes : float or None
        Factor by which the closed form would raise the fringes of colour; None where they are not judged.
    """

    passes: int
    lattice: float | None
    lattice_unsmoothed: float | None
    lattice_guide: float | None
    fringes: float | None = None


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
    amplifies = sum(nyquist_gains(common.psf)) / 2 < MAX_FRINGED_GAIN
    fringes = _fringes(parts) if amplifies else None
    is_fringed = fringes is not None and fringes >= MIN_FRINGES
    guide = mean_lattice([part.guide_steps() for part in parts])
    plain = least = mean_lattice([part.steps(0) for part in parts])
    passes = 0
    for further in range(1, MAX_PASSES + 1):
        is_due = further == 1 and (is_fringed or common.repetition >= MIN_REPETITION)
        if not is_due and (least is None or guide is None or least - guide < MIN_EXCESS):
            break
        lattice = mean_lattice([part.steps(further) for part in parts])
        if not is_due and lattice is not None and least is not None and lattice >= least:
            break
        passes, least = further, lattice
    return ResidualSmoothing(passes, least, plain, guide, fringes) if passes else None


def _fringes(parts: Sequence[_Part]) -> float | None:
    """Return the fringes of the start over those of the regressions; None without components after the first."""
    before, after = (np.sum([p.octaves(consistent=c) for p in parts], 0) for c in (False, True))
    if before.min() <= 0 or after.min() <= 0:
        return None
    return float(after[0] / after[1] / (before[0] / before[1]))


def _octaves(planes: Tensor, ratio: int) -> NDArray[np.float64]:
    """Return the power of waves of two and of four lr pixels in planes (component, Y, X), (2, component)."""
    height, width = (n // (2 * ratio) * 2 * ratio for n in planes.shape[1:])
    power = []
    for side in (ratio, 2 * ratio):
        cells = planes[:, :height, :width].reshape(len(planes), height // side, side, width // side, side).mean((2, 4))
        down, right = cells.diff(n=2, dim=1), cells.diff(n=2, dim=2)
        power.append((down.square().mean((1, 2)) + right.square().mean((1, 2))).double().numpy())
    return np.stack(power)


@dataclass(frozen=True, eq=False)
class _Part:
    """Some planes of a part of the sample, before the closed form: the mean band, and the components after the first.

    Attributes
    ----------
    block : Block
    estimate : Tensor, shape (plane, ratio * y, ratio * x)
        Of the regressions.
    residual : Tensor, shape (plane, y, x)
    closed : Consistency
    energy : array, shape (plane - 1,)
        Sum over the bands of the square of each component's unit.
    """

    block: Block
    estimate: Tensor
    residual: Tensor
    closed: Consistency
    energy: NDArray[np.float64]

    @classmethod
    def of(cls, block: Block, common: CommonEstimates, fit: GuideFit, ridges: NDArray[np.float32]) -> _Part:
        """Compute the planes; the mean band has the weights and the ridge of the components that it consists of."""
        space, op = common.statistics.space, operator(common.psf, block.shape)
        z, mean = components(space, block.cube), space.expand.mean(0)
        some = slice(1, 1 + FRINGE_COMPONENTS)
        rows = np.concatenate([mean[None], np.eye(space.count, dtype=np.float32)[some]])
        power = (mean * z.flatten(1).std(1).numpy()) ** 2 + np.finfo(np.float32).tiny
        share = np.concatenate([(power / power.sum())[None], rows[1:]]).astype(np.float32)
        observed = (torch.from_numpy(rows) @ z.flatten(1)).view(-1, *block.shape)
        inputs = prepare_inputs(observed, block.guide, fit.fit.combined(rows), op, block.weight)
        estimate = fit_mixture(inputs, torch.from_numpy(share @ fit.mixture)).evaluate(0, len(rows))
        closed = consistency(common.psf, block.shape, (share @ ridges).tolist(), op)
        residual = continued(closed.residual(estimate, observed), block.weight)
        return cls(block, estimate, residual, closed, (space.expand.astype(np.float64) ** 2).sum(0)[some])

    def octaves(self, *, consistent: bool) -> NDArray[np.float64]:
        """Return the power of waves of two and of four lr pixels in the components after the first, (2,)."""
        planes = self.estimate[1:]
        if not len(planes) or min(self.block.shape) < MIN_FRINGE_SIDE_LR:
            return np.zeros(2)
        if consistent:
            planes = planes + self.closed.spread(self.residual[1:], 1)
        return np.asarray(_octaves(planes, len(planes[0]) // self.block.shape[0]) @ self.energy)

    @property
    def everywhere(self) -> NDArray[np.bool_]:
        """All pixels: filled ones have no lattice, and windows without any of them may be too few."""
        return np.ones(self.block.shape, bool)

    def steps(self, passes: int) -> ArtefactSums:
        """Measure the start with so many passes of the smoothing."""
        return measure_steps(
            (self.estimate[:1] + self.closed.spread(smoothed(self.residual[:1], passes)))[0], self.everywhere
        )

    def guide_steps(self) -> ArtefactSums:
        """Measure the mean band of the guide."""
        return measure_steps(self.block.guide.mean(0), self.everywhere)


def describe_smoothing(smoothing: ResidualSmoothing | None) -> tuple[str, ...]:
    """Return a note if the residual is smoothed."""
    if smoothing is None:
        return ()
    over = f"What alternates from pixel to pixel is smoothed over {2 * smoothing.passes + 1} pixels"
    lattice, plain, guide = smoothing.lattice, smoothing.lattice_unsmoothed, smoothing.lattice_guide
    if lattice is not None and plain is not None and guide is not None and plain - guide >= MIN_EXCESS:
        note = (
            f"The scene's pixels would show in the product as a lattice of index {plain:.2f} (the guide has {guide:.2f}): they "
            f"seem to be repeated or resampled, or the assumed blur is too wide. {over}, which leaves {lattice:.2f}. Give the "
            "scene on the grid on which it was measured, or a larger --mtf-gain."
        )
    elif smoothing.fringes is not None and smoothing.fringes >= MIN_FRINGES:
        note = (
            f"The scene's pixels would leave fringes of colour in the product, {smoothing.fringes:.1f} times those of the "
            f"regressions on the guide: the blur is assumed too wide, or guide and scene differ. {over}. Give a larger "
            "--mtf-gain if the sensor's is known."
        )
    else:
        note = f"{over}, because the scene's pixels are repeated, and would show in the product as a lattice."
    return (note,)
