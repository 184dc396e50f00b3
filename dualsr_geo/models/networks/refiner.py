"""SFPN's fine stage for scenes of any size: a small network that corrects a few bands, fitted once on crops.

It is `FineNet` (Li et al., IEEE TGRS 60, 2022, section III-D) with what is known taken out of what is
learned: the blur B is the surveyed PSF, the spectral response T the surveyed one, and the network sees
what T leaves of the guide. The loss is equation (16), ``|Y - T(X)| + 0.1 |Z - B(X)|``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.models.networks.layers import Conv

# hr pixels that one answer sees on each side: three convolutions of 3 x 3.
REACH_PX = 3
WIDTH, DEPTH = 32, 3
# No answer is farther from the start than this many times the start's own error.
TRUST = 2.0
# Of the scene against the guide in the loss: lambda of equation (16).
WEIGHT = 0.1
# Adam's usual 1e-8 makes steps of gradients that are rounding; the last bit of a scene would then decide.
RATE, EPSILON, MOST_STEPS = 2e-3, 1e-4, 300
# Crops of one step; the held-out loss is asked every LOOK steps and must fall by SURELY within PATIENCE looks.
BATCH, LOOK, PATIENCE, SURELY = 4, 10, 3, 0.01
# Every fourth crop is held out.
HELD_OUT = 4


@dataclass(frozen=True)
class Crop:
    """A piece of the scene in the network's units.

    Attributes
    ----------
    planes : Tensor, shape (plane, ratio * y, ratio * x)
        What the network sees.
    missed : Tensor, shape (guide band, ratio * y, ratio * x)
        What the spectral response leaves of the guide, in standard deviations of the guide.
    left : Tensor, shape (anchor, y, x)
        What the degraded start leaves of the scene, in standard deviations of the anchors.
    valid : Tensor, shape (y, x)
        1 where the loss counts.
    degrade : callable
        B, (anchor, ratio * y, ratio * x) -> (anchor, y, x).
    """

    planes: Tensor
    missed: Tensor
    left: Tensor
    valid: Tensor
    degrade: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Fitted:
    """Weights, and what the held-out crops said of them.

    Attributes
    ----------
    state : mapping of str to Tensor
    steps : int
        At which the held-out spectral loss was least; 0 if the start was best.
    spectral : (float, float)
        Held-out ``|Y - T(X)|`` of the start and of the result, standard deviations of the guide.
    """

    state: Mapping[str, Tensor]
    steps: int
    spectral: tuple[float, float]


class Refiner(nn.Module):
    """Three convolutions whose answer is bounded; at first it is nothing.

    Parameters
    ----------
    anchors, guide_bands : int
    """

    def __init__(self, anchors: int, guide_bands: int) -> None:
        super().__init__()
        # Start, guide, and what the response leaves of it.
        widths = [anchors + 2 * guide_bands, *[WIDTH] * (DEPTH - 1), anchors]
        self.layers = nn.ModuleList(Conv(a, b) for a, b in itertools.pairwise(widths))
        last = self.layers[-1]
        for value in last.parameters():
            nn.init.zeros_(value)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors alone

    def forward(self, planes: Tensor) -> Tensor:
        """Map (tile, plane, Y, X) to (tile, anchor, Y, X), within -`TRUST`..`TRUST` of the start's error."""
        x = planes
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        made: Tensor = TRUST * torch.tanh(self.layers[-1](x) / TRUST)
        return made


def restored(state: Mapping[str, Tensor]) -> Refiner:
    """Return the network of some weights."""
    anchors, seen = state[f"layers.{DEPTH - 1}.weight"].shape[0], state["layers.0.weight"].shape[1]
    network = Refiner(anchors, (seen - anchors) // 2)
    network.load_state_dict(dict(state))
    return network.eval()


def fit(crops: Sequence[Crop], response: Tensor, error: Tensor, *, seed: int = 0) -> Fitted:
    """Fit a refiner to crops of one scene.

    Parameters
    ----------
    crops : sequence of Crop
        Every fourth is held out; a single one is both learned from and judged by.
    response : Tensor, shape (guide band, anchor)
        What a correction of the anchors does to the guide that they make, in the units of `Crop`.
    error : Tensor, shape (anchor,)
        Of the start, standard deviations of the anchors: the unit of the network's answers.
    seed : int

    Returns
    -------
    Fitted
        Of the step whose held-out spectral loss was least. The same on every run of one machine.
    """
    held = list(crops[HELD_OUT - 1 :: HELD_OUT]) or list(crops)
    learned = [c for k, c in enumerate(crops) if k % HELD_OUT != HELD_OUT - 1] or held
    with torch.inference_mode(mode=False), torch.enable_grad():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Refiner(len(error), len(response)).to(error.device)
        return _descend(network, learned, held, response.clone(), error.clone(), seed)


def _descend(
    network: Refiner, learned: Sequence[Crop], held: Sequence[Crop], response: Tensor, error: Tensor, seed: int
) -> Fitted:
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, eps=EPSILON)
    generator = torch.Generator().manual_seed(seed)
    first = best = _held_out(network, held, response, error)
    at, state = 0, _copied(network)
    for step in range(1, MOST_STEPS + 1):
        some = torch.randint(len(learned), (min(BATCH, len(learned)),), generator=generator)
        loss = torch.stack([sum(losses(network, learned[i], response, error), start=error.new_zeros(())) for i in some])
        optimizer.zero_grad()
        loss.mean().backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        if step % LOOK:
            continue
        now = _held_out(network, held, response, error)
        if now < best * (1 - SURELY):
            at, best, state = step, now, _copied(network)
        elif step - at >= PATIENCE * LOOK:
            break
    return Fitted(state, at, (first, best))


def losses(network: Refiner, crop: Crop, response: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``|Y - T(X)|`` and ``0.1 |Z - B(X)|`` of a crop (means over what counts)."""
    made = error[:, None, None] * network(crop.planes[None])[0]
    ratio = made.shape[1] // crop.valid.shape[0]
    count = crop.valid.sum().clamp_min(1)
    wide = crop.valid.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    guide = (crop.missed - torch.einsum("ga,ayx->gyx", response, made)).abs()
    scene = (crop.left - crop.degrade(made)).abs()
    return (guide * wide).mean(0).sum() / (count * ratio**2), WEIGHT * (scene * crop.valid).mean(0).sum() / count


def _held_out(network: Refiner, held: Sequence[Crop], response: Tensor, error: Tensor) -> float:
    with torch.no_grad():
        return float(torch.stack([losses(network, crop, response, error)[0] for crop in held]).mean())


def _copied(network: Refiner) -> dict[str, Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in network.state_dict().items()}


def apply(network: Refiner, planes: Tensor) -> Tensor:
    """Return a refiner's answer for planes (plane, Y, X), (anchor, Y, X), in the start's errors."""
    edge = functional.pad(planes[None], (REACH_PX,) * 4, mode="replicate")
    made: Tensor = network(edge)[0, :, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    return made
