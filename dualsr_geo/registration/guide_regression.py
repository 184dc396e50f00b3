"""The regression of a degraded guide on the scene, for any blur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import Psf

Array = NDArray[np.float64]

# lr pixels at a block's rim that the blur sees only in part.
RIM = 2


@dataclass(frozen=True)
class RegressionBlock:
    """A block of the sample for the estimate.

    Attributes
    ----------
    components : array, shape (component, y, x)
    guide : array, shape (guide band, ratio * y, ratio * x)
        Centred.
    weight : array, shape (y, x)
        0 where a pixel must not count.
    """

    components: Array
    guide: Array
    weight: Array


class GuideRegression:
    """The regression of the degraded guide on the scene, for any blur."""

    def __init__(self, pieces: Sequence[RegressionBlock], ratio: int) -> None:
        self.pieces = pieces
        self.ratio = ratio
        self.used = [inside(p.weight) for p in pieces]
        rows = [np.vstack([p.components[:, u], np.ones(u.sum())]).T for p, u in zip(pieces, self.used, strict=True)]
        self.basis = np.linalg.qr(np.concatenate(rows))[0]

    def degraded(self, psf: Psf) -> Array:
        """Return the degraded guide at the pixels that count, (guide band, pixel)."""
        out = []
        for piece, used in zip(self.pieces, self.used, strict=True):
            height, width = used.shape
            dy = blur_matrix(psf.taps_y, psf.start_y, self.ratio, height, 0, height)
            dx = blur_matrix(psf.taps_x, psf.start_x, self.ratio, width, 0, width)
            out.append((dy @ (piece.guide @ dx.T))[:, used])
        return np.concatenate(out, 1)

    def unexplained(self, psf: Psf) -> float:
        """Return 1 - R2, 0..1."""
        d = self.degraded(psf)
        d = d - d.mean(1, keepdims=True)
        d = d / np.maximum(np.sqrt((d**2).sum(1, keepdims=True)), 1e-30)
        return float(1 - ((d @ self.basis) ** 2).sum() / len(d))


def inside(weight: Array) -> NDArray[np.bool_]:
    """Return which pixels (y, x) of a block count: whole ones, off its rim."""
    used = weight > 0.999
    used[:RIM], used[-RIM:] = False, False
    used[:, :RIM], used[:, -RIM:] = False, False
    return np.asarray(used)
