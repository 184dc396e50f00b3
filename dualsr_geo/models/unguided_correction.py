"""Our own network without a guide at work on one window: a correction to the training-free start.

The network sees lr bands, a few anchors of them, and says what detail the start lacks. What of that
the sensor would have seen is taken out by the closed form, so that the sum is as consistent with
the scene as the start was:

    x = start + spread (d - M D d),        d = network(anchors)

Everything is a pure function of finite support, so a tile with its halo gives what the whole
scene would give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.operators import cubic_kernel
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.anchor_bands import ANCHOR_COUNT, AnchorBands
from dualsr_geo.fusion.anchor_bands import choose_anchor_bands as find_anchors
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.models.networks.unguided import NEIGHBOURS

Network = Callable[[Tensor, int], Tensor]

# Outliers, in standard deviations of their band.
LARGEST_INPUT_STD = 8.0
# The gains' plane is 0 for the usual gain; the noise's ends at half a standard deviation.
USUAL_GAIN, GAIN_UNIT = 0.3, 4.0
NOISE_UNIT, MOST_NOISE = 10.0, 5.0
# Bands that go through the network at once: bounds the memory of a tile.
AT_ONCE = 4
# The eight ways to lay a square: quarter turns, and whether columns are reversed.
ORIENTATIONS = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))
# Below this share of a band's mean its deviation is rounding.
ROUNDING = 1e-6
# A shift that matters, hr pixels.
LEAST_SHIFT = 1e-3


@dataclass(frozen=True)
class Levels:
    """What the network takes a scene's bands relative to; part of the survey.

    Attributes
    ----------
    mean, std : array of float32, shape (band,)
        Physical units; the deviation without noise.
    noise : array of float32, shape (band,)
        Standard deviations, 0 where noise was not told from signal.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    noise: NDArray[np.float32]

    @classmethod
    def of(cls, spectra: NDArray[np.float32], weight: NDArray[np.float32], noise: NDArray[np.floating]) -> Levels:
        """Return the levels of a scene.

        Parameters
        ----------
        spectra : array, shape (band, pixel)
            Without NaN, as the network will see them.
        weight : array, shape (pixel,)
            0..1, how valid a pixel is.
        noise : array, shape (band,)
            Standard deviations of what is noise in `spectra`.
        """
        w = weight.astype(np.float64) / weight.sum(dtype=np.float64)
        mean = spectra @ w
        variance = ((spectra - mean[:, None]) ** 2) @ w
        std = np.sqrt(np.maximum(variance - np.square(noise, dtype=np.float64), 0.02 * variance))
        # Where all contrast is float32's rounding, no detail may grow from it.
        std[variance < (ROUNDING * mean) ** 2] = 0
        return cls(*(np.asarray(v, np.float32) for v in (mean, std, noise)))


@dataclass(frozen=True)
class UnguidedInputs:
    """What the network needs of the whole scene; part of the survey.

    Attributes
    ----------
    levels : Levels
    anchors : AnchorBands
    share : float
        How much of the correction is used, 0..1.
    """

    levels: Levels
    anchors: AnchorBands
    share: float = 1.0

    @classmethod
    def of(
        cls,
        space: Subspace,
        spectra: NDArray[np.float32],
        weight: NDArray[np.float32],
        noise: NDArray[np.floating],
        count: int = ANCHOR_COUNT,
    ) -> UnguidedInputs:
        """Return what is known of a scene.

        Parameters
        ----------
        space : Subspace
        spectra : array, shape (band, pixel)
            Without NaN.
        weight : array, shape (pixel,)
            0..1, how valid a pixel is.
        noise : array, shape (band,)
            Standard deviations, 0 where noise was not told from signal.
        count : int
            Most anchors.
        """
        if not space.keeps_rest:
            spectra = space.expand @ space.components(spectra) + space.mean[:, None]
            noise = space.noise * np.linalg.norm(space.expand, axis=1)
        return cls(Levels.of(spectra, weight, noise), find_anchors(spectra, weight, count))


def observed(space: Subspace, cube: Tensor, components: Tensor) -> Tensor:
    """Return the lr bands (band, y, x) that the network sees: of noisy scenes what the subspace keeps.

    Parameters
    ----------
    space : Subspace
    cube : Tensor, shape (band, y, x)
        The filled lr window, physical units.
    components : Tensor, shape (component, y, x)
        Its coefficients.
    """
    if space.keeps_rest:
        return cube
    mean, expand = (torch.from_numpy(v).to(cube) for v in (space.mean, space.expand))
    return torch.addmm(mean[:, None], expand, components.flatten(1)).view_as(cube)


def neighbours(bands: Sequence[int] | NDArray[np.int_], count: int, stride: int = 1) -> NDArray[np.int_]:
    """Return what the network sees of each band, (band, neighbour): indices kept within `count` bands."""
    seen: NDArray[np.int_] = np.asarray(bands)[:, None] + stride * np.asarray(NEIGHBOURS)
    return seen.clip(0, count - 1)


def planes(bands: Tensor, noise: Tensor, gains: tuple[float, float]) -> Tensor:
    """Return what the network reads.

    Parameters
    ----------
    bands : Tensor, shape (tile, neighbour, y, x)
        Each in standard deviations from its mean.
    noise : Tensor, shape (tile,)
        Of the band itself, standard deviations.
    gains : (float, float)
        Of the PSF along y and x at the lr Nyquist frequency, see `nyquist_gains`.

    Returns
    -------
    Tensor, shape (tile, plane, y, x)
    """
    said = [torch.full_like(noise, (gain - USUAL_GAIN) * GAIN_UNIT) for gain in gains]
    said.append((noise * NOISE_UNIT).clamp(max=MOST_NOISE))
    constants = torch.stack(said, 1)[:, :, None, None].expand(-1, -1, *bands.shape[2:])
    return torch.cat([bands.clamp(-LARGEST_INPUT_STD, LARGEST_INPUT_STD), constants], 1)


def nyquist_gains(psf: Psf) -> tuple[float, float]:
    """Return the PSF's gains along y and x at the lr Nyquist frequency, about its centroid."""

    def gain(taps: Sequence[float]) -> float:
        at = np.arange(len(taps)) - np.dot(taps, np.arange(len(taps)))
        return float(np.dot(taps, np.cos(math.pi / psf.ratio * at)))

    return gain(psf.taps_y), gain(psf.taps_x)


def correct(
    network: Network,
    cube: Tensor,
    levels: Levels,
    anchors: Sequence[int],
    psf: Psf,
    closed: Consistency,
    *,
    orientations: int = 1,
) -> Tensor:
    """Return what the start of the anchors lacks.

    Parameters
    ----------
    network : callable
        `Alone`, or what is called like it: (planes, ratio) -> correction in standard deviations.
    cube : Tensor, shape (band, y, x)
        The lr window, physical units, as `observed` gives it.
    levels : Levels
        Of these bands.
    anchors : sequence of int
        Bands to correct.
    psf : Psf
        The surveyed blur.
    closed : Consistency
        Of the same window, without ridges.
    orientations : int
        Over how many of the eight flips and quarter turns the network is averaged, 1 to 8. Each
        costs one more pass.

    Returns
    -------
    Tensor, shape (anchor, ratio * y, ratio * x)
        Physical units; the closed form has taken out what the sensor would have seen.
    """
    made = torch.cat([_detail(network, cube, levels, some, psf, orientations) for some in _chunks(anchors)])
    return null_space_part(moved(made, psf.shift_px), closed)


def null_space_part(detail: Tensor, closed: Consistency) -> Tensor:
    """Return the part of a correction (band, Y, X) that degrades to nothing."""
    return detail - closed.spread(closed.operator.degrade(detail))


def spread(anchors: AnchorBands, correction: Tensor, rows: slice) -> Tensor:
    """Return the correction of some bands, (band, Y, X), from that of the anchors, (anchor, Y, X)."""
    share = torch.from_numpy(anchors.spread[rows]).to(correction)
    return (share @ correction.flatten(1)).view(-1, *correction.shape[1:])


def _detail(
    network: Network, cube: Tensor, levels: Levels, bands: Sequence[int], psf: Psf, orientations: int
) -> Tensor:
    seen = neighbours(bands, len(cube))
    mean, std = (torch.from_numpy(v).to(cube) for v in (levels.mean, levels.std))
    safe = std.clamp_min(torch.finfo(cube.dtype).tiny)
    normal = (cube[seen] - mean[seen][:, :, None, None]) / safe[seen][:, :, None, None]
    noise = torch.from_numpy(levels.noise).to(cube)[list(bands)] / safe[list(bands)]
    made = _laid(network, planes(normal, noise, nyquist_gains(psf)), psf.ratio, orientations)
    return made * std[list(bands), None, None]


def _laid(network: Network, seen: Tensor, ratio: int, orientations: int) -> Tensor:
    """Return the network's mean over several ways to lay the window."""
    out = [_back(network(_lay(seen, *way), ratio), *way) for way in ORIENTATIONS[:orientations]]
    return out[0] if orientations == 1 else torch.stack(out).mean(0)


def _lay(seen: Tensor, turns: int, mirrored: bool) -> Tensor:  # noqa: FBT001
    count = len(NEIGHBOURS)
    # A quarter turn makes columns of rows, so their gains change places.
    order = [*range(count), count + turns % 2, count + 1 - turns % 2, count + 2]
    turned = torch.rot90(seen[:, order], turns, (2, 3))
    return turned.flip(3) if mirrored else turned


def _back(made: Tensor, turns: int, mirrored: bool) -> Tensor:  # noqa: FBT001
    return torch.rot90(made.flip(2) if mirrored else made, -turns, (1, 2))


def moved(made: Tensor, shift_px: tuple[float, float]) -> Tensor:
    """Return planes moved down and right, by cubic convolution: where a PSF off the grid's centres puts them."""
    for axis, shift in zip((1, 2), shift_px, strict=True):
        if abs(shift) < LEAST_SHIFT:
            continue
        offsets = math.floor(-shift) + np.arange(-1.0, 3.0)
        at = torch.arange(made.shape[axis], device=made.device)
        made = torch.stack(
            [
                made.index_select(axis, (at + int(o)).clamp(0, len(at) - 1)) * float(w)
                for o, w in zip(offsets, cubic_kernel(-shift - offsets), strict=True)
            ]
        ).sum(0)
    return made


def _chunks(bands: Sequence[int]) -> Iterator[Sequence[int]]:
    return (bands[i : i + AT_ONCE] for i in range(0, len(bands), AT_ONCE))
