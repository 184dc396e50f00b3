"""Fine stage of SFPN for scenes of any size: a small network that corrects the anchor bands, fitted once on crops.

It is SFPN's FineNet (Li et al., IEEE TGRS 60, 2022, section III-D) with the surveyed PSF as blur B and
the surveyed spectral response T instead of learned ones; the network also reads the residual of the
guide, Y - T(X). The loss is equation (16), ``|Y - T(X)| + 0.1 |Z - B(X)|``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.models.networks.layers import Conv

# Features of the hidden layers, and number of 3 x 3 convolutions.
WIDTH, DEPTH = 32, 3
# hr pixels on each side that a correction depends on.
REACH_PX = DEPTH
# Largest correction, in errors of the start.
MAX_CORRECTION_ERRORS = 2.0
# Weight of the scene against the guide in the loss: lambda of equation (16).
SCENE_LOSS_WEIGHT = 0.1
# Adam's learning rate and epsilon. With the default epsilon, 1e-8, gradients of rounding errors make steps,
# and the last bit of a scene changes the result.
LEARNING_RATE, EPSILON = 2e-3, 1e-4
MAX_STEPS = 300
# Crops of a step.
BATCH_SIZE = 4
# The loss of the held-out crops is computed every so many steps. Fitting ends when it has not fallen by this
# share in so many evaluations.
EVALUATION_STEPS, PATIENCE_EVALUATIONS, MIN_IMPROVEMENT = 10, 3, 0.01
# Every fourth crop is held out.
HELD_OUT_EVERY = 4


@dataclass(frozen=True)
class Crop:
    """A window of the scene in the network's units.

    Attributes
    ----------
    planes : Tensor, shape (plane, ratio * y, ratio * x)
        Input of the network.
    guide_residual : Tensor, shape (guide band, ratio * y, ratio * x)
        Guide less the spectral response of the start, in standard deviations of the guide.
    scene_residual : Tensor, shape (anchor, y, x)
        Scene less the degraded start, in standard deviations of the anchors.
    valid : Tensor, shape (y, x)
        1 where the loss counts.
    degrade : callable
        B, (anchor, ratio * y, ratio * x) -> (anchor, y, x).
    """

    planes: Tensor
    guide_residual: Tensor
    scene_residual: Tensor
    valid: Tensor
    degrade: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FittedRefiner:
    """Weights of a refiner, and their loss on the held-out crops.

    Attributes
    ----------
    state : mapping of str to Tensor
    steps : int
        After which the held-out spectral loss was least; 0 if it was that of the start.
    spectral : (float, float)
        Held-out ``|Y - T(X)|`` of the start and of the result, standard deviations of the guide.
    """

    state: Mapping[str, Tensor]
    steps: int
    spectral: tuple[float, float]


class Refiner(nn.Module):
    """Three convolutions with a bounded output, which is zero before fitting.

    Parameters
    ----------
    anchors, guide_bands : int
    """

    def __init__(self, anchors: int, guide_bands: int) -> None:
        super().__init__()
        # The start, the guide, and the residual of the guide.
        widths = [anchors + 2 * guide_bands, *[WIDTH] * (DEPTH - 1), anchors]
        self.layers = nn.ModuleList(Conv(a, b) for a, b in itertools.pairwise(widths))
        last = self.layers[-1]
        for value in last.parameters():
            nn.init.zeros_(value)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only

    def forward(self, planes: Tensor) -> Tensor:
        """Map (tile, plane, Y, X) to (tile, anchor, Y, X), in errors of the start; see `MAX_CORRECTION_ERRORS`."""
        x = planes
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        correction: Tensor = MAX_CORRECTION_ERRORS * torch.tanh(self.layers[-1](x) / MAX_CORRECTION_ERRORS)
        return correction


def refiner_of(state: Mapping[str, Tensor]) -> Refiner:
    """Return the refiner of these weights."""
    anchors, planes = state[f"layers.{DEPTH - 1}.weight"].shape[0], state["layers.0.weight"].shape[1]
    network = Refiner(anchors, (planes - anchors) // 2)
    network.load_state_dict(dict(state))
    return network.eval()


def fit(crops: Sequence[Crop], response: Tensor, error: Tensor, *, seed: int = 0) -> FittedRefiner:
    """Fit a refiner to crops of one scene.

    Parameters
    ----------
    crops : sequence of Crop
        Every fourth is held out; fewer than four are used both for fitting and as held-out crops.
    response : Tensor, shape (guide band, anchor)
        Change of the guide by a correction of the anchors, in the units of `Crop`.
    error : Tensor, shape (anchor,)
        Of the start, standard deviations of the anchors: the unit of the network's output.
    seed : int

    Returns
    -------
    FittedRefiner
        Weights after the step whose held-out spectral loss was least. The same in every run on one
        machine.
    """
    held_out = list(crops[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]) or list(crops)
    training = [c for k, c in enumerate(crops) if k % HELD_OUT_EVERY != HELD_OUT_EVERY - 1] or held_out
    with torch.inference_mode(mode=False), torch.enable_grad():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Refiner(len(error), len(response)).to(error.device)
        return _descend(network, training, held_out, response.clone(), error.clone(), seed)


def _descend(
    network: Refiner, training: Sequence[Crop], held_out: Sequence[Crop], response: Tensor, error: Tensor, seed: int
) -> FittedRefiner:
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, eps=EPSILON)
    generator = torch.Generator().manual_seed(seed)
    first = best = _spectral_loss(network, held_out, response, error)
    best_step, state = 0, _copy(network)
    for step in range(1, MAX_STEPS + 1):
        batch = torch.randint(len(training), (min(BATCH_SIZE, len(training)),), generator=generator)
        each = [sum(losses(network, training[i], response, error), start=error.new_zeros(())) for i in batch]
        loss = torch.stack(each)
        optimizer.zero_grad()
        loss.mean().backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        if step % EVALUATION_STEPS:
            continue
        current = _spectral_loss(network, held_out, response, error)
        if current < best * (1 - MIN_IMPROVEMENT):
            best_step, best, state = step, current, _copy(network)
        elif step - best_step >= PATIENCE_EVALUATIONS * EVALUATION_STEPS:
            break
    return FittedRefiner(state, best_step, (first, best))


def losses(network: Refiner, crop: Crop, response: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``|Y - T(X)|`` and ``0.1 |Z - B(X)|`` of a crop, means over its valid pixels."""
    correction = error[:, None, None] * network(crop.planes[None])[0]
    ratio = correction.shape[1] // crop.valid.shape[0]
    count = crop.valid.sum().clamp_min(1)
    valid_hr = crop.valid.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    guide = (crop.guide_residual - torch.einsum("ga,ayx->gyx", response, correction)).abs()
    scene = (crop.scene_residual - crop.degrade(correction)).abs()
    return (
        (guide * valid_hr).mean(0).sum() / (count * ratio**2),
        SCENE_LOSS_WEIGHT * (scene * crop.valid).mean(0).sum() / count,
    )


def _spectral_loss(network: Refiner, crops: Sequence[Crop], response: Tensor, error: Tensor) -> float:
    with torch.no_grad():
        return float(torch.stack([losses(network, crop, response, error)[0] for crop in crops]).mean())


def _copy(network: Refiner) -> dict[str, Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in network.state_dict().items()}


def apply(network: Refiner, planes: Tensor) -> Tensor:
    """Return the correction (anchor, Y, X) of planes (plane, Y, X), in errors of the start; edges are replicated."""
    padded = functional.pad(planes[None], (REACH_PX,) * 4, mode="replicate")
    correction: Tensor = network(padded)[0, :, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    return correction
