"""The Brovey transform as GDAL computes it: up(L_b) * P / up(mean of all L)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.injection import Injection, Sharpened
from dualsr_geo.models.methods._injection import InjectionModel


@dataclass(frozen=True)
class Brovey(InjectionModel):
    """Multiply every band by the guide over the mean of all bands; of several guide bands the mean is used."""

    uses_ratios: ClassVar[bool] = True

    # The kernel of Keys, as in GDAL.
    cubic_a = -0.5

    def inject(self, state: Injection, cube: Tensor, guide: Tensor, operator: Operator) -> Sharpened:  # noqa: ARG002
        """Return the injection on one window; see `InjectionModel.inject`."""
        mean = operator.upsample(cube.mean(0, keepdim=True))
        factor = torch.where(mean != 0, guide.mean(0, keepdim=True) / mean, 0.0)
        return lambda up, _: up * factor


MODEL = Brovey("brovey", "Baseline: Brovey as GDAL does it, the guide over the mean of all bands.")
