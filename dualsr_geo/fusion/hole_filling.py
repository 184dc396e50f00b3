"""Holes of a cube, filled from their valid neighbours."""

from __future__ import annotations

import torch

# Width and reach of the Gaussian that fills holes, lr pixels.
FILL_WIDTH = 1.5
FILL_REACH = 4
# Weight of the band's mean against the neighbours' up to 1; it decides where no neighbour is valid.
MEAN_WEIGHT = 1e-3


def fill_holes(cube: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Fill holes by a normalised convolution with a Gaussian.

    Parameters
    ----------
    cube : Tensor, shape (band, y, x)
        NaN where invalid.
    mean : Tensor, shape (band,)
        The value of a pixel without any valid neighbour.

    Returns
    -------
    filled : Tensor, shape (band, y, x)
    weight : Tensor, shape (y, x), or None
        Share of the bands that are valid at a pixel, 0..1; None where all are.
    """
    valid = torch.isfinite(cube)
    if bool(valid.all()):
        return cube, None
    share = valid.to(cube.dtype)
    values = torch.where(valid, cube, cube.new_zeros(()))
    rows, columns = (_gaussian(n).to(cube) for n in cube.shape[1:])
    smooth = rows @ values @ columns + MEAN_WEIGHT * mean[:, None, None]
    smooth = smooth / (rows @ share @ columns + MEAN_WEIGHT)
    return torch.where(valid, cube, smooth), share.mean(0)


def _gaussian(length: int) -> torch.Tensor:
    distance = (torch.arange(length)[:, None] - torch.arange(length)[None]).abs()
    return torch.where(distance <= FILL_REACH, torch.exp(-0.5 * (distance / FILL_WIDTH) ** 2), 0.0)
