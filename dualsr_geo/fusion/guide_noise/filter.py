"""An empirical vector Wiener filter of the guide, in an undecimated wavelet.

The guide is rotated to its principal directions and divided by the noise of each. At every pixel and level the local
covariance of the directions decides what is signal: a weak direction is kept where it varies with a strong one.
The first pass makes a pilot image, whose covariance is the signal's in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.fusion.guide_noise.convolution import Taps, cropped, gaussian_taps
from dualsr_geo.fusion.guide_noise.local_covariance import local_covariance, thresholded, wiener
from dualsr_geo.fusion.guide_noise.missing import FILL_REACH_PX, fill_missing
from dualsr_geo.fusion.guide_noise.wavelet import WAVELET_REACH_PX, details, lost_px, noise_variances

# Half-width of the windows of the local covariance, hr px, finest level first; their standard deviation is this share.
WINDOW_PX = (3, 4, 5)
WINDOW_SIGMA = 2 / 3
# What is subtracted in the first pass, in noise variances: a local covariance is of few values.
THRESHOLD = 1.6
# Support of one pass, and of the filter, on every side, hr px.
PASS_REACH_PX = WAVELET_REACH_PX + max(WINDOW_PX)
REACH_PX = 2 * PASS_REACH_PX + FILL_REACH_PX
# Side of the parts that are filtered one after another, hr px; they stay in a processor's cache.
PART_PX = 256


@dataclass(frozen=True)
class GuideFilter:
    """A filter of the guide's noise.

    A tile with a context of `REACH_PX` on every side has the values of the whole guide.

    Attributes
    ----------
    mean : array, shape (guide band,)
    directions : array, shape (guide band, direction)
        Orthonormal, the strongest first.
    level : array, shape (direction,)
        Standard deviation of the noise that is removed, physical units; a direction of 0 is left as it is.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    level: NDArray[np.float32]

    def __call__(self, guide: Tensor) -> Tensor:
        """Return the guide without its noise, on the same device.

        Parameters
        ----------
        guide : Tensor, shape (guide band, Y, X)
            NaN where missing. A pixel with a missing band is returned as it is.
        """
        active = self.level > 0
        if not active.any() or guide[0].numel() == 0:
            return guide
        scaled = torch.from_numpy(self.directions[:, active] * self.level[active]).to(guide)
        unscaled = torch.from_numpy(self.directions[:, active] / self.level[active]).to(guide)
        centred = guide - torch.from_numpy(self.mean).to(guide)[:, None, None]
        whitened = torch.einsum("bd,byx->dyx", unscaled, centred)
        valid = torch.isfinite(whitened[0])
        filled = fill_missing(whitened, valid)
        change = torch.einsum("bd,dyx->byx", scaled, _filtered(filled) - filled)
        return guide + torch.where(valid, change, change.new_zeros(()))


def _filtered(planes: Tensor) -> Tensor:
    """Return planes (direction, Y, X) without their noise of variance 1, part by part; mirrored at their edges."""
    out, margin = torch.empty_like(planes), 2 * PASS_REACH_PX
    rows, columns = (_mirrored(n, margin, planes.device) for n in planes.shape[1:])
    padded = planes[:, rows][:, :, columns]
    for y in range(0, planes.shape[1], PART_PX):
        for x in range(0, planes.shape[2], PART_PX):
            window = padded[:, y : y + PART_PX + 2 * margin, x : x + PART_PX + 2 * margin]
            out[:, y : y + PART_PX, x : x + PART_PX] = _two_passes(window)
    return out


def _mirrored(length: int, margin: int, device: torch.device) -> Tensor:
    """Return the indices of an axis with a margin on both sides, mirrored at its first and last pixel."""
    period = max(2 * length - 2, 1)
    at = torch.arange(-margin, length + margin, device=device) % period
    return torch.minimum(at, period - at) if length > 1 else torch.zeros_like(at)


def _two_passes(window: Tensor) -> Tensor:
    """Return the middle of a window (direction, y, x), without a margin of two `PASS_REACH_PX`, filtered."""
    noisy, coarse = details(window)
    pilot = cropped(coarse, PASS_REACH_PX - WAVELET_REACH_PX).clone()
    for level, detail in enumerate(noisy):
        near = cropped(detail, PASS_REACH_PX - WINDOW_PX[level] - lost_px(level))
        covariance = local_covariance(near, _window(level))
        shrunk = thresholded(cropped(near, WINDOW_PX[level]), covariance, THRESHOLD * noise_variances()[level])
        _add(pilot, shrunk)
    out = cropped(coarse, 2 * PASS_REACH_PX - WAVELET_REACH_PX).clone()
    for level, (detail, signal) in enumerate(zip(noisy, details(pilot)[0], strict=True)):
        near = cropped(signal, PASS_REACH_PX - WINDOW_PX[level] - lost_px(level))
        covariance = local_covariance(near, _window(level))
        middle = cropped(detail, 2 * PASS_REACH_PX - lost_px(level))
        _add(out, wiener(middle, covariance, noise_variances()[level]))
    return out


def _add(total: Tensor, planes: Sequence[Tensor]) -> None:
    for one, plane in zip(total, planes, strict=True):
        one.add_(plane)


def _window(level: int) -> Taps:
    return gaussian_taps(WINDOW_PX[level], WINDOW_SIGMA * WINDOW_PX[level])
