"""MTF-matched Laplacian pyramid with high-pass modulation (Aiazzi et al., 2006): up(L_b) * S_b / up(D(S_b))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.injection import Injection, Sharpened, linear_combinations
from dualsr_geo.models.methods._injection import InjectionModel

# Largest factor on a band; larger ones come from divisions by values near zero.
MAX_MODULATION = 5.0


@dataclass(frozen=True)
class MtfGlpHpm(InjectionModel):
    """Multiply every band by its synthetic guide over the low frequencies of that guide."""

    uses_ratios: ClassVar[bool] = True

    def inject(self, state: Injection, cube: Tensor, guide: Tensor, operator: Operator) -> Sharpened:  # noqa: ARG002
        """Return the injection on one window; see `InjectionModel.inject`."""
        smooth = operator.upsample(operator.degrade(guide))

        def sharpened(up: Tensor, rows: slice) -> Tensor:
            sharp, low = (linear_combinations(state.synthesis[rows], v) for v in (guide, smooth))
            # Where the low frequencies are zero the factor is not defined, and no detail is injected.
            factor = torch.where(low.abs() > 0, sharp / low, 1.0)
            return up * factor.clamp(0, MAX_MODULATION)

        return sharpened


MODEL = MtfGlpHpm("mtf-glp-hpm", "Baseline: MTF-matched Laplacian pyramid, high-pass modulation (Aiazzi et al., 2006).")
