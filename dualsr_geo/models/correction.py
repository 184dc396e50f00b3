"""What our own networks add to the training-free start of one window.

Where the guide is, the guided network corrects the mixture of candidates; where it is not, the
other one adds the detail that interpolation lacks. Both correct a few anchors, and the scene's own
linear relations carry that to all bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.prepared_guide import ramp
from dualsr_geo.fusion.spectra import DetailPlanes
from dualsr_geo.models import guided_correction, unguided_correction
from dualsr_geo.models.definition import LearnedCorrection
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.loading import guided_network, unguided_network
from dualsr_geo.raster.windows import Window

# A pixel of at least this weight has no hole near: of degraded weights, 1 but for rounding.
WHOLE = 0.999


@dataclass(frozen=True)
class PairEvidence:
    """What one of the scene's Wald pairs said of a correction.

    Attributes
    ----------
    ratio : int
    best : float
        The share of the correction that would have been best there.
    error : float
        Its standard error; infinite where the pair is too small to have one.
    excess : float
        The correction's energy on the scene over that on its degraded versions, see `lonegate`.
    """

    ratio: int
    best: float
    error: float
    excess: float = 1.0


@dataclass(frozen=True)
class CorrectionState:
    """How our networks correct a scene; part of the survey.

    Attributes
    ----------
    guided : GuidedInputs or None
        Where the guide is; None without one.
    alone : Known
        Where it is not.
    guided_asked, alone_asked : tuple of PairEvidence
        On what their shares rest; empty where the scene was not asked.
    """

    guided: GuidedInputs | None
    alone: unguided_correction.UnguidedInputs
    guided_asked: tuple[PairEvidence, ...] = ()
    alone_asked: tuple[PairEvidence, ...] = ()


def learned_detail(
    ours: LearnedCorrection,
    known: CorrectionState,
    window: guided_correction.GuidedWindow | None,
    seen: Tensor,
    weight: Tensor | None,
    psf: Psf,
    plain: Consistency,
    core: Window,
) -> tuple[DetailPlanes, ...]:
    """Return what is added to the start of a window's core.

    Parameters
    ----------
    ours : LearnedCorrection
        The networks.
    known : CorrectionState
    window : guided.Window or None
        The start where a guide is; None without one.
    seen : Tensor, shape (band, y, x)
        The filled lr window, as `alone.observed` gives it.
    weight : Tensor, shape (y, x), or None
        How valid a pixel is.
    psf : Psf
    plain : Consistency
        The closed form of bands, without ridges.
    core : Window
        hr pixels, in the window's own coordinates.
    """
    blend = None if window is None else window.guided.guide.blend
    made: list[tuple[Tensor, AnchorBands]] = []
    if window is not None and known.guided is not None and known.guided.share > 0:
        assert ours.guided is not None
        network = guided_network(ours.guided, seen.device.type)
        made.append((guided_correction.correct(network, window, known.guided), known.guided.anchors))
    if (window is None or blend is not None) and known.alone.share > 0:
        assert ours.alone is not None
        lone = unguided_network(ours.alone, seen.device.type)
        detail = unguided_correction.correct(lone, seen, known.alone.levels, known.alone.anchors.bands, psf, plain)
        counts = faded(detail, None if blend is None else 1 - blend, weight)
        part = detail if counts is None else unguided_correction.null_space_part(detail * counts, plain)
        made.append((part * known.alone.share, known.alone.anchors))
    rows, columns = core.slices
    return tuple(
        DetailPlanes(planes[:, rows, columns].flatten(1), torch.from_numpy(a.spread).to(planes)) for planes, a in made
    )


def faded(like: Tensor, used: Tensor | None, weight: Tensor | None) -> Tensor | None:
    """Return how much a correction counts, (Y, X): where it is used, 0..1, and away from holes; None for all of it.

    What a hole is filled with has no detail, and a network would take its rim for an edge.
    """
    if weight is None:
        return used
    whole = ramp(weight > WHOLE, like)
    return whole if used is None else used * whole
