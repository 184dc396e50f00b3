"""The unguided correction of one window: the detail that a network adds to the training-free start.

The network reads each of a few anchor bands with its neighbours, and predicts the detail that the start
lacks. The closed form removes the part that the sensor would have recorded, so that the sum is as
consistent with the scene as the start:

    x = start + spread (d - M D d),        d = network(anchors)

Every step is a pure function of finite support, so a tile with its halo equals the same part of the
whole scene.
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
from dualsr_geo.fusion.anchor_bands import ANCHOR_COUNT, AnchorBands, choose_anchor_bands
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.models.networks.unguided import NEIGHBOURS

Network = Callable[[Tensor, int], Tensor]

# Inputs of the network are clipped to so many standard deviations of their band.
LARGEST_INPUT_STD = 8.0
# The plane of an MTF gain is (gain - GAIN_CENTRE) * GAIN_SCALE.
GAIN_CENTRE, GAIN_SCALE = 0.3, 4.0
# The plane of the noise is its standard deviation, in those of its band, times NOISE_SCALE, at most MAX_NOISE_INPUT.
NOISE_SCALE, MAX_NOISE_INPUT = 10.0, 5.0
# Bands that the network corrects together; bounds the memory of a tile.
BANDS_AT_ONCE = 4
# The eight orientations of a square for test-time augmentation: quarter turns, and whether columns are reversed.
ORIENTATIONS = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))
# A standard deviation below this share of the mean is rounding of float32.
ROUNDING_SHARE = 1e-6
# Smallest variance without the noise, relative to the variance with it.
MIN_SIGNAL_SHARE = 0.02
# A smaller shift is not applied, hr pixels.
MIN_SHIFT_PX = 1e-3


@dataclass(frozen=True)
class Levels:
    """Mean, standard deviation and noise by which a scene's bands are standardised; part of the model's state.

    Attributes
    ----------
    mean, std : array of float32, shape (band,)
        Physical units; the standard deviation is that of the signal without noise.
    noise : array of float32, shape (band,)
        Standard deviation of the noise, physical units; 0 where it cannot be separated from the signal.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    noise: NDArray[np.float32]

    @classmethod
    def of(cls, spectra: NDArray[np.float32], weight: NDArray[np.float32], noise: NDArray[np.floating]) -> Levels:
        """Estimate the levels of a scene from a sample.

        Parameters
        ----------
        spectra : array, shape (band, pixel)
            Without NaN, as the network reads them.
        weight : array, shape (pixel,)
            Validity of the pixels, 0..1.
        noise : array, shape (band,)
            Standard deviation of the noise in `spectra`.
        """
        w = weight.astype(np.float64) / weight.sum(dtype=np.float64)
        mean = spectra @ w
        variance = ((spectra - mean[:, None]) ** 2) @ w
        std = np.sqrt(np.maximum(variance - np.square(noise, dtype=np.float64), MIN_SIGNAL_SHARE * variance))
        # No detail may be predicted from the rounding of float32.
        std[variance < (ROUNDING_SHARE * mean) ** 2] = 0
        return cls(*(np.asarray(v, np.float32) for v in (mean, std, noise)))


@dataclass(frozen=True)
class UnguidedInputs:
    """Inputs of the unguided network that are fixed for a scene; part of the model's state.

    Attributes
    ----------
    levels : Levels
    anchors : AnchorBands
    share : float
        Shrinkage factor of the correction, 0..1.
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
        """Estimate the inputs of a scene from a sample.

        Parameters
        ----------
        space : Subspace
        spectra : array, shape (band, pixel)
            Without NaN.
        weight : array, shape (pixel,)
            Validity of the pixels, 0..1.
        noise : array, shape (band,)
            Standard deviation of the noise; 0 where it cannot be separated from the signal.
        count : int
            Largest number of anchors. Fewer for scenes of few bands, as with a guide, would lose 0.03 dB on Sentinel-2, and
            the network is fast.
        """
        if not space.keeps_rest:
            spectra = space.expand @ space.components(spectra) + space.mean[:, None]
            noise = space.noise * np.linalg.norm(space.expand, axis=1)
        return cls(Levels.of(spectra, weight, noise), choose_anchor_bands(spectra, weight, count))


def observed(space: Subspace, cube: Tensor, components: Tensor) -> Tensor:
    """Return the lr bands (band, y, x) that the network reads: on noisy scenes, their projection on the subspace.

    Parameters
    ----------
    space : Subspace
    cube : Tensor, shape (band, y, x)
        The filled lr window, physical units.
    components : Tensor, shape (component, y, x)
        The coefficients of `cube`.
    """
    if space.keeps_rest:
        return cube
    mean, expand = (torch.from_numpy(v).to(cube) for v in (space.mean, space.expand))
    return torch.addmm(mean[:, None], expand, components.flatten(1)).view_as(cube)


def neighbours(bands: Sequence[int] | NDArray[np.int_], count: int, stride: int = 1) -> NDArray[np.int_]:
    """Return the indices of the bands that the network reads for each band, (band, neighbour), 0..count - 1."""
    indices: NDArray[np.int_] = np.asarray(bands)[:, None] + stride * np.asarray(NEIGHBOURS)
    return indices.clip(0, count - 1)


def planes(bands: Tensor, noise: Tensor, gains: tuple[float, float]) -> Tensor:
    """Return the planes that the network reads: the bands, and constants for the gains and the noise.

    Parameters
    ----------
    bands : Tensor, shape (tile, neighbour, y, x)
        Less their means, in their standard deviations.
    noise : Tensor, shape (tile,)
        Standard deviation of the corrected band's noise, in standard deviations of that band.
    gains : (float, float)
        Of the PSF along y and x at the lr Nyquist frequency, see `nyquist_gains`.

    Returns
    -------
    Tensor, shape (tile, plane, y, x)
    """
    constants = [torch.full_like(noise, (gain - GAIN_CENTRE) * GAIN_SCALE) for gain in gains]
    constants.append((noise * NOISE_SCALE).clamp(max=MAX_NOISE_INPUT))
    constant_planes = torch.stack(constants, 1)[:, :, None, None].expand(-1, -1, *bands.shape[2:])
    return torch.cat([bands.clamp(-LARGEST_INPUT_STD, LARGEST_INPUT_STD), constant_planes], 1)


def nyquist_gains(psf: Psf) -> tuple[float, float]:
    """Return the gains of the PSF along y and x at the lr Nyquist frequency, relative to its centroid."""

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
    """Return the correction of the anchors.

    Parameters
    ----------
    network : callable
        From (planes, ratio) to a correction in standard deviations, as `UnguidedNetwork`.
    cube : Tensor, shape (band, y, x)
        The lr window, physical units, as `observed` gives it.
    levels : Levels
        Of these bands.
    anchors : sequence of int
        Bands to correct.
    psf : Psf
        The blur of the scene.
    closed : Consistency
        Of the same window, without ridges.
    orientations : int
        Number of the eight flips and quarter turns over which the network's output is averaged (test-time
        augmentation), 1 to 8. Each takes one more pass.

    Returns
    -------
    Tensor, shape (anchor, ratio * y, ratio * x)
        Physical units, without the part that the sensor would have recorded.
    """
    detail = torch.cat([_detail(network, cube, levels, some, psf, orientations) for some in _chunks(anchors)])
    return null_space_part(moved(detail, psf.shift_px), closed)


def null_space_part(detail: Tensor, closed: Consistency) -> Tensor:
    """Return the part of a correction (band, Y, X) that degrades to nothing."""
    return detail - closed.spread(closed.operator.degrade(detail))


def spread(anchors: AnchorBands, correction: Tensor, rows: slice) -> Tensor:
    """Return the correction of some bands, (band, Y, X), from that of the anchors, (anchor, Y, X)."""
    coefficients = torch.from_numpy(anchors.spread[rows]).to(correction)
    return (coefficients @ correction.flatten(1)).view(-1, *correction.shape[1:])


def _detail(
    network: Network, cube: Tensor, levels: Levels, bands: Sequence[int], psf: Psf, orientations: int
) -> Tensor:
    """Return the network's correction of some bands, (band, Y, X), physical units."""
    near = neighbours(bands, len(cube))
    mean, std = (torch.from_numpy(v).to(cube) for v in (levels.mean, levels.std))
    safe = std.clamp_min(torch.finfo(cube.dtype).tiny)
    standardised = (cube[near] - mean[near][:, :, None, None]) / safe[near][:, :, None, None]
    noise = torch.from_numpy(levels.noise).to(cube)[list(bands)] / safe[list(bands)]
    inputs = planes(standardised, noise, nyquist_gains(psf))
    return _averaged(network, inputs, psf.ratio, orientations) * std[list(bands), None, None]


def _averaged(network: Network, inputs: Tensor, ratio: int, orientations: int) -> Tensor:
    """Return the mean of the network's outputs over some orientations of its inputs."""
    outputs = (_restored(network(_oriented(inputs, *o), ratio), *o) for o in ORIENTATIONS[:orientations])
    # Added one by one, since a tile's memory holds few outputs.
    total = next(outputs)
    for output in outputs:
        total = total + output
    return total / orientations if orientations > 1 else total


def _oriented(inputs: Tensor, turns: int, mirrored: bool) -> Tensor:  # noqa: FBT001
    """Return the inputs (tile, plane, y, x) in another orientation."""
    count = len(NEIGHBOURS)
    # A quarter turn swaps rows and columns, and so the planes of their gains.
    order = [*range(count), count + turns % 2, count + 1 - turns % 2, count + 2]
    turned = torch.rot90(inputs[:, order], turns, (2, 3))
    return turned.flip(3) if mirrored else turned


def _restored(output: Tensor, turns: int, mirrored: bool) -> Tensor:  # noqa: FBT001
    """Return an output (tile, Y, X) in the original orientation."""
    return torch.rot90(output.flip(2) if mirrored else output, -turns, (1, 2))


def moved(detail: Tensor, shift_px: tuple[float, float]) -> Tensor:
    """Return planes (band, Y, X) moved down and right by cubic convolution, to where the PSF's centroid is."""
    for axis, shift in zip((1, 2), shift_px, strict=True):
        if abs(shift) < MIN_SHIFT_PX:
            continue
        offsets = math.floor(-shift) + np.arange(-1.0, 3.0)
        at = torch.arange(detail.shape[axis], device=detail.device)
        detail = torch.stack(
            [
                detail.index_select(axis, (at + int(o)).clamp(0, len(at) - 1)) * float(w)
                for o, w in zip(offsets, cubic_kernel(-shift - offsets), strict=True)
            ]
        ).sum(0)
    return detail


def _chunks(bands: Sequence[int]) -> Iterator[Sequence[int]]:
    return (bands[i : i + BANDS_AT_ONCE] for i in range(0, len(bands), BANDS_AT_ONCE))
