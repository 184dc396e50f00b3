"""My model, a template: high-pass detail of the guide, added to each band with one gain (docs/extend/model.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.fusion.blocks import guided_pixels
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample
from dualsr_geo.models.definition import Model
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs, band_by_band


@dataclass(frozen=True)
class MyState:
    """Estimates for the whole scene; the run saves them as JSON.

    Attributes
    ----------
    gain : array, shape (band,)
        Slope of each used band against the mean of the guide's bands.
    """

    gain: NDArray[np.float32]


@dataclass(frozen=True)
class MyModel(Model):
    """Interpolate every band, and add the guide's detail with the band's gain."""

    state_type = MyState

    def estimate(self, sample: FilledSample, common: CommonEstimates) -> MyState | None:  # noqa: ARG002
        """Regress each band on the degraded guide; None if the guide covers too little of the scene."""
        if common.pairs is None:
            return None
        spectra, guide, weight = guided_pixels(common.blocks, common.psf)
        pan = guide.mean(0)
        pan = pan - np.average(pan, weights=weight)
        gain = (spectra * pan * weight).sum(1) / max(float((pan**2 * weight).sum()), 1e-30)
        return MyState(gain.astype(np.float32))

    def reconstruct(self, inputs: WindowInputs, state: MyState | None) -> Reconstruction:
        """Sharpen a window; it is interpolated where there is no guide."""
        operator, guide = inputs.operator, inputs.guide

        def sharpened(lr: Tensor, rows: slice) -> Tensor:
            """Return bands `rows` on the target grid, (band, Y, X), from the lr bands (band, y, x)."""
            bands = operator.upsample(lr)
            if guide is None or state is None:
                return bands
            pan = guide.values.mean(0, keepdim=True)
            detail = pan - operator.upsample(operator.degrade(pan))
            if inputs.blend is not None:  # the guide ends in this window
                detail = detail * inputs.blend
            return bands + lr.new_tensor(state.gain[rows])[:, None, None] * detail

        return band_by_band(inputs, sharpened)


MODEL = MyModel("my-model", "My model: high-pass detail of the guide, one gain for each band.")
