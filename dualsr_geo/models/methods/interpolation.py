"""Area-to-point kriging of the spectral components, consistent with the scene, without a guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dualsr_geo.fusion.wald.pairs import WaldPair
from dualsr_geo.models.definition import Model
from dualsr_geo.models.methods._guard import guard, guarded_block
from dualsr_geo.models.methods._spectral import restored, spectral_window
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs


@dataclass(frozen=True)
class Interpolation(Model):
    """Interpolate the spectral components by the closed form."""

    def reconstruct(self, inputs: WindowInputs, state: Any) -> Reconstruction:  # noqa: ARG002
        """Interpolate a window; see `Model.reconstruct`."""
        return guard(spectral_window(inputs, None, None), inputs)

    def restore(self, pair: WaldPair, state: Any) -> list[Tensor]:  # noqa: ARG002
        """Return the interpolated blocks of a Wald pair; see `Model.restore`."""
        restorations = zip(pair.blocks, restored(pair, None), strict=True)
        return [guarded_block(spectra.bands(slice(None)), b.cube, pair.space) for b, (spectra, _) in restorations]


MODEL = Interpolation(
    "interpolation",
    "No guide: area-to-point kriging of the spectral components, consistent with the scene.",
    guided=False,
    spectral=True,
    fine="consistency",
    seconds_per_million=(0.22, 0.08),
)
