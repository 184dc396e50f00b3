"""What the learned networks add to the training-free start of one window.

Where the guide is, the guided network corrects the mixture of candidates; elsewhere the unguided
network adds the detail that interpolation lacks. Both correct a few anchor bands, and linear
relations of the scene carry that to all bands.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.blocks import WHOLE_WEIGHT
from dualsr_geo.fusion.prepared_guide import ramp
from dualsr_geo.fusion.spectra import DetailPlanes
from dualsr_geo.models import guided_correction, unguided_correction
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.loading import guided_network, unguided_network
from dualsr_geo.models.unguided_correction import UnguidedInputs
from dualsr_geo.models.weights import Weights
from dualsr_geo.raster.windows import Window


@dataclass(frozen=True)
class LearnedCorrection:
    """The two networks that correct a training-free start.

    Attributes
    ----------
    shrinks : bool
        Whether the scene's own Wald pairs decide by how much they correct.
    guided, unguided : Weights or None
        Where a guide is, and where none is; None until they are looked up.
    """

    shrinks: bool
    guided: Weights | None = None
    unguided: Weights | None = None

    @property
    def weights(self) -> dict[str, Weights]:
        """The networks by their ids."""
        each = {"guided": self.guided, "alone": self.unguided}
        return {k: w for k, w in each.items() if w is not None}

    @property
    def identity(self) -> dict[str, object]:
        """All that decides what they compute; the keys are those of run records."""
        return {"gated": self.shrinks, **{k: w.identity for k, w in self.weights.items()}}


@dataclass(frozen=True)
class PairEvidence:
    """What one Wald pair of the scene shows of a correction.

    Attributes
    ----------
    ratio : int
    best : float
        The factor of the correction that would have been best there.
    error : float
        Its standard error; infinite where the pair is too small to have one.
    excess : float
        Energy of the correction on the scene over that on its degraded versions, see `unguided_shrinkage`.
    """

    ratio: int
    best: float
    error: float
    excess: float = 1.0

    def record(self) -> dict[str, Any]:
        """Return the evidence as provenance records it; the error is None where it is infinite."""
        return {**asdict(self), "error": self.error if math.isfinite(self.error) else None}


@dataclass(frozen=True)
class CorrectionState:
    """How the learned networks correct a scene; part of the model's state.

    Attributes
    ----------
    guided : GuidedInputs or None
        Where the guide is; None without one.
    unguided : UnguidedInputs
        Elsewhere.
    guided_evidence, unguided_evidence : tuple of PairEvidence
        What their shrinkage factors rest on; empty where shrinkage is switched off.
    """

    guided: GuidedInputs | None
    unguided: UnguidedInputs
    guided_evidence: tuple[PairEvidence, ...] = ()
    unguided_evidence: tuple[PairEvidence, ...] = ()


def learned_detail(
    networks: LearnedCorrection,
    state: CorrectionState,
    window: guided_correction.GuidedWindow | None,
    observed: Tensor,
    weight: Tensor | None,
    psf: Psf,
    plain: Consistency,
    core: Window,
) -> tuple[DetailPlanes, ...]:
    """Return what is added to the start of a window's core.

    Parameters
    ----------
    networks : LearnedCorrection
    state : CorrectionState
    window : GuidedWindow or None
        The start where a guide is; None without one.
    observed : Tensor, shape (band, y, x)
        The filled lr window, as `unguided_correction.observed` gives it.
    weight : Tensor, shape (y, x), or None
        How valid a pixel is.
    psf : Psf
    plain : Consistency
        The closed form of bands, without ridges.
    core : Window
        hr pixels, in the window's own coordinates.
    """
    blend = None if window is None else window.guided.guide.blend
    parts: list[tuple[Tensor, AnchorBands]] = []
    if window is not None and state.guided is not None and state.guided.share > 0:
        assert networks.guided is not None
        network = guided_network(networks.guided, observed.device.type)
        parts.append((guided_correction.correct(network, window, state.guided), state.guided.anchors))
    if (window is None or blend is not None) and state.unguided.share > 0:
        parts.append((_unguided_detail(networks, state.unguided, observed, blend, weight, psf, plain),
                      state.unguided.anchors))  # fmt: skip
    rows, columns = core.slices
    return tuple(
        DetailPlanes(planes[:, rows, columns].flatten(1), torch.from_numpy(a.spread).to(planes)) for planes, a in parts
    )


def _unguided_detail(
    networks: LearnedCorrection,
    inputs: UnguidedInputs,
    observed: Tensor,
    blend: Tensor | None,
    weight: Tensor | None,
    psf: Psf,
    plain: Consistency,
) -> Tensor:
    """Return the unguided correction of the anchors where no guide is, shrunk, (anchor, Y, X)."""
    assert networks.unguided is not None
    network = unguided_network(networks.unguided, observed.device.type)
    detail = unguided_correction.correct(network, observed, inputs.levels, inputs.anchors.bands, psf, plain)
    used = faded(detail, None if blend is None else 1 - blend, weight)
    part = detail if used is None else unguided_correction.null_space_part(detail * used, plain)
    return part * inputs.share


def whole_core(shape: tuple[int, int], ratio: int) -> Window:
    """Return all of a window of so many lr rows and columns, hr pixels."""
    return Window(0, shape[0], 0, shape[1]).scaled(ratio)


def faded(like: Tensor, used: Tensor | None, weight: Tensor | None) -> Tensor | None:
    """Return how far a correction is used, (Y, X), 0..1: where it applies and away from holes; None for everywhere.

    What a hole is filled with has no detail, and a network would take its rim for an edge.
    """
    if weight is None:
        return used
    whole = ramp(weight > WHOLE_WEIGHT, like)
    return whole if used is None else used * whole
