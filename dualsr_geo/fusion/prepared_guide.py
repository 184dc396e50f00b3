"""The guide of one window without holes, and how far it is used."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.hole_filling import fill_holes

# A lr pixel counts as guided where this share of its guide is there.
MIN_GUIDED_SHARE = 0.95


@dataclass(frozen=True)
class PreparedGuide:
    """A guide made ready for one window.

    Attributes
    ----------
    values : Tensor, shape (guide band, ratio * y, ratio * x)
        Without NaN.
    weight : Tensor, shape (y, x), or None
        Share of a lr pixel's guide that is valid; None where all is.
    blend : Tensor, shape (ratio * y, ratio * x), or None
        1 where the guide is used, 0 where it is absent, a ramp between; None where it is everywhere.
    """

    values: torch.Tensor
    weight: torch.Tensor | None
    blend: torch.Tensor | None


def prepare_guide(guide: torch.Tensor, mean: torch.Tensor, operator: Operator) -> PreparedGuide | None:
    """Fill a guide's holes and say where it may be used; None where it reaches nothing.

    Parameters
    ----------
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
        NaN where it does not reach.
    mean : Tensor, shape (guide band,)
    operator : Operator
        The window's degradation.
    """
    valid = torch.isfinite(guide).all(0)
    if bool(valid.all()):
        return PreparedGuide(guide, None, None)
    if not bool(valid.any()):
        return None
    share = valid.to(guide.dtype)
    weight = operator.degrade(share).clamp(0, 1)
    values = torch.where(valid, guide, guide.new_zeros(()))
    nan = guide.new_full((), torch.nan)
    degraded = torch.where(weight > 0.5, operator.degrade(values) / weight.clamp_min(0.5), nan)
    smooth = operator.upsample(fill_holes(degraded, mean)[0])
    filled = torch.where(valid, guide, smooth)
    return PreparedGuide(
        filled, torch.where(weight > MIN_GUIDED_SHARE, weight, 0.0), ramp(weight > MIN_GUIDED_SHARE, guide)
    )


def ramp(there: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return 0..1 on the hr grid: 0 wherever a lr pixel lacks what is asked for, a ramp of 2 lr pixels inside.

    Beyond the window it is taken to go on, which holds at the scene's edge.

    Parameters
    ----------
    there : Tensor of bool, shape (y, x)
    like : Tensor, shape (..., ratio * y, ratio * x)
        Of the size and type wanted.
    """
    absent = (~there).to(like.dtype)[None, None]
    near = torch.nn.functional.max_pool2d(absent, 5, 1, 2)
    padded = torch.nn.functional.pad(1 - near, (1, 1, 1, 1), mode="replicate")
    mean = torch.nn.functional.avg_pool2d(padded, 3, 1)
    ramp = torch.nn.functional.interpolate(mean, size=like.shape[-2:], mode="bilinear", align_corners=False)
    return ramp[0, 0]
