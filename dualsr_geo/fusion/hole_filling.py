"""Holes of planes, filled from their neighbours."""

from __future__ import annotations

import torch

# Holes are filled by a normalised Gaussian of this width (lr px), cut at FILL_REACH.
FILL_WIDTH = 1.5
FILL_REACH = 4
FILL_PRIOR = 1e-3


def fill_holes(cube: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Fill holes from their valid neighbours (normalised convolution).

    Parameters
    ----------
    cube : Tensor, shape (band, y, x)
        NaN where nothing is.
    mean : Tensor, shape (band,)
        What a pixel without any valid neighbour gets.

    Returns
    -------
    filled : Tensor, shape (band, y, x)
    weight : Tensor, shape (y, x), or None
        Share of the bands that are valid at a pixel; None where all are.
    """
    valid = torch.isfinite(cube)
    if bool(valid.all()):
        return cube, None
    share = valid.to(cube.dtype)
    values = torch.where(valid, cube, cube.new_zeros(()))
    rows, columns = (_bell(n).to(cube) for n in cube.shape[1:])
    near = rows @ values @ columns + FILL_PRIOR * mean[:, None, None]
    smooth = near / (rows @ share @ columns + FILL_PRIOR)
    return torch.where(valid, cube, smooth), share.mean(0)


def _bell(length: int) -> torch.Tensor:
    off = (torch.arange(length)[:, None] - torch.arange(length)[None]).abs()
    return torch.where(off <= FILL_REACH, torch.exp(-0.5 * (off / FILL_WIDTH) ** 2), 0.0)
