"""Assess the detail of a restored image against the truth: improved, omitted and hallucinated detail.

Detail is the difference from an interpolated image P that a sensor without noise would have recorded, so
its meaning does not depend on the model:

    T = truth - P,    D = restored - P,    P = up(degrade(truth))

Where T and D have the same sign, the smaller of both counts as agreement; where they have opposite signs
it is subtracted, which cancels agreement by chance. With sums over the pixels of a band,

    improvement   = sum sign(T D) min(|T|, |D|) / sum |T|,   0..1
    omission      = 1 - improvement
    hallucination = sum |D| / sum |T| - improvement

All three are relative to the true detail: improvement and omission add up to the true detail,
improvement and hallucination to the restored detail. The terms are those of Aybar et al. (IEEE GRSL
21, 2024), who derive the three from distances between images of both resolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Differences below so many standard deviations of the truth's noise do not count as detail.
NOISE_STDS = 2.0
# A band is flat if its true detail is a smaller share of its values: the rounding of float32.
ROUNDING_SHARE = 1e-6
# Side of the parts in which false detail is compared with the guide's, px.
PART_PX = 16
# Ridge of the regression on the guide's detail, relative to its energy in all parts.
RIDGE = 1e-6
# Added to denominators, so that nothing is divided by zero.
TINY = 1e-300
# Bands that are processed together; bounds the memory.
BANDS_AT_ONCE = 16


@dataclass(frozen=True)
class DetailAssessment:
    """Detail of a product as shares of the true detail; part of the survey.

    Attributes
    ----------
    ratio : int
        Ratio of the Wald pair that was assessed.
    improvement : array of float32, shape (band,)
        Share of the true detail that is restored, 0..1; NaN for a band without true detail.
    guide, neither : array of float32, shape (band,)
        Hallucinated detail that the guide explains, and the rest; NaN for a band without true detail.
    contradicted : array of float32, shape (band,), or None
        Share of the coarse start's detail that consistency removes on the scene itself, 0..1; None without
        a guide.
    """

    ratio: int
    improvement: NDArray[np.float32]
    guide: NDArray[np.float32]
    neither: NDArray[np.float32]
    contradicted: NDArray[np.float32] | None = None

    @property
    def omission(self) -> NDArray[np.float32]:
        """Share of the true detail that is not restored, shape (band,)."""
        return np.float32(1) - self.improvement

    @property
    def hallucination(self) -> NDArray[np.float32]:
        """Hallucinated detail over true detail, shape (band,)."""
        return self.guide + self.neither


@dataclass(frozen=True)
class Piece:
    """A restored image and its truth on one grid.

    Attributes
    ----------
    restored, truth, interpolated : Tensor, shape (band, Y, X)
        `interpolated` is P in the module's equations.
    guide : Tensor, shape (guide band, Y, X)
        The guide's detail, its difference from interpolation; no bands without a guide.
    valid : Tensor of bool, shape (Y, X)
        Pixels that count.
    """

    restored: Tensor
    truth: Tensor
    interpolated: Tensor
    guide: Tensor
    valid: Tensor


def measure(
    pieces: Sequence[Piece], noise: NDArray[np.floating], ratio: int, contradicted: NDArray[np.float32] | None = None
) -> DetailAssessment:
    """Return the detail assessment of some images together.

    Parameters
    ----------
    pieces : sequence of Piece
    noise : array, shape (band,)
        Standard deviation of the noise in `truth`.
    ratio : int
        Ratio of the Wald pair.
    contradicted : array, shape (band,), optional
        See `DetailAssessment`.
    """
    rows = [slice(i, min(i + BANDS_AT_ONCE, len(noise))) for i in range(0, len(noise), BANDS_AT_ONCE)]
    sums = np.concatenate([sum(_sums(p, noise, r) for p in pieces) for r in rows], 1)
    true, agreed, restored, false, guided, size = sums
    total = np.where(true > ROUNDING_SHARE * size, true, np.nan)
    improvement = np.clip(agreed / total, 0, 1)
    hallucination = np.maximum(restored / total - improvement, 0)
    from_guide = np.clip(guided / np.maximum(false, TINY), 0, 1) * hallucination
    improvement, from_guide, rest = (
        v.astype(np.float32) for v in (improvement, from_guide, hallucination - from_guide)
    )
    return DetailAssessment(ratio, improvement, from_guide, rest, contradicted)


def _sums(piece: Piece, noise: NDArray[np.floating], rows: slice) -> NDArray[np.float64]:
    """Return sums over a piece, (sum, band): true, agreed and restored detail; both energies; absolute truth."""
    valid = piece.valid
    true, restored = ((p[rows] - piece.interpolated[rows]).double() * valid for p in (piece.truth, piece.restored))
    noise_level = NOISE_STDS * torch.from_numpy(np.asarray(noise[rows], np.float64))[:, None, None]
    t, d = (torch.nn.functional.relu(x.abs() - noise_level) * x.sign() for x in (true, restored))
    false, guided = _energies(true, restored, piece.guide.double() * valid, valid.double())
    size = (piece.truth[rows].double().abs() * valid).sum((1, 2))
    total_t, total_d = (x.abs().sum((1, 2)) for x in (t, d))
    return torch.stack([total_t, agreement(t.flatten(1), d.flatten(1)), total_d, false, guided, size]).cpu().numpy()


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """Return the agreement of two details (band, pixel) less their contradiction, shape (band,).

    It is the sum of sign(a b) min(|a|, |b|) = (|a + b| - |a - b|) / 2.
    """
    return ((a + b).abs() - (a - b).abs()).double().sum(1) / 2


def _energies(true: Tensor, restored: Tensor, guide: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the energy of restored detail that the true detail leaves, and the part that the guide's explains.

    Both from regressions part by part, first on the true detail, then on the guide's as well; the second
    figure is reduced by what as many regressors explain by chance.
    """
    side = min(PART_PX, *valid.shape)
    square = _parts(true**2, side).clamp_min(TINY)
    slope = _parts(true * restored, side) / square
    false = (_parts(restored**2, side) - slope**2 * square).clamp_min(0)
    if not len(guide):
        return false.sum(1), torch.zeros_like(false[:, 0])
    gram, with_true, with_restored = (
        torch.stack([_parts(g * x, side) for g in guide], -1) for x in (guide, true, restored)
    )  # (guide band or band, part, guide band)
    ridge = (RIDGE * gram.diagonal(dim1=0, dim2=2).sum(1) + TINY)[:, None, None] * torch.eye(len(guide))
    # The part of the guide's detail that the true detail does not explain (Schur complement).
    own = gram.transpose(0, 1) + ridge - with_true[..., :, None] * with_true[..., None, :] / square[..., None, None]
    shared = with_restored - with_true * slope[..., None]
    explained = (shared * torch.linalg.solve(own, shared)).sum(-1)
    pixels = _parts(valid[None], side)[0]
    residual = (false - explained).clamp_min(0) * (pixels - 1) / (pixels - 1 - len(guide)).clamp_min(1)
    # In parts of few pixels any regressors explain everything.
    from_guide = torch.where(pixels > 2 * (1 + len(guide)), false - residual, 0.0)
    return false.sum(1), from_guide.sum(1)


def _parts(planes: Tensor, side: int) -> Tensor:
    """Return the sums of planes over square parts of this side (px), (plane, part)."""
    pooled = torch.nn.functional.avg_pool2d(planes[None], side, ceil_mode=True, divisor_override=1)
    return pooled[0].flatten(1)
