"""The guide of one window: its holes filled, and the weight with which it is used."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.hole_filling import fill_holes

# A lr pixel is guided where at least this share of its guide is valid.
MIN_GUIDED_SHARE = 0.95


@dataclass(frozen=True)
class PreparedGuide:
    """The guide of one window.

    Attributes
    ----------
    values : Tensor, shape (guide band, ratio * y, ratio * x)
        Without NaN.
    weight : Tensor, shape (y, x), or None
        Share of a lr pixel's guide that is valid, 0 below `MIN_GUIDED_SHARE`; None where all are 1.
    blend : Tensor, shape (ratio * y, ratio * x), or None
        1 where the guide is used, 0 where it is absent, a ramp between; None where it is used everywhere.
    """

    values: torch.Tensor
    weight: torch.Tensor | None
    blend: torch.Tensor | None


def prepare_guide(guide: torch.Tensor, mean: torch.Tensor, operator: Operator) -> PreparedGuide | None:
    """Fill a guide's holes, and weight it by what is valid.

    Parameters
    ----------
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
        NaN where it does not reach.
    mean : Tensor, shape (guide band,)
    operator : Operator
        The window's degradation.

    Returns
    -------
    PreparedGuide or None
        None where the guide does not reach the window.
    """
    valid = torch.isfinite(guide).all(0)
    if bool(valid.all()):
        return PreparedGuide(guide, None, None)
    if not bool(valid.any()):
        return None
    weight = operator.degrade(valid.to(guide.dtype)).clamp(0, 1)
    values = torch.where(valid, guide, guide.new_zeros(()))
    nan = guide.new_full((), torch.nan)
    degraded = torch.where(weight > 0.5, operator.degrade(values) / weight.clamp_min(0.5), nan)
    smooth = operator.upsample(fill_holes(degraded, mean)[0])
    filled = torch.where(valid, guide, smooth)
    guided = weight > MIN_GUIDED_SHARE
    return PreparedGuide(filled, torch.where(guided, weight, 0.0), ramp(guided, guide))


def ramp(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return weights 0..1 on the hr grid: 0 outside a mask of lr pixels, 1 inside, between them a ramp of 2 lr pixels.

    Beyond the window the mask goes on as at its edge, which holds at the scene's edge.

    Parameters
    ----------
    mask : Tensor of bool, shape (y, x)
    like : Tensor, shape (..., ratio * y, ratio * x)
        Gives the size and the type of the weights.

    Returns
    -------
    Tensor, shape (ratio * y, ratio * x)
    """
    absent = (~mask).to(like.dtype)[None, None]
    near = torch.nn.functional.max_pool2d(absent, 5, 1, 2)
    padded = torch.nn.functional.pad(1 - near, (1, 1, 1, 1), mode="replicate")
    mean = torch.nn.functional.avg_pool2d(padded, 3, 1)
    weights = torch.nn.functional.interpolate(mean, size=like.shape[-2:], mode="bilinear", align_corners=False)
    return weights[0, 0]
