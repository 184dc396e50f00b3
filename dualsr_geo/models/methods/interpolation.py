"""Area-to-point kriging of the spectral components, consistent with the scene, without a guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dualsr_geo.fusion.wald.pairs import WaldPair
from dualsr_geo.models.definition import Model
from dualsr_geo.models.methods._spectral import restored, spectral_window
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs


@dataclass(frozen=True)
class Interpolation(Model):
    """Interpolate the spectral components by the closed form."""

    def reconstruct(self, inputs: WindowInputs, state: Any) -> Reconstruction:  # noqa: ARG002
        """Interpolate a window; see `Model.reconstruct`."""
        return spectral_window(inputs, None, None)

    def restore(self, pair: WaldPair, state: Any) -> list[Tensor]:  # noqa: ARG002
        """Return the interpolated blocks of a Wald pair; see `Model.restore`."""
        return [spectra.bands(slice(None)) for spectra, _ in restored(pair, None)]


MODEL = Interpolation(
    "interpolation",
    "No guide: area-to-point kriging of the spectral components, consistent with the scene.",
    guided=False,
    spectral=True,
    fine="consistency",
    seconds_per_million=(0.22, 0.08),
)
