"""Logarithms of a guide's bands, which predict scenes of one or two bands next to the bands themselves.

Temperature, moisture and other quantities follow indices, ratios of bands, better than any sum of bands. Differences of
logarithms are those of ratios, of all pairs of bands at once, and need no knowledge of which band is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, guided_pixels, high_pass_pixels
from dualsr_geo.fusion.subspace import Subspace

# Smallest value that is distinguished, share of the median of a band: shadows and water have little more than noise.
LOWEST_SHARE = 0.05
# Scenes of up to so many bands are predicted so, from guides of more bands.
FEW_BANDS = 2


def predicts_few(bands: int, guide_bands: int) -> bool:
    """Return whether a scene of so many bands is predicted from a guide of so many, and not the guide from the scene."""
    return bands <= FEW_BANDS and guide_bands > bands


def lowest_values(guide: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the smallest value of each band that is distinguished, (guide band,), physical units.

    Parameters
    ----------
    guide : array, shape (guide band, pixel)

    Returns
    -------
    array
        0 of a band that has no positive median; it has no logarithm.
    """
    return np.asarray(np.maximum(LOWEST_SHARE * np.median(guide, 1), 0), np.float32)


def with_logarithms(guide: torch.Tensor, lowest: NDArray[np.float32]) -> torch.Tensor:
    """Return a guide's bands and their logarithms, (2 * guide band, ...); 0 of a band without.

    Parameters
    ----------
    guide : Tensor, shape (guide band, ...)
        Physical units.
    lowest : array, shape (guide band,)
        As `lowest_values` returns.
    """
    return torch.cat([guide, logarithms(guide, lowest)])


def logarithms(guide: torch.Tensor, lowest: NDArray[np.float32]) -> torch.Tensor:
    """Return the logarithms of a guide's bands over their smallest values, (guide band, ...); see `with_logarithms`."""
    low = torch.as_tensor(lowest, dtype=guide.dtype, device=guide.device).view(-1, *[1] * (guide.ndim - 1))
    positive = torch.where(low > 0, low, torch.ones_like(low))
    return torch.where(low > 0, torch.log((guide / positive).clamp_min(1)), torch.zeros_like(guide))


@dataclass(frozen=True)
class LogarithmPixels:
    """The degraded logarithms of a guide at the pixels of a sample.

    Attributes
    ----------
    lowest : array, shape (guide band,)
        See `lowest_values`.
    values, fine : array, shape (guide band, pixel)
        The logarithms, and their high frequencies.
    """

    lowest: NDArray[np.float32]
    values: NDArray[np.float32]
    fine: NDArray[np.float32]


def logarithm_pixels(blocks: Sequence[Block], blur: Psf, space: Subspace) -> LogarithmPixels | None:
    """Return the degraded logarithms of the guide of blocks; None for scenes that are not predicted by them.

    Parameters
    ----------
    blocks : sequence of Block
    blur : Psf
        Which degrades the guide.
    space : Subspace
    """
    if not predicts_few(len(blocks[0].cube), len(blocks[0].guide)):
        return None
    lowest = lowest_values(guided_pixels(blocks, blur)[1])
    logs = [replace(b, guide=logarithms(b.guide, lowest)) for b in blocks]
    return LogarithmPixels(lowest, guided_pixels(logs, blur)[1], high_pass_pixels(logs, blur, space)[1])
