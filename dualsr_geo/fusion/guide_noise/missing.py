"""Missing pixels of the guide, continued from near ones so that the filter sees no edge there."""

from __future__ import annotations

import torch
from torch import Tensor

from dualsr_geo.fusion.guide_noise.convolution import convolve, gaussian_taps

# How far valid pixels are continued, hr px, and the standard deviation of their weights. Farther away the mean is used,
# with a smooth transition from the share of valid weights on below which it begins.
FILL_REACH_PX = 4
FILL_SIGMA_PX = 2.0
FADE_SHARE = 0.1


def fill_missing(planes: Tensor, valid: Tensor) -> Tensor:
    """Return planes (direction, Y, X) of mean 0 with the pixels that are not valid (Y, X) filled."""
    if bool(valid.all()):
        return planes
    taps = gaussian_taps(FILL_REACH_PX, FILL_SIGMA_PX)
    weights = valid.to(planes.dtype)
    values = torch.where(valid, planes, planes.new_zeros(()))
    margin = (FILL_REACH_PX,) * 4
    share = convolve(torch.nn.functional.pad(weights, margin), taps)
    near = convolve(torch.nn.functional.pad(values, margin), taps) / share.clamp_min(FADE_SHARE)
    return torch.where(valid, planes, near)
