"""The common part of the classic baselines, which inject the guide's detail by one rule for the whole scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.blocks import guided_pixels
from dualsr_geo.fusion.injection import Injection, Sharpened, fit_injection
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample
from dualsr_geo.models.definition import Model
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs, band_by_band, interpolated


@dataclass(frozen=True)
class InjectionModel(Model):
    """A baseline; subclasses define the rule by which the guide's detail is injected."""

    needs_guide: bool = True

    state_type = Injection
    # Parameter of the bicubic kernel for a method that interpolates at the phase of the grid; None for one that
    # interpolates at the phase of the blur.
    cubic_a: ClassVar[float | None] = None

    @property
    def record(self) -> dict[str, Any]:
        """All that the model promises, its rule among it."""
        return {**super().record, "injection": self.name, "cubic_a": self.cubic_a}

    def estimate(self, sample: FilledSample, common: CommonEstimates) -> Injection | None:  # noqa: ARG002
        """Fit the statistics of the rule; None if the guide covers too little of the scene."""
        return None if common.pairs is None else fit_injection(*guided_pixels(common.blocks, common.psf))

    def inject(self, state: Injection, cube: Tensor, guide: Tensor, operator: Operator) -> Sharpened:
        """Return a function that injects the guide's detail into interpolated bands of one window.

        Parameters
        ----------
        state : Injection
        cube : Tensor, shape (band, y, x)
            The filled lr window.
        guide : Tensor, shape (guide band, ratio * y, ratio * x)
        operator : Operator
        """
        raise NotImplementedError

    def reconstruct(self, inputs: WindowInputs, state: Injection | None) -> Reconstruction:
        """Sharpen a window; outside the guide it is interpolated."""
        window = inputs if self.cubic_a is None else inputs.with_cubic(self.cubic_a)
        inject = self._injector(window, state)
        if inject is None and not window.consistent:
            return interpolated(window)

        def sharpened(lr: Tensor, rows: slice) -> Tensor:
            up = window.operator.upsample(lr)
            return up if inject is None else inject(up, rows)

        return band_by_band(window, sharpened)

    def _injector(self, inputs: WindowInputs, state: Injection | None) -> Sharpened | None:
        """Return the function of `inject`, faded out towards the edge of the guide; None without a guide."""
        if state is None or inputs.guide is None:
            return None
        inject, blend = self.inject(state, inputs.cube, inputs.guide.values, inputs.operator), inputs.blend
        if blend is None:
            return inject
        return lambda up, rows: torch.lerp(up, inject(up, rows), blend)
