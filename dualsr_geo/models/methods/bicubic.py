"""Plain bicubic interpolation, the baseline of the literature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dualsr_geo.models.definition import Model
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs, band_by_band, interpolated

# Parameter of the kernel, as in OpenCV and torch.
CUBIC_A = -0.75


@dataclass(frozen=True)
class Bicubic(Model):
    """Interpolate every band at the phase of the grid; neither blur nor guide is used."""

    @property
    def record(self) -> dict[str, Any]:
        """All that the model promises, its kernel among it."""
        return {**super().record, "cubic_a": CUBIC_A}

    def reconstruct(self, inputs: WindowInputs, state: Any) -> Reconstruction:  # noqa: ARG002
        """Interpolate a window; see `Model.reconstruct`."""
        window = inputs.with_cubic(CUBIC_A)
        if not window.consistent:
            return interpolated(window)
        return band_by_band(window, lambda lr, _: window.operator.upsample(lr))


MODEL = Bicubic("bicubic", "Plain bicubic interpolation of every band, the baseline.", guided=False)
