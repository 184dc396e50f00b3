"""The guided correction of one window: a network mixes the candidates again at every pixel.

The start mixes the candidates with weights w that are the same in the whole scene. The network adapts the
weights at every pixel of a few anchors, and adds a residual, in units of the regression error e:

    d = sum_k (softmax(log w_k + c l_k) - w_k) (candidate_k - start) + c' e residual

The network mixes the candidates that it was trained with, `NETWORK_CANDIDATES`. Where the start contains others, k are
those of the network, w_k their weights divided by their sum, and d is relative to the mixture of them. The others keep
their weights in the start, which d is added to.

The closed form removes the part of d that the sensor would have recorded, so that the sum is as
consistent with the scene as the start. All candidates are linear in the spectral components, so each
anchor needs only its own fit (docs/algorithm.md).

On clean scenes the anchors are bands; on noisy scenes they are the leading spectral components. Every
step is a pure function of finite support, so a tile with its halo equals the same part of the whole scene.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dualsr_geo.degradation.consistency import REACH_LR, Consistency
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates
from dualsr_geo.fusion.candidates import Candidate, Clustered, ClusteredLocal, Line, Local, Unguided
from dualsr_geo.fusion.regression_inputs import standardise
from dualsr_geo.models.guided_inputs import GuidedInputs, GuidedWindow
from dualsr_geo.models.networks import guided as network_of
from dualsr_geo.models.networks.spectral_context import relation_features
from dualsr_geo.models.unguided_correction import null_space_part, nyquist_gains
from dualsr_geo.raster.windows import Window

# The candidates that the shipped network was trained with, in the order of its planes.
NETWORK_CANDIDATES: tuple[Candidate, ...] = (
    Local(1.0, 1e-3),
    Local(1.5, 3e-2),
    Local(1.5, 0.5),
    Line(),
    Clustered(6),
    ClusteredLocal(8, 1.5, 1e-2),
    Unguided(),
)
# Those whose lr residual the network reads, to assess the guide at a place: Line, two Locals, Clustered.
RESIDUAL_CANDIDATES = (3, 0, 2, 4)
# Factors on the network's outputs: on the logits, and on the residual, which is in errors of the regression.
LOGIT_SCALE, RESIDUAL_SCALE = 3.0, 0.3
# Planes are clipped to so many of their units.
LARGEST_INPUT_STD = 8.0
# The constant of an MTF gain is (gain - GAIN_CENTRE) * GAIN_SCALE.
GAIN_CENTRE, GAIN_SCALE = 0.3, 4.0
# The constant of the noise is at most so many standard deviations of its band.
MAX_NOISE_STD = 3.0
# Correlations with the guide are limited to this; above 1 they are where noise is a good part of a band.
MAX_CORRELATION = 1.5
# The weight of a candidate is no less than this before its logarithm is taken.
MIN_WEIGHT = 1e-3
# Anchors that are corrected together by a network that corrects each by itself; bounds the memory of a tile.
ANCHORS_AT_ONCE = 4


@dataclass(frozen=True)
class NetworkInput:
    """Inputs of the network for some anchors, and the terms that its outputs weigh.

    Attributes
    ----------
    planes : Tensor, shape (anchor, plane, Y, X)
    constants : Tensor, shape (anchor, constant)
    others : Tensor, shape (anchor, candidate, Y, X)
        The network's candidates less their mixture; each degrades to zero.
    weights : Tensor, shape (anchor, candidate)
        Weights of the network's candidates in their mixture; rows sum to 1.
    error : Tensor, shape (anchor,)
        Error of the scene-wide regression, the unit of the residual.
    relations : Tensor, shape (anchor, anchor, relation)
        Of the anchors, see `dualsr_geo.models.networks.spectral_context.relation_features`.
    """

    planes: Tensor
    constants: Tensor
    others: Tensor
    weights: Tensor
    error: Tensor
    relations: Tensor

    def rows(self, rows: Tensor | slice) -> NetworkInput:
        """Return the input of some of the anchors."""
        planes, constants, others = (v[rows] for v in (self.planes, self.constants, self.others))
        return NetworkInput(
            planes, constants, others, self.weights[rows], self.error[rows], self.relations[rows][:, rows]
        )


@dataclass(frozen=True)
class AnchorPlanes:
    """What the network reads of some anchors of a window, in physical units.

    The network's input copies most of these planes, so it is formed piece by piece; see `part`.

    Attributes
    ----------
    starts : Tensor, shape (anchor, 3, Y, X)
        The mixture of the network's candidates of the anchor, and the starts of the bands before and after it.
    others : Tensor, shape (anchor, candidate, Y, X)
        As in `NetworkInput`.
    residuals : Tensor, shape (anchor, plane, Y, X)
    guide : Tensor, shape (plane, Y, X)
    constants : Tensor, shape (anchor, constant)
    weights : Tensor, shape (anchor, candidate)
    error : Tensor, shape (anchor,)
    std : Tensor, shape (anchor, 3)
        Standard deviations of the bands of `starts`.
    relations : Tensor, shape (anchor, anchor, relation)
    """

    starts: Tensor
    others: Tensor
    residuals: Tensor
    guide: Tensor
    constants: Tensor
    weights: Tensor
    error: Tensor
    std: Tensor
    relations: Tensor

    def part(self, rows: slice = slice(None), place: tuple[slice, slice] = (slice(None), slice(None))) -> NetworkInput:
        """Return the input of the network for some of the anchors and a part of the window.

        Parameters
        ----------
        rows : slice
            Anchors.
        place : (slice, slice)
            Rows and columns of the window, pixels of the target grid.
        """
        starts, others, residuals = (v[(rows, slice(None), *place)] for v in (self.starts, self.others, self.residuals))
        std, error = self.std[rows, :, None, None], self.error[rows, None, None, None]
        guide = self.guide[(slice(None), *place)]
        parts = [
            starts[:, :1] / std[:, :1],
            others[:, :-1] / error,
            others[:, -1:] / std[:, :1],
            residuals / error,
            starts[:, 1:] / std[:, 1:],
            guide.expand(len(starts), *guide.shape),
        ]
        planes = torch.cat(parts, 1).clamp_(-LARGEST_INPUT_STD, LARGEST_INPUT_STD)
        relations = self.relations[rows, rows]
        return NetworkInput(planes, self.constants[rows], others, self.weights[rows], self.error[rows], relations)


def network_input(window: GuidedWindow, terms: GuidedInputs, anchors: Sequence[int]) -> NetworkInput:
    """Return the inputs of the network for some anchors of a window, given as bands or components."""
    return anchor_planes(window, terms, anchors).part()


def anchor_planes(window: GuidedWindow, terms: GuidedInputs, anchors: Sequence[int]) -> AnchorPlanes:
    """Return what the network reads of some anchors of a window, given as bands or components."""
    some = list(anchors)
    places = [terms.anchors.bands.index(i) for i in some]
    std, error, noise, weights = (
        torch.from_numpy(v).to(window.cube) for v in (terms.std, terms.error, terms.noise, terms.weights)
    )
    tiny = torch.finfo(window.cube.dtype).tiny
    std, error = std.clamp_min(tiny), error.clamp_min(tiny)
    others, residuals = _others(window, terms, some)
    own, rest = _own_weights(weights[some])
    near = torch.tensor([[i, max(i - 1, 0), min(i + 1, len(std) - 1)] for i in some])
    starts = _starts(window, near, spectral=terms.spectral)
    if rest:
        mixture = torch.einsum("ac,acyx->ayx", own, others)
        others -= mixture[:, None]
        starts[:, 0] += mixture
    correlations, with_guide = (
        torch.from_numpy(v).to(window.cube) for v in (terms.correlations, terms.guide_correlations)
    )
    constants = _constants(terms, window.psf, std[some], error[some], noise[some], own)
    constants = torch.cat([constants, with_guide[places].clamp(-MAX_CORRELATION, MAX_CORRELATION)], 1)
    relations = relation_features(correlations[:, places][:, :, places])
    guide = _guide(window, terms)
    return AnchorPlanes(starts, others, residuals, guide, constants, own, error[some], std[near], relations)


def _starts(window: GuidedWindow, near: Tensor, *, spectral: bool) -> Tensor:
    """Return the starts of the anchors and of their neighbours, (anchor, 3, Y, X); each is computed once."""
    each, place = torch.unique(near, return_inverse=True)
    return window.start(each.tolist(), spectral=spectral)[place]


def _network_indices() -> list[int]:
    """Return the indices of the network's candidates among all."""
    return [candidates.CANDIDATES.index(candidate) for candidate in NETWORK_CANDIDATES]


def _own_weights(weights: Tensor) -> tuple[Tensor, bool]:
    """Return the weights of the network's candidates in their mixture, and whether the start contains others.

    Parameters
    ----------
    weights : Tensor, shape (anchor, candidate)
    """
    mixed = _network_indices()
    others = [index for index in range(weights.shape[1]) if index not in mixed]
    rest = weights[:, others].sum(1, keepdim=True)
    return weights[:, mixed] / (1 - rest).clamp_min(torch.finfo(weights.dtype).eps), bool((rest > 0).any())


def _plane(values: Tensor) -> Tensor:
    return values[:, None, None]


def _constants(terms: GuidedInputs, psf: Psf, std: Tensor, error: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
    """Return the constants of some anchors, (anchor, constant): first their own, then those of the window."""
    gains = [(gain - GAIN_CENTRE) * GAIN_SCALE for gain in nyquist_gains(psf)]
    shared = [math.log2(min(psf.ratio, network_of.MAX_FULL_RATIO)) / 3, float(terms.spectral), *gains]
    own = torch.stack([(error / std).log() / 3, (noise / std).clamp(max=MAX_NOISE_STD)], 1)
    return torch.cat([own, own.new_tensor(shared).expand(len(own), -1), weights.sqrt()], 1)


def _guide(window: GuidedWindow, terms: GuidedInputs) -> Tensor:
    """Return the principal components of the guide, (plane, Y, X)."""
    guide = standardise(window.guided.guide.values, window.guided.fit)
    directions = torch.from_numpy(terms.look).to(guide)
    return (directions @ guide.flatten(1)).view(-1, *guide.shape[1:])


def _others(window: GuidedWindow, terms: GuidedInputs, anchors: list[int]) -> tuple[Tensor, Tensor]:
    """Return the network's candidates less the start, (anchor, candidate, Y, X), and residuals, (anchor, plane, Y, X).

    The residuals are root mean squares over 3 x 3 lr pixels, upsampled; see `RESIDUAL_CANDIDATES`.
    """
    operator = window.closed.operator
    rows = torch.eye(len(window.components)).to(window.hr)[anchors] if terms.spectral else window.expand[anchors]
    observed = torch.einsum("bk,kyx->byx", rows, window.components)
    start = torch.einsum("bk,kyx->byx", rows, window.hr)
    pair = replace(window.pair, components=observed, fit=window.guided.fit.combined(rows.cpu().numpy()))
    others = candidates.evaluate_each(pair, _network_indices())
    lr = operator.degrade(others)
    residuals = observed - lr[list(RESIDUAL_CANDIDATES)]
    others -= start
    lr -= operator.degrade(start)
    for candidate, residual in zip(others, lr.neg_(), strict=True):
        for row, anchor in enumerate(anchors):
            # Without ridges, as on clean scenes, the closed form is the same for every band and component.
            first = anchor if terms.spectral else 0
            window.closed.add_spread(candidate[row : row + 1], residual[row : row + 1], first)
    near = torch.nn.functional.avg_pool2d(residuals.square(), 3, 1, 1, count_include_pad=False).sqrt()
    return others.transpose(0, 1), operator.upsample(near.transpose(0, 1)).clamp_min(0)


def detail(inputs: NetworkInput, logits: Tensor, residual: Tensor) -> Tensor:
    """Return the correction that the network's outputs give, (anchor, Y, X), physical units.

    Parameters
    ----------
    inputs : NetworkInput
    logits : Tensor, shape (anchor, candidate, Y, X)
    residual : Tensor, shape (anchor, Y, X)
    """
    weights = inputs.weights.clamp_min(MIN_WEIGHT)
    weights = (weights / weights.sum(1, keepdim=True))[:, :, None, None]
    changes = torch.softmax(torch.add(weights.log(), logits, alpha=LOGIT_SCALE), 1) - weights
    return changes.mul_(inputs.others).sum(1) + RESIDUAL_SCALE * _plane(inputs.error) * residual


@dataclass(frozen=True, eq=False)
class NullSpace:
    """The corrections that a sensor would not record.

    Attributes
    ----------
    closed : Consistency
        The closed form of the window.
    spectral : bool
        Whether the anchors are spectral components, each with its own ridge.
    blend : Tensor, shape (Y, X), or None
        Weight of the guide, 0..1; None where it is 1 everywhere.
    """

    closed: Consistency
    spectral: bool
    blend: Tensor | None = None

    def part(self, correction: Tensor, anchors: Sequence[int]) -> Tensor:
        """Return the part of a correction of some anchors (anchor, Y, X) that the sensor would not have recorded."""
        correction = correction if self.blend is None else correction * self.blend
        if not self.spectral:
            return null_space_part(correction, self.closed)
        recorded = self.closed.operator.degrade(correction)
        spread = [self.closed.spread(r[None], i) for r, i in zip(recorded, anchors, strict=True)]
        return correction - torch.cat(spread)


def null_space(window: GuidedWindow, terms: GuidedInputs) -> NullSpace:
    """Return the corrections of a window that the sensor would not have recorded."""
    return NullSpace(window.closed, terms.spectral, window.guided.guide.blend)


def correct(
    network: network_of.GuidedNetwork,
    window: GuidedWindow,
    terms: GuidedInputs,
    core: Window | None = None,
    *,
    orientations: int = 1,
) -> Tensor:
    """Return the correction of the anchors, shrunk.

    Parameters
    ----------
    network : GuidedNetwork
    window : GuidedWindow
    terms : GuidedInputs
    core : Window, optional
        The part of the window whose correction is used, pixels of the target grid; the rest is not valid. By default
        the whole window.
    orientations : int
        Number of the eight flips and quarter turns over which the network's output is averaged (test-time
        augmentation), 1 to 8. On scenes unlike the training data eight gain 0.05 to 0.2 dB, two half of that.

    Returns
    -------
    Tensor, shape (anchor, ratio * y, ratio * x)
        Physical units, or those of the components, without the part that the sensor would have recorded.
        `dualsr_geo.models.unguided_correction.spread` carries it to all bands.
    """
    shape = (window.hr.shape[1], window.hr.shape[2])
    # The closed form carries values within its reach into the core.
    reach_px = (REACH_LR + 1 + window.psf.reach_lr) * window.psf.ratio
    region = Window(0, shape[0], 0, shape[1]) if core is None else core.grown(reach_px).clipped(shape)
    out = []
    for some in _chunks(terms.anchors.bands, len(terms.anchors.bands) if network.is_joint else ANCHORS_AT_ONCE):
        planes = anchor_planes(window, terms, some)
        change = _changes(network, window, planes, region, orientations)
        out.append(null_space(window, terms).part(change, some))
    return torch.cat(out) * terms.share


def _changes(
    network: network_of.GuidedNetwork, window: GuidedWindow, planes: AnchorPlanes, region: Window, orientations: int
) -> Tensor:
    """Return the change of some anchors that the network's outputs give, (anchor, Y, X); 0 outside the region."""
    ratio, (top, left) = window.psf.ratio, (n * window.psf.ratio for n in window.origin)
    count, _, height, width = planes.others.shape
    out = planes.others.new_zeros(count, height, width)
    for piece in network.pieces(region, (height, width), ratio, (top, left)):
        origin = top + piece.padded.y0, left + piece.padded.x0
        inner = (slice(None), *piece.core.within(piece.padded).slices)
        for rows in _together(count, joint=network.is_joint):
            inputs = planes.part(rows, piece.padded.slices)
            change = detail(inputs, *outputs_of(network, inputs, ratio, origin, orientations=orientations))
            out[(rows, *piece.core.slices)] = change[inner]
    return out


def outputs_of(
    network: network_of.GuidedNetwork,
    inputs: NetworkInput,
    ratio: int,
    origin: tuple[int, int] = (0, 0),
    *,
    orientations: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return the outputs of a network for its inputs; see `GuidedNetwork.forward`."""
    planes, constants, relations = inputs.planes, inputs.constants, inputs.relations
    outputs: tuple[Tensor, Tensor] = network(
        planes, constants, ratio, origin, relations=relations, orientations=orientations
    )
    return outputs


def _together(count: int, *, joint: bool) -> list[slice]:
    """Return the anchors that the network is given at once: all, or one after another, which takes less memory."""
    return [slice(0, count)] if joint else [slice(i, i + 1) for i in range(count)]


def _chunks(bands: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    return (bands[i : i + most] for i in range(0, len(bands), most))
