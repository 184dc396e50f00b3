"""Guard on the shape of sharpened spectra, for products without a guide.

Each band's share of its pixel's mean over the bands is kept within the range that the 3 x 3 lr neighbours have:

    q = Y_b / mean_b(Y),    X_b <- clip(X_b, lo(q) mean_b(X), hi(q) mean_b(X))

The intensity stays as sharp as it is; spectra that no neighbour has are refused. They come from dark pixels next to
bright edges, where bands that are sharpened unlike one another change the angle most.
"""

from __future__ import annotations

import torch
from torch.nn.functional import max_pool2d

# By how much the range of the neighbours' shares is widened on either side, relative to itself.
MARGIN = 0.1
# Of fewer bands the mean is no intensity.
MIN_BANDS = 3
# A mean below this share of the scene's is rounding or shadow, and no denominator.
FLOOR_SHARE = 1e-3

Bounds = tuple[torch.Tensor, torch.Tensor]


def share_bounds(cube: torch.Tensor, mean: torch.Tensor, floor: float, margin: float = MARGIN) -> Bounds:
    """Return the lower and upper bounds of the bands' shares of the mean, (band, y, x) each.

    Parameters
    ----------
    cube : Tensor, shape (band, y, x)
        Bands of the scene, without NaN.
    mean : Tensor, shape (y, x)
        Over all bands.
    floor : float
        Smallest denominator, in the units of the scene, above 0.
    margin : float
        By how much the neighbours' range is widened.
    """
    share = cube / mean.clamp_min(floor)
    high, low = max_pool2d(share, 3, 1, 1), -max_pool2d(-share, 3, 1, 1)
    widened = margin * (high - low)
    # A neighbour below the floor has no spectrum, so that nothing is refused next to it.
    dark = max_pool2d((mean < floor).to(share)[None], 3, 1, 1) > 0
    infinite = torch.full_like(share[:1], torch.inf)
    return torch.where(dark, -infinite, low - widened), torch.where(dark, infinite, high + widened)


def guarded(bands: torch.Tensor, mean: torch.Tensor, bounds: Bounds, ratio: int) -> torch.Tensor:
    """Return sharpened bands (band, Y, X) with their shares of the mean within bounds.

    Parameters
    ----------
    bands : Tensor, shape (band, ratio * y, ratio * x)
    mean : Tensor, shape (ratio * y, ratio * x)
        Over all bands of the sharpened scene; what is negative counts as 0.
    bounds : (Tensor, Tensor), shape (band, y, x)
        Of the same bands, see `share_bounds`.
    ratio : int
    """
    low, high = bounds
    cells = bands.view(-1, low.shape[1], ratio, low.shape[2], ratio)
    # Not 0, since bounds may be infinite.
    intensity = mean.reshape(cells.shape[1:]).clamp_min(torch.finfo(mean.dtype).tiny)
    least, most = (bound[:, :, None, :, None] * intensity for bound in (low, high))
    return cells.clamp(least, most).view_as(bands)
