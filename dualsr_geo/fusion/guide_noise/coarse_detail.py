"""How much detail a guide has at the scale of 4 to 8 px: coloured noise of the guide is not larger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from dualsr_geo.fusion.guide_noise.detail_noise import NORMAL_MEDIAN
from dualsr_geo.fusion.guide_noise.wavelet import LEVELS, WAVELET_REACH_PX, details, noise_variances


def coarse_detail(
    planes: Sequence[NDArray[np.float32]], valid: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float64] | None:
    """Return the standard deviation of white noise that would have a guide's median detail of the coarsest level.

    Parameters
    ----------
    planes : sequence of array, shape (direction, Y, X)
    valid : sequence of array of bool, shape (Y, X)

    Returns
    -------
    array, shape (direction,), or None
        None where no window is large enough.
    """
    reach = WAVELET_REACH_PX
    parts = []
    for plane, mask in zip(planes, valid, strict=True):
        if min(mask.shape) > 2 * reach:
            whole = minimum_filter(mask, 2 * reach + 1)[reach:-reach, reach:-reach]
            parts.append(np.abs(details(torch.from_numpy(plane))[0][-1].numpy()[:, whole]))
    if not sum(p.shape[1] for p in parts):
        return None
    deviation = NORMAL_MEDIAN * noise_variances()[LEVELS - 1] ** 0.5
    return np.asarray(np.median(np.concatenate(parts, 1), 1) / deviation, np.float64)
