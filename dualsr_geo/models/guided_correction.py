"""Our own network with a guide at work on one window: a correction to the training-free start.

The start mixes the candidates by one weight a component for the whole scene. The network mixes
them anew at every pixel of a few anchors, and adds a small rest:

    d = sum_k (softmax(log w_k + c l_k) - w_k) (candidate_k - start) + c' e residual

What of that the sensor would have seen is taken out by the closed form, so that the sum is as
consistent with the scene as the start was. All candidates are linear in the spectral components,
so those of an anchor are fitted for that anchor alone (research/algorithm-lab.md, sections 2 and 3).

On clean scenes the anchors are bands; on noisy ones the leading spectral components. Everything is
a pure function of finite support, so a tile with its halo gives what the whole scene would give.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates
from dualsr_geo.fusion.candidates import CANDIDATES
from dualsr_geo.fusion.coarse_stage import GuidedStart
from dualsr_geo.fusion.regression_inputs import RegressionInputs, prepare_inputs, standardise
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.networks import guided as network_of
from dualsr_geo.models.unguided_correction import null_space_part, nyquist_gains

# Candidates whose lr residual tells how well the guide explains a place: Line, two Locals, Clustered.
TELLING = (3, 0, 2, 4)
# Units of the network's answers (the lab's): logits, and residuals in errors of the regression.
LOGIT, RESIDUAL = 3.0, 0.3
# Planes beyond this many units say no more.
LARGEST_INPUT_STD = 8.0
USUAL_GAIN, GAIN_UNIT = 0.3, 4.0
MOST_NOISE = 3.0
# A candidate's weight counts as no less.
LEAST_WEIGHT = 1e-3
# Anchors that go through the network at once: bounds the memory of a tile.
AT_ONCE = 4


@dataclass(frozen=True)
class GuidedWindow:
    """A window of a scene after its start was made.

    Attributes
    ----------
    space : Subspace
    cube : Tensor, shape (band, y, x)
        Filled.
    components : Tensor, shape (component, y, x)
        Its coefficients.
    hr : Tensor, shape (component, ratio * y, ratio * x)
        The start.
    guided : GuidedStart
        Guide, regressions and weights of the candidates.
    psf : Psf
    closed : Consistency
        The fine stage of the components, where the guide is.
    weight : Tensor, shape (y, x), or None
        How valid a pixel is.
    origin : (int, int)
        Row and column of the window's first lr pixel in the scene.
    """

    space: Subspace
    cube: Tensor
    components: Tensor
    hr: Tensor
    guided: GuidedStart
    psf: Psf
    closed: Consistency
    weight: Tensor | None = None
    origin: tuple[int, int] = (0, 0)

    @cached_property
    def expand(self) -> Tensor:
        """Components to bands."""
        return torch.as_tensor(self.space.expand, device=self.cube.device)

    @cached_property
    def pair(self) -> RegressionInputs:
        """The window ready for the candidates: what they share of the guide is made once."""
        guided, weight = self.guided, self.guided.guide.weight
        if self.weight is not None:
            weight = self.weight if weight is None else weight * self.weight
        return prepare_inputs(self.components, guided.guide.values, guided.fit, self.closed.operator, weight)

    def start(self, bands: Sequence[int], *, spectral: bool) -> Tensor:
        """Return the start of some bands or components less their mean, (band, ratio * y, ratio * x)."""
        some = list(bands)
        if spectral:
            return self.hr[some]
        made = torch.einsum("bk,kyx->byx", self.expand[some], self.hr)
        return made + self.closed.operator.upsample(self._rest(some))

    def centred(self, cube: Tensor, bands: Sequence[int], *, spectral: bool) -> Tensor:
        """Return some bands or components of a cube (band, ...) less the scene's mean."""
        mean = torch.as_tensor(self.space.mean, device=cube.device)[:, None, None]
        if not spectral:
            return (cube - mean)[list(bands)]
        project = torch.as_tensor(self.space.project[list(bands)], device=cube.device)
        return torch.einsum("kb,byx->kyx", project, cube - mean)

    def _rest(self, some: list[int]) -> Tensor:
        mean = torch.as_tensor(self.space.mean, device=self.cube.device)[some, None, None]
        carried = torch.einsum("bk,kyx->byx", self.expand[some], self.components)
        return self.cube[some] - mean - carried


@dataclass(frozen=True)
class NetworkInput:
    """What the network is shown of some anchors, and what its answer is made of.

    Attributes
    ----------
    planes : Tensor, shape (anchor, plane, Y, X)
    constants : Tensor, shape (anchor, constant)
    others : Tensor, shape (anchor, candidate, Y, X)
        Candidates less the start; each degrades to nothing.
    weights : Tensor, shape (anchor, candidate)
    error : Tensor, shape (anchor,)
    """

    planes: Tensor
    constants: Tensor
    others: Tensor
    weights: Tensor
    error: Tensor


def network_input(window: GuidedWindow, terms: GuidedInputs, anchors: Sequence[int]) -> NetworkInput:
    """Return what the network is shown of some bands or components of a window."""
    some = list(anchors)
    std, error, noise, weights = (
        torch.from_numpy(v).to(window.cube) for v in (terms.std, terms.error, terms.noise, terms.weights)
    )
    tiny = torch.finfo(window.cube.dtype).tiny
    std, error = std.clamp_min(tiny), error.clamp_min(tiny)
    others, left = _others(window, terms, some)
    near = [[min(max(i + n, 0), len(std) - 1) for i in some] for n in (0, -1, 1)]
    starts = [window.start(n, spectral=terms.spectral) / _plane(std[n]) for n in near]
    e = _plane(error[some])
    parts = [
        starts[0][:, None],
        others[:, :-1] / e[:, None],
        others[:, -1:] / _plane(std[some])[:, None],
        left / e[:, None],
        starts[1][:, None],
        starts[2][:, None],
        _guide(window, terms).expand(len(some), -1, -1, -1),
    ]
    constants = _constants(terms, window.psf, std[some], error[some], noise[some], weights[some])
    return NetworkInput(
        torch.cat(parts, 1).clamp_(-LARGEST_INPUT_STD, LARGEST_INPUT_STD), constants, others, weights[some], error[some]
    )


def _plane(values: Tensor) -> Tensor:
    return values[:, None, None]


def _constants(terms: GuidedInputs, psf: Psf, std: Tensor, error: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
    said = [(gain - USUAL_GAIN) * GAIN_UNIT for gain in nyquist_gains(psf)]
    same = [math.log2(min(psf.ratio, network_of.MAX_FULL_RATIO)) / 3, float(terms.spectral), *said]
    own = torch.stack([(error / std).log() / 3, (noise / std).clamp(max=MOST_NOISE)], 1)
    return torch.cat([own, own.new_tensor(same).expand(len(own), -1), weights.sqrt()], 1)


def _guide(window: GuidedWindow, terms: GuidedInputs) -> Tensor:
    plain = standardise(window.guided.guide.values, window.guided.fit)
    look = torch.from_numpy(terms.look).to(plain)
    return (look @ plain.flatten(1)).view(1, -1, *plain.shape[1:])


def _others(window: GuidedWindow, terms: GuidedInputs, anchors: list[int]) -> tuple[Tensor, Tensor]:
    """Return candidates less start, (anchor, candidate, Y, X), and what the telling ones leave, (anchor, plane, Y, X)."""
    operator = window.closed.operator
    rows = torch.eye(len(window.components)).to(window.hr)[anchors] if terms.spectral else window.expand[anchors]
    observed = torch.einsum("bk,kyx->byx", rows, window.components)
    start = torch.einsum("bk,kyx->byx", rows, window.hr)
    pair = replace(window.pair, components=observed, fit=window.guided.fit.combined(rows.cpu().numpy()))
    degraded = operator.degrade(start)
    others, left = [], {}
    for index in range(len(CANDIDATES)):
        one = rows.new_zeros(len(rows), len(CANDIDATES))
        one[:, index] = 1
        candidate = candidates.fit_mixture(pair, one).evaluate(0, len(rows))
        seen = operator.degrade(candidate)
        if index in TELLING:
            left[index] = observed - seen
        others.append(candidate.sub_(start).sub_(_spread(window, terms, seen - degraded, anchors)))
    energy = torch.stack([left[i] for i in TELLING], 1).square()
    near = torch.nn.functional.avg_pool2d(energy, 3, 1, 1, count_include_pad=False).sqrt()
    return torch.stack(others, 1), operator.upsample(near).clamp_min(0)


def _spread(window: GuidedWindow, terms: GuidedInputs, residual: Tensor, anchors: list[int]) -> Tensor:
    """Return how the closed form spreads a residual of some bands or components."""
    if terms.spectral:
        return torch.cat([window.closed.spread(r[None], i) for r, i in zip(residual, anchors, strict=True)])
    # Clean scenes have no ridges, so that bands and components are all alike.
    return torch.cat([window.closed.spread(r[None]) for r in residual])


def detail(seen: NetworkInput, logits: Tensor, residual: Tensor) -> Tensor:
    """Return the correction that the network's answer means, (anchor, Y, X), physical units.

    Parameters
    ----------
    seen : NetworkInput
    logits : Tensor, shape (anchor, candidate, Y, X)
    residual : Tensor, shape (anchor, Y, X)
    """
    weights = seen.weights.clamp_min(LEAST_WEIGHT)
    weights = (weights / weights.sum(1, keepdim=True))[:, :, None, None]
    shares = torch.softmax(weights.log() + LOGIT * logits, 1) - weights
    return (shares * seen.others).sum(1) + RESIDUAL * _plane(seen.error) * residual


def without_observed_part(window: GuidedWindow, terms: GuidedInputs, made: Tensor, anchors: Sequence[int]) -> Tensor:
    """Return what of a correction of some anchors (anchor, Y, X) the sensor would not have seen."""
    blend = window.guided.guide.blend
    made = made if blend is None else made * blend
    if not terms.spectral:
        return null_space_part(made, window.closed)
    return made - _spread(window, terms, window.closed.operator.degrade(made), list(anchors))


def correct(
    network: network_of.GuidedNetwork, window: GuidedWindow, terms: GuidedInputs, *, orientations: int = 1
) -> Tensor:
    """Return what the start of the anchors lacks.

    Parameters
    ----------
    network : GuidedStart
    window : GuidedWindow
    terms : GuidedInputs
    orientations : int
        Over how many of the eight flips and quarter turns the network is averaged. Two give half of
        what eight do, which is 0.05 to 0.2 dB on scenes unlike those it learned from.

    Returns
    -------
    Tensor, shape (anchor, ratio * y, ratio * x)
        Physical units, or those of the components; the closed form has taken out what the sensor
        would have seen. `dualsr_geo.models.unguided_correction.spread` gives it to the bands.
    """
    ratio = window.psf.ratio
    origin = window.origin[0] * ratio, window.origin[1] * ratio
    out = []
    for some in _chunks(terms.anchors.bands):
        seen = network_input(window, terms, some)
        made = detail(seen, *network(seen.planes, seen.constants, ratio, origin, orientations=orientations))
        out.append(without_observed_part(window, terms, made, some))
    return torch.cat(out) * terms.share


def _chunks(bands: Sequence[int]) -> Iterator[Sequence[int]]:
    return (bands[i : i + AT_ONCE] for i in range(0, len(bands), AT_ONCE))
