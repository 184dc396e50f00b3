"""The choice of spectral components: those whose detail contributes to the product's.

Every component costs a regression on the guide and its consistency. Many of those above noise have hardly any detail:
interpolated, as what is outside the subspace, they lose nothing that shows in the error of the product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, high_pass_pixels, stack
from dualsr_geo.fusion.subspace import Subspace

# The components that are left out have together at most this share of the detail that regressions on the guide leave.
# Of nine hyperspectral scenes at x4 it costs 0.007 dB and 0.45 % of the spectral angle at most, twice the share 0.011 dB.
MAX_LOST_SHARE = 1e-3
# So many components are kept in any case: 8 save little more, and cost up to 0.6 % of the spectral angle.
MIN_COMPONENTS = 12
# Darker pixels than this share of the mean energy count as if they had it, where angles are judged.
DARKEST_SHARE = 1e-6


def chosen_components(blocks: Sequence[Block], blur: Psf, space: Subspace) -> int:
    """Return the number of leading components of a scene that are worth their cost.

    The detail of the others is at most `MAX_LOST_SHARE` of the detail that a regression on the guide's leaves of all,
    both in squared values and in squared spectral angles.

    Parameters
    ----------
    blocks : sequence of Block
        The sample.
    blur : Psf
        Of the scene.
    space : Subspace
        Of a clean scene; a noisy one keeps all components, since it drops what they do not carry.
    """
    if space.count <= MIN_COMPONENTS or not space.keeps_rest:
        return space.count
    detail, guide = (v.astype(np.float64) for v in high_pass_pixels(blocks, blur, space))
    weight = stack([b.weight for b in blocks]).astype(np.float64)
    energy = np.square(stack([b.cube for b in blocks])).sum(0, dtype=np.float64)
    nearness = weight / np.maximum(energy, DARKEST_SHARE * energy.mean())
    return max(MIN_COMPONENTS, *(_needed(detail, guide, w) for w in (weight, nearness)))


def _needed(detail: NDArray[np.float64], guide: NDArray[np.float64], weight: NDArray[np.float64]) -> int:
    """Return how many components (component, pixel) leave little enough detail to the others, with these weights."""
    gram, cross = (guide * weight) @ guide.T, (guide * weight) @ detail.T
    slope = np.linalg.solve(gram + (1e-9 * np.trace(gram) + 1e-30) * np.eye(len(gram)), cross)
    left = ((detail - slope.T @ guide) ** 2) @ weight
    tail = ((detail**2) @ weight)[::-1].cumsum()[::-1]
    return int((tail > MAX_LOST_SHARE * left.sum()).sum())
