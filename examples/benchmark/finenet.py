"""SFPN's fine stage: a small network fitted to one scene, so that the result explains what was observed.

Li, Gong, Yuan and Wang, "Symmetrical Feature Propagation Network for Hyperspectral Image
Super-Resolution", IEEE TGRS 60, 2022, section III-D.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.models.networks import published_checkpoint
from dualsr_geo.models.networks.layers import Conv
from dualsr_geo.models.networks.published_checkpoint import CheckpointSizes, Reader


@dataclass(frozen=True)
class Design:
    """Sizes of a `FineNet`.

    Attributes
    ----------
    width : int
        Features between its convolutions.
    depth : int
        3 x 3 convolutions.
    kernel : int
        Side of the learned blur in hr pixels.
    shared : bool
        Whether all bands have one blur, or each its own.
    """

    width: int
    depth: int
    kernel: int
    shared: bool


AS_CODE = Design(192, 3, 21, shared=True)
# Conv1 to Conv4 and Conv5, whose 31 channels are read as one blur a band: a convolution of 31 by 31
# bands would have more weights (984 064) than figure 9 leaves for the whole fine stage (0.51 M).
AS_TABLE = Design(128, 4, 32, shared=False)


@dataclass(frozen=True)
class Refinement:
    """How a `FineNet` is fitted, section IV-B; `clip` and `iterations` as in the published code.

    Attributes
    ----------
    iterations : int
    rate : float
        Learning rate of Adam.
    clip : float
        Largest norm of the gradient.
    weight : float
        Of the observed scene against the guide in the loss: lambda of equation (16).
    """

    iterations: int = 400
    rate: float = 5e-5
    clip: float = 0.4
    weight: float = 0.1


class Blur(nn.Module):
    """Learned degradation: blur and decimate every band, replicating the edge; equation (18).

    Parameters
    ----------
    bands, ratio : int
    kernel : int
        Side in hr pixels.
    shared : bool
        One kernel for all bands.
    published : bool
        Place the window, and start from the kernel, of the published code: the window's middle is
        at the first hr pixel of an lr pixel, and the Gaussian's peak in the window's first corner,
        since its coordinates are never centred. By default both are in the middle of the lr pixel.
    """

    def __init__(self, bands: int, ratio: int, kernel: int, *, shared: bool, published: bool) -> None:
        super().__init__()
        self.ratio = ratio
        before = (kernel - 1) // 2 if published and kernel % 2 else (kernel - ratio) // 2
        self.borders = before, kernel - ratio - before
        centre = 0.0 if published else before + (ratio - 1) / 2
        self.weight = nn.Parameter(gaussian(kernel, centre, ratio / 2).repeat(1 if shared else bands, 1, 1, 1))
        self.bias = nn.Parameter(torch.zeros(self.weight.shape[0]))
        if published:
            # What torch gives a convolution's bias, which the published code leaves as it is.
            nn.init.uniform_(self.bias, -1 / kernel, 1 / kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tile, band, ratio * y, ratio * x) to (tile, band, y, x)."""
        before, after = self.borders
        inner = x[..., max(0, -before) :, max(0, -before) :]
        bordered = functional.pad(inner, (max(0, before), max(0, after)) * 2, mode="replicate")
        shared, bands = self.weight.shape[0] == 1, x.shape[1]
        values = bordered.flatten(0, 1).unsqueeze(1) if shared else bordered
        made = functional.conv2d(values, self.weight, self.bias, stride=self.ratio, groups=1 if shared else bands)
        return made.reshape(-1, bands, *made.shape[2:])


def gaussian(size: int, centre: float, sigma: float) -> Tensor:
    """Return a round Gaussian of sum 1, shape (1, 1, size, size), about pixel (centre, centre)."""
    squares = (torch.arange(size, dtype=torch.float64) - centre) ** 2
    line = torch.exp(-squares / (2 * sigma**2))
    kernel = line[:, None] * line
    return (kernel / kernel.sum()).to(torch.float32)[None, None]


class FineNet(nn.Module):
    """Back-projection refinement network of SFPN: a correction of the coarse result, and its degradation.

    The coarse result is added to what the convolutions make, as in the published code, in both
    designs: table I lists the layers only, and 400 steps of 5e-5 do not lead there from nothing.

    Parameters
    ----------
    bands, guide_bands, ratio : int
    design : Design
        `AS_CODE` or `AS_TABLE`; the published code has 31 and 3 bands only.
    published : bool
        The published blur, see `Blur`. Weights of a published checkpoint were learned with it.
    """

    def __init__(
        self, bands: int, guide_bands: int, ratio: int, design: Design = AS_CODE, *, published: bool = False
    ) -> None:
        super().__init__()
        widths = [bands + guide_bands, *[design.width] * (design.depth - 1), bands]
        self.layers = nn.ModuleList(Conv(a, b) for a, b in itertools.pairwise(widths))
        self.blur = Blur(bands, ratio, design.kernel, shared=design.shared, published=published)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only

    def forward(self, coarse: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Refine and degrade.

        Parameters
        ----------
        coarse : Tensor, shape (tile, band, ratio * y, ratio * x)
        guide : Tensor, shape (tile, guide band, ratio * y, ratio * x)

        Returns
        -------
        fine : Tensor, shape (tile, band, ratio * y, ratio * x)
            Equation (15).
        degraded : Tensor, shape (tile, band, y, x)
            What `fine` would look like to the sensor, equation (18).
        """
        x = torch.cat([coarse, guide], 1)
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        fine = self.layers[-1](x) + coarse
        return fine, self.blur(fine)


def fit(
    coarse: Tensor,
    guide: Tensor,
    observed: Tensor,
    srf: Tensor,
    *,
    ratio: int,
    design: Design = AS_CODE,
    how: Refinement | None = None,
    seed: int = 0,
    published: bool = False,
) -> Tensor:
    """Refine a coarse result by a `FineNet` fitted to this very scene.

    The loss is ``|Y - T(X)| + weight |Z - B(X)|`` (means, equation (16)): guide Y, observed scene
    Z, spectral response T, learned blur B. The same seed gives the same result on one machine.

    Parameters
    ----------
    coarse : Tensor of float32, shape (band, ratio * y, ratio * x)
    guide : Tensor of float32, shape (guide band, ratio * y, ratio * x)
    observed : Tensor of float32, shape (band, y, x)
    srf : Tensor of float32, shape (guide band, band)
        What each guide band sees of each band; rows sum to 1.
    ratio : int
    design : Design
    how : Refinement, optional
    seed : int
    published : bool
        Start from the published blur, see `Blur`.

    Returns
    -------
    Tensor of float32, shape (band, ratio * y, ratio * x)
        The estimate of the last iteration; not cut.

    Raises
    ------
    InputError
        If the shapes contradict each other.
    OptionError
        If there is no iteration.
    """
    how = how or Refinement()
    _require(coarse, guide, observed, srf, ratio)
    if how.iterations < 1:
        raise OptionError(f"{how.iterations} iterations refine nothing. Give 1 or more.")
    with torch.inference_mode(mode=False), torch.enable_grad():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = FineNet(len(coarse), len(guide), ratio, design, published=published).to(coarse.device)
        for layer in network.layers:
            weight_norm(layer)
        # What a caller made in inference mode cannot be differentiated by; a copy can.
        tile = [x.clone()[None] for x in (coarse, guide, observed)]
        return _descend(network, tile[0], tile[1], tile[2], srf.clone(), how)[0]


def _descend(network: FineNet, coarse: Tensor, guide: Tensor, observed: Tensor, srf: Tensor, how: Refinement) -> Tensor:
    optimizer = torch.optim.Adam(network.parameters(), lr=how.rate)
    fine = coarse
    for _ in range(how.iterations):
        fine, degraded = network(coarse, guide)
        projected = torch.einsum("gb,tbyx->tgyx", srf, fine)
        loss = functional.l1_loss(projected, guide) + how.weight * functional.l1_loss(degraded, observed)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        nn.utils.clip_grad_norm_(network.parameters(), how.clip)
        optimizer.step()
    return fine.detach()


def _require(coarse: Tensor, guide: Tensor, observed: Tensor, srf: Tensor, ratio: int) -> None:
    bands, height, width = observed.shape
    if tuple(srf.shape) != (len(guide), bands):
        raise InputError(
            f"The spectral response has shape {tuple(srf.shape)}, but {len(guide)} guide bands see {bands} bands. "
            f"Give srf of shape ({len(guide)}, {bands})."
        )
    wanted = height * ratio, width * ratio
    for name, cube in {"coarse": coarse, "guide": guide}.items():
        if tuple(cube.shape[1:]) != wanted:
            raise InputError(
                f"`{name}` has {cube.shape[1]} x {cube.shape[2]} pixels, but {ratio} times the scene's "
                f"{height} x {width} are {wanted[0]} x {wanted[1]}. Give `{name}` on that grid."
            )
    if len(coarse) != bands:
        raise InputError(f"`coarse` has {len(coarse)} bands, the observed scene {bands}. Give both with the same.")


def checkpoint_sizes(state: Mapping[str, Tensor]) -> CheckpointSizes:
    """Return width and bands of a checkpoint in the authors' layout; the ratio leaves no trace in it.

    Raises
    ------
    InputError
        If it is of another network.
    """
    published_checkpoint.require_key(state, "hsi.Conv.weight", "FineNet of SFPN")
    width, channels, _, _ = published_checkpoint.shape_of(state, "Conv1.weight_v", 4)
    (bands,) = published_checkpoint.shape_of(state, "Conv3.bias", 1)
    return CheckpointSizes(None, width, bands=bands, guide_bands=channels - bands)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of a `FineNet` (`AS_CODE`, `published`) from a checkpoint in the authors' layout.

    Raises
    ------
    InputError
        If it is of another network, lacks entries, or has some that have no place.
    """
    sizes = checkpoint_sizes(state)
    reader = Reader(state)
    made: dict[str, Tensor] = {}
    for k in range(AS_CODE.depth):
        made[f"layers.{k}.weight"], made[f"layers.{k}.bias"] = reader.conv(f"Conv{k + 1}")
    made["blur.weight"], made["blur.bias"] = reader.conv("hsi.Conv")
    reader.finish()
    design = Design(sizes.width, AS_CODE.depth, AS_CODE.kernel, shared=True)
    with torch.device("meta"):
        network = FineNet(sizes.bands, sizes.guide_bands, 2, design, published=True)
    return published_checkpoint.float32(made, network)
