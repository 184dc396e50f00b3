"""The regression of a guide, degraded by any blur, on the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import Psf

Array = NDArray[np.float64]

# lr pixels at a block's edge whose blur reaches beyond it.
RIM_LR = 2
# lr pixels that are blurred together: they reach few hr pixels, so that most zeros of the matrix are left out.
GROUP_LR = 16
# A pixel counts from this weight on: 1 but for rounding.
VALID = 0.999


@dataclass(frozen=True)
class RegressionBlock:
    """A block of the sample.

    Attributes
    ----------
    components : array, shape (component, y, x)
        Leading spectral components of the scene.
    guide : array, shape (guide band, ratio * y, ratio * x)
        Without its mean.
    weight : array, shape (y, x)
        1 where scene and guide are valid, less elsewhere.
    """

    components: Array
    guide: Array
    weight: Array


class GuideRegression:
    """The regression of the degraded guide on the scene's components, for any blur.

    Parameters
    ----------
    blocks : sequence of RegressionBlock
    ratio : int
        GSD lr / GSD hr.

    Attributes
    ----------
    used : list of array of bool, shape (y, x)
        The pixels of each block that count.
    basis : array, shape (pixel, component + 1)
        Orthonormal; spans the components and a constant at these pixels.
    """

    def __init__(self, blocks: Sequence[RegressionBlock], ratio: int) -> None:
        self.blocks = blocks
        self.ratio = ratio
        self.used = [inside(b.weight) for b in blocks]
        self._indices = [np.flatnonzero(u) for u in self.used]
        rows = [np.vstack([b.components[:, u], np.ones(u.sum())]).T for b, u in zip(blocks, self.used, strict=True)]
        self.basis = np.linalg.qr(np.concatenate(rows))[0]
        # The guide of each block, blurred along x by the taps and the start that it was blurred by last.
        self._across: dict[int, tuple[tuple[tuple[float, ...], int], Array]] = {}

    def degraded(self, psf: Psf) -> Array:
        """Return the degraded guide at the pixels that count, (guide band, pixel)."""
        out = []
        for index, used in enumerate(self.used):
            blur = axis_blur(psf.taps_y, psf.start_y, self.ratio, len(used))
            planes = blur.rows(self._blurred_across(index, psf))
            out.append(planes.reshape(len(planes), -1).take(self._indices[index], 1))
        return np.concatenate(out, 1)

    def _blurred_across(self, index: int, psf: Psf) -> Array:
        """Return the guide of a block, blurred and decimated along x: half the searches move along y only."""
        key = psf.taps_x, psf.start_x
        if self._across.get(index, (None,))[0] != key:
            blur = axis_blur(*key, self.ratio, self.used[index].shape[1])
            self._across[index] = key, blur.columns(self.blocks[index].guide)
        return self._across[index][1]

    def unexplained(self, psf: Psf) -> float:
        """Return 1 - R2 of the degraded guide on the scene, 0..1."""
        d = self.degraded(psf)
        d = d - d.mean(1, keepdims=True)
        d = d / np.maximum(np.sqrt((d**2).sum(1, keepdims=True)), 1e-30)
        return float(1 - ((d @ self.basis) ** 2).sum() / len(d))


@dataclass(frozen=True)
class AxisBlur:
    """The blur and decimation of one axis, in 64 bits, by groups of lr pixels.

    Attributes
    ----------
    groups : tuple of (int, int, int, int, array)
        The lr pixels of a group, from and to, the hr pixels that they reach, and the weights.
    length : int
        lr pixels.
    """

    groups: tuple[tuple[int, int, int, int, Array], ...]
    length: int

    def rows(self, planes: Array) -> Array:
        """Apply along y: (plane, ratio * y, x) -> (plane, y, x)."""
        out = np.empty((len(planes), self.length, planes.shape[2]))
        for low, high, first, last, weights in self.groups:
            out[:, low:high] = weights @ planes[:, first:last]
        return out

    def columns(self, planes: Array) -> Array:
        """Apply along x: (plane, y, ratio * x) -> (plane, y, x)."""
        out = np.empty((*planes.shape[:2], self.length))
        for low, high, first, last, weights in self.groups:
            out[:, :, low:high] = planes[:, :, first:last] @ weights.T
        return out


# The blocks of a scene have one size, and both axes often the same blur.
@lru_cache(maxsize=8)
def axis_blur(taps: tuple[float, ...], start: int, ratio: int, length: int) -> AxisBlur:
    """Return the blur of a whole axis of so many lr pixels by taps, which start as those of `Psf` do."""
    matrix = blur_matrix(taps, start, ratio, length, 0, length)
    groups = []
    for low in range(0, length, GROUP_LR):
        high = min(low + GROUP_LR, length)
        first = max(0, min(low * ratio + start, length * ratio - 1))
        last = max(min((high - 1) * ratio + start + len(taps), length * ratio), 1)
        groups.append((low, high, first, last, matrix[low:high, first:last]))
    return AxisBlur(tuple(groups), length)


def inside(weight: Array) -> NDArray[np.bool_]:
    """Return the pixels (y, x) of a block that count: valid ones, away from its edge."""
    used = weight > VALID
    used[:RIM_LR], used[-RIM_LR:] = False, False
    used[:, :RIM_LR], used[:, -RIM_LR:] = False, False
    return np.asarray(used)
