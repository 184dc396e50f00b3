"""Gram-Schmidt adaptive (Aiazzi, Baronti & Selva, 2007): up(L_b) + g_b (P - up(I)), see `fusion.injection`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.injection import Injection, Sharpened, linear_combinations
from dualsr_geo.models.methods._injection import InjectionModel


@dataclass(frozen=True)
class GramSchmidtAdaptive(InjectionModel):
    """Add to each band a gain times the guide less the intensity, a linear combination of the bands."""

    def inject(self, state: Injection, cube: Tensor, guide: Tensor, operator: Operator) -> Sharpened:
        """Return the injection on one window; see `InjectionModel.inject`."""
        detail = guide - operator.upsample(linear_combinations(state.intensity, cube))
        gain = torch.from_numpy(state.gain).to(cube)
        chosen = torch.from_numpy(state.guide_band.astype(np.int64)).to(cube.device)
        return lambda up, rows: up + gain[rows, None, None] * detail[chosen[rows]]


MODEL = GramSchmidtAdaptive("gsa", "Baseline: Gram-Schmidt adaptive (Aiazzi et al., 2007).")
