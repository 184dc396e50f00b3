"""The learned correction of the training-free start of one window.

Where a guide is available, the guided network corrects the mixture of candidates; elsewhere the unguided
network adds the detail that interpolation lacks. Both correct a few anchor bands, and linear relations of
the scene carry the correction to all bands.
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
from dualsr_geo.models.guided_inputs import GuidedInputs, GuidedWindow
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
        Whether the correction is shrunk by factors estimated on the scene's Wald pairs.
    guided, unguided : Weights or None
        For places with and without a guide; None until `Model.configured` sets them.
    orientations : int
        Number of flips and quarter turns over which the unguided network is averaged, 1 to 8; each takes one more pass.
    """

    shrinks: bool
    guided: Weights | None = None
    unguided: Weights | None = None
    orientations: int = 1

    @property
    def weights(self) -> dict[str, Weights]:
        """The networks by their ids."""
        each = {"guided": self.guided, "alone": self.unguided}
        return {k: w for k, w in each.items() if w is not None}

    @property
    def identity(self) -> dict[str, object]:
        """Everything that determines the correction; the keys are those of run records."""
        more = {} if self.orientations == 1 else {"orientations": self.orientations}
        return {"gated": self.shrinks, **{k: w.identity for k, w in self.weights.items()}, **more}


@dataclass(frozen=True)
class PairEvidence:
    """The evidence of one Wald pair for the shrinkage of a correction.

    Attributes
    ----------
    ratio : int
    best : float
        Factor of the correction with the least squared error on the pair.
    error : float
        Standard error of `best`; infinite if the pair is too small for an estimate.
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
    """Inputs of both networks that are fixed for a scene, with their shrinkage; part of the model's state.

    Attributes
    ----------
    guided : GuidedInputs or None
        None without a guide.
    unguided : UnguidedInputs
    guided_evidence, unguided_evidence : tuple of PairEvidence
        Evidence for the shrinkage factors; empty without shrinkage.
    """

    guided: GuidedInputs | None
    unguided: UnguidedInputs
    guided_evidence: tuple[PairEvidence, ...] = ()
    unguided_evidence: tuple[PairEvidence, ...] = ()


def learned_detail(
    networks: LearnedCorrection,
    state: CorrectionState,
    window: GuidedWindow | None,
    observed: Tensor,
    weight: Tensor | None,
    psf: Psf,
    plain: Consistency,
    core: Window,
) -> tuple[DetailPlanes, ...]:
    """Return the corrections that are added to the start of a window's core.

    Parameters
    ----------
    networks : LearnedCorrection
    state : CorrectionState
    window : GuidedWindow or None
        The guided start; None without a guide.
    observed : Tensor, shape (band, y, x)
        The lr window of `unguided_correction.observed`.
    weight : Tensor, shape (y, x), or None
        Validity of the pixels, 0..1; None if all are valid.
    psf : Psf
    plain : Consistency
        The closed form of bands, without ridges.
    core : Window
        hr pixels, in coordinates of the window.
    """
    blend = None if window is None else window.guided.guide.blend
    parts: list[tuple[Tensor, AnchorBands]] = []
    if window is not None and state.guided is not None and state.guided.share > 0:
        assert networks.guided is not None
        network = guided_network(networks.guided, observed.device.type)
        parts.append((guided_correction.correct(network, window, state.guided, core), state.guided.anchors))
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
    """Return the unguided correction of the anchors outside the guide, shrunk, (anchor, Y, X)."""
    assert networks.unguided is not None
    network = unguided_network(networks.unguided, observed.device.type)
    detail = unguided_correction.correct(
        network, observed, inputs.levels, inputs.anchors.bands, psf, plain, orientations=networks.orientations
    )
    used = faded(detail, None if blend is None else 1 - blend, weight)
    return (detail if used is None else _kept(detail, used, plain)) * inputs.share


def _kept(detail: Tensor, used: Tensor, plain: Consistency) -> Tensor:
    """Return a correction where it is used, (anchor, Y, X), so that it still degrades to nothing.

    The projection is not idempotent. What a second one would change is added back, so that the correction is 0
    and unchanged where its weight is 0 and 1, as in tiles that have no other place.
    """
    changed = detail - unguided_correction.null_space_part(detail, plain)
    return unguided_correction.null_space_part(detail * used, plain) + used * changed


def whole_core(shape: tuple[int, int], ratio: int) -> Window:
    """Return the whole of a window with this lr shape, hr pixels."""
    return Window(0, shape[0], 0, shape[1]).scaled(ratio)


def faded(like: Tensor, used: Tensor | None, weight: Tensor | None) -> Tensor | None:
    """Return the weight of a correction, (Y, X), 0..1, which fades to 0 at holes; None for 1 everywhere.

    The filling of a hole has no detail, and a network would sharpen its rim as an edge.
    """
    if weight is None:
        return used
    whole = ramp(weight > WHOLE_WEIGHT, like)
    return whole if used is None else used * whole
