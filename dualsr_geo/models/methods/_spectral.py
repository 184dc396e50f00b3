"""The training-free start of a window and of a Wald pair, for the models on spectral components."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.fusion import coarse_stage
from dualsr_geo.fusion.coarse_stage import GuidedStart
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.spectra import Spectra, core_spectra
from dualsr_geo.fusion.uncertainty import ConsistentStart
from dualsr_geo.fusion.wald.pairs import WaldPair
from dualsr_geo.fusion.wald.starts import consistent_start
from dualsr_geo.models.reconstruction import SpectralReconstruction, WindowInputs
from dualsr_geo.raster.windows import Window


def spectral_window(
    inputs: WindowInputs,
    fit: GuideFit | None,
    ridges: NDArray[np.float32] | None,
    passes: int = 0,
    *,
    is_corrected: bool = False,
) -> SpectralReconstruction:
    """Return the training-free start of a window.

    Parameters
    ----------
    inputs : WindowInputs
    fit : GuideFit or None
        Regressions on the guide; None without a guide.
    ridges : array, shape (component,), or None
        Ridges of the closed form where the guide is used; None without a guide.
    passes : int
        How often the residual is smoothed where the guide is used.
    is_corrected : bool
        Whether a network corrects the start; it needs the inputs of the regressions again.
    """
    statistics, guided = inputs.statistics, None
    unguided_form = inputs.closed_form(statistics.ridges.tolist())
    closed = unguided_form if ridges is None else inputs.closed_form(ridges.tolist())
    if fit is not None and inputs.guide is not None:
        guided = GuidedStart(inputs.guide, fit.fit, torch.from_numpy(fit.mixture), passes)
        if is_corrected:
            guided = guided.with_inputs(inputs.components, inputs.weight, closed.operator)
    hr = coarse_stage.sharpen(
        inputs.components, inputs.weight, guided, closed, unguided_form, consistent=inputs.consistent
    )
    core = inputs.part.scaled(inputs.ratio)
    spectra = core_spectra(statistics.space, inputs.cube, inputs.components, hr, inputs.operator, core)
    expand = torch.from_numpy(statistics.space.expand).to(inputs.cube.device)
    start = ConsistentStart(expand, inputs.components, hr, closed, guided, inputs.weight)
    return SpectralReconstruction(spectra, inputs.part, start)


def restored(pair: WaldPair, fit: GuideFit | None) -> Iterator[tuple[Spectra, ConsistentStart]]:
    """Yield the training-free start of each block of a Wald pair, computed as that of a tile."""
    pair_fit = None if fit is None else pair.guide_fit(fit.weights)
    for block in pair.blocks:
        start = consistent_start(block, pair.blur, pair.space, pair_fit, as_tile=True)
        core = Window(0, block.shape[0], 0, block.shape[1]).scaled(pair.ratio)
        yield (
            core_spectra(pair.space, block.cube, start.components, start.hr, start.closed.operator, core),
            start,
        )
