"""What the detail of an image is worth where the truth is known: improved, omitted, hallucinated.

Detail is what lies beyond bicubic interpolation P of what a sensor without noise would have seen, so
it means the same for every model:

    T = truth - P,    D = made - P,    P = up(degrade(truth))

Detail of one sign agrees as far as the smaller of both reaches; what agrees by chance is paid back
where the two contradict each other. With sums over the pixels of a band,

    improvement   = sum sign(T D) min(|T|, |D|) / sum |T|,   0..1
    omission      = 1 - improvement
    hallucination = sum |D| / sum |T| - improvement

All are shares of the true detail: what is improved and what is omitted make all of it, what is
improved and what is hallucinated all that was made. The words are those of Aybar et al. (IEEE GRSL
21, 2024), who tell the three by distances between images of either resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Values within so many standard deviations of the truth's own noise are no detail.
DEVIATIONS = 2.0
# A band whose true detail is a smaller share of its largest value is flat but for rounding.
ROUNDING = 1e-6
# Sides of the parts in which false detail is compared with the guide's, pixels.
PART = 16
# Of a guide's energy in a part: what is no more than this beside the truth's detail is the truth's.
RIDGE = 1e-6
TINY = 1e-300
# Bands that are looked at together.
BANDS = 16


@dataclass(frozen=True)
class DetailAssessment:
    """What a product's detail is worth, as shares of the true detail; part of the survey.

    Attributes
    ----------
    ratio : int
        Of the pair on which it was found.
    improvement : array of float32, shape (band,)
        Share of the true detail that is there, 0..1; NaN of a band that has none.
    guide, neither : array of float32, shape (band,)
        What is hallucinated: what the guide has and the truth contradicts, and the rest.
    contradicted : array of float32, shape (band,), or None
        On the scene itself: share of the coarse start's detail that consistency took out; None without
        a guide.
    """

    ratio: int
    improvement: NDArray[np.float32]
    guide: NDArray[np.float32]
    neither: NDArray[np.float32]
    contradicted: NDArray[np.float32] | None = None

    @property
    def omission(self) -> NDArray[np.float32]:
        """Share of the true detail that is lacking, shape (band,)."""
        return np.float32(1) - self.improvement

    @property
    def hallucination(self) -> NDArray[np.float32]:
        """Made-up detail over true detail, shape (band,)."""
        return self.guide + self.neither


@dataclass(frozen=True)
class Piece:
    """An image and its truth; all planes on one grid.

    Attributes
    ----------
    made, truth, plain : Tensor, shape (band, Y, X)
        `plain` is what interpolation gives, see the module.
    guide : Tensor, shape (guide band, Y, X)
        The guide's own detail beyond interpolation; no band without a guide.
    valid : Tensor of bool, shape (Y, X)
        Which pixels count.
    """

    made: Tensor
    truth: Tensor
    plain: Tensor
    guide: Tensor
    valid: Tensor


def measure(
    pieces: Sequence[Piece], noise: NDArray[np.floating], ratio: int, contradicted: NDArray[np.float32] | None = None
) -> DetailAssessment:
    """Return what the detail of some images is worth, all together.

    Parameters
    ----------
    pieces : sequence of Piece
    noise : array, shape (band,)
        Standard deviation of the noise in `truth`.
    ratio : int
        Of pixel sizes before and after.
    contradicted : array, shape (band,), optional
        As `DetailAssessment` has it.
    """
    count = len(noise)
    sums = np.concatenate([sum(_sums(p, noise, rows) for p in pieces) for rows in _rows(count)], 1)
    true, agreed, made, false, guided, largest = sums
    some = true > ROUNDING * largest
    share = np.where(some, true, np.nan)
    improvement = np.clip(agreed / share, 0, 1)
    hallucination = np.maximum(made / share - improvement, 0)
    from_guide = np.clip(guided / np.maximum(false, TINY), 0, 1) * hallucination
    improvement, from_guide, rest = (
        v.astype(np.float32) for v in (improvement, from_guide, hallucination - from_guide)
    )
    return DetailAssessment(ratio, improvement, from_guide, rest, contradicted)


def _rows(count: int) -> list[slice]:
    return [slice(i, min(i + BANDS, count)) for i in range(0, count, BANDS)]


def _sums(piece: Piece, noise: NDArray[np.floating], rows: slice) -> NDArray[np.float64]:
    """Return sums over a piece, (sum, band): true, agreed and made detail; energies; the bands' own size."""
    valid = piece.valid
    true, made = ((p[rows] - piece.plain[rows]).double() * valid for p in (piece.truth, piece.made))
    least = DEVIATIONS * torch.from_numpy(np.asarray(noise[rows], np.float64))[:, None, None]
    t, d = (torch.nn.functional.relu(x.abs() - least) * x.sign() for x in (true, made))
    false, guided = _energies(true, made, piece.guide.double() * valid, valid.double())
    size = (piece.truth[rows].double().abs() * valid).sum((1, 2))
    there, done = (x.abs().sum((1, 2)) for x in (t, d))
    return torch.stack([there, agreement(t.flatten(1), d.flatten(1)), done, false, guided, size]).cpu().numpy()


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """Return how far two details (band, pixel) agree, less how far they contradict each other, shape (band,).

    The sum of sign(a b) min(|a|, |b|), which is also that of (|a + b| - |a - b|) / 2.
    """
    return ((a + b).abs() - (a - b).abs()).double().sum(1) / 2


def _energies(true: Tensor, made: Tensor, guide: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the energy of made detail that the true one does not explain, and how much of it the guide's does.

    Regressions part by part, on the true detail, then on both: what the second explains more, less what
    so many regressors explain by chance.
    """
    side = min(PART, *valid.shape)
    square = _parts(true**2, side).clamp_min(TINY)
    slope = _parts(true * made, side) / square
    false = (_parts(made**2, side) - slope**2 * square).clamp_min(0)
    if not len(guide):
        return false.sum(1), torch.zeros_like(false[:, 0])
    gram, with_true, with_made = (
        torch.stack([_parts(g * x, side) for g in guide], -1) for x in (guide, true, made)
    )  # (guide band or band, part, guide band)
    ridge = (RIDGE * gram.diagonal(dim1=0, dim2=2).sum(1) + TINY)[:, None, None] * torch.eye(len(guide))
    # What the guide's detail does not share with the truth's (Schur complement).
    own = gram.transpose(0, 1) + ridge - with_true[..., :, None] * with_true[..., None, :] / square[..., None, None]
    shared = with_made - with_true * slope[..., None]
    explained = (shared * torch.linalg.solve(own, shared)).sum(-1)
    pixels = _parts(valid[None], side)[0]
    left = (false - explained).clamp_min(0) * (pixels - 1) / (pixels - 1 - len(guide)).clamp_min(1)
    # Parts of too few pixels are explained by anything.
    told = torch.where(pixels > 2 * (1 + len(guide)), false - left, 0.0)
    return false.sum(1), told.sum(1)


def _parts(planes: Tensor, side: int) -> Tensor:
    """Return sums over parts of so many pixels a side, (plane, part)."""
    pooled = torch.nn.functional.avg_pool2d(planes[None], side, ceil_mode=True, divisor_override=1)
    return pooled[0].flatten(1)
