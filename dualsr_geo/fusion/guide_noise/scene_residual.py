"""Noise of a guide from the scene: what the scene's components do not explain of the degraded guide.

The blur averages the guide's noise, by a factor that is known. What a regression of the degraded guide on the
components leaves over, divided by that factor, is the noise at hr scale. It is an upper bound where the bands do
not span the guide's response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import blur_matrix, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import MIN_VALID_PX, WHOLE_WEIGHT, Block, components
from dualsr_geo.fusion.subspace import Subspace

# The regression has at least so many pixels for each coefficient.
PIXELS_PER_COEFFICIENT = 4
# Share of a noisy scene's own noise that is subtracted: its estimate is uncertain by a tenth, and the residual should
# rather be too large than too small, since the guide's own detail is the other bound.
SUBTRACTED_SHARE = 0.9


@dataclass(frozen=True)
class Moments:
    """Sums of products of regressors (components, 1) and directions of the degraded guide, over some pixels.

    Each pixel is divided by the gain of the blur there, which is larger at the scene's edge.
    """

    products: NDArray[np.float64]
    pixels: int

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.products + other.products, self.pixels + other.pixels)


def block_moments(
    block: Block, psf: Psf, space: Subspace, frame: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> list[Moments]:
    """Return the moments of the quarters of a block.

    Parameters
    ----------
    block : Block
        Pixels of a weight below 1 are left out: holes, and what has changed.
    psf : Psf
    space : Subspace
    frame : (array of shape (guide band,), array of shape (guide band, direction))
        Mean of the guide, and its directions.
    """
    mean, directions = frame
    centred = operator(psf, block.shape).degrade(block.guide).double().cpu().numpy() - mean[:, None, None]
    y = np.tensordot(directions.astype(np.float64).T, centred, 1)
    z = components(space, block.cube).double().cpu().numpy()
    values = np.concatenate([z, np.ones((1, *block.shape)), y]) / _gains(psf, block.shape)
    whole = (block.weight > WHOLE_WEIGHT).cpu().numpy()
    return [_quarter(values, whole, i, j) for i in (0, 1) for j in (0, 1)]


def _quarter(values: NDArray[np.float64], whole: NDArray[np.bool_], i: int, j: int) -> Moments:
    rows, columns = (slice(n * k // 2, n * (k + 1) // 2) for n, k in zip(whole.shape, (i, j), strict=True))
    used = values[:, rows, columns][:, whole[rows, columns]]
    return Moments(used @ used.T, used.shape[1])


def _gains(psf: Psf, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the factor from the noise of the hr grid to that of each degraded pixel, (y, x)."""
    y = blur_matrix(psf.taps_y, psf.start_y, psf.ratio, shape[0], 0, shape[0])
    x = blur_matrix(psf.taps_x, psf.start_x, psf.ratio, shape[1], 0, shape[1])
    return np.outer(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1))


def residual_noise(
    moments: Moments, directions: int, psf: Psf, component_noise: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Return the standard deviation of each direction's noise at hr scale, (direction,).

    Parameters
    ----------
    moments : Moments
    directions : int
        Number of directions.
    psf : Psf
    component_noise : array, shape (component, component), optional
        Covariance of the components' own noise, of a noisy scene.

    Returns
    -------
    array or None
        None where there are too few pixels.
    """
    count = len(moments.products) - directions - 1
    if moments.pixels < MIN_VALID_PX:
        return None
    # Components come in the order of their variance: the last ones are left out where there are few pixels.
    used = max(min(count, moments.pixels // PIXELS_PER_COEFFICIENT - 1), 0)
    at = np.r_[0:used, count]
    xx, xy = moments.products[np.ix_(at, at)], moments.products[at, count + 1 :]
    yy = np.diagonal(moments.products)[count + 1 :]
    coefficients = _solve(xx, xy)
    residual = np.maximum(yy - (coefficients * xy).sum(0), 0.0)
    variance = residual / max(moments.pixels - len(at), 1)
    if component_noise is not None:
        carried = _carried(coefficients[:-1], component_noise[:used, :used], xx, moments.pixels, psf.gain)
        variance = np.maximum(variance - SUBTRACTED_SHARE * carried, (1 - SUBTRACTED_SHARE) * variance)
    return np.asarray(np.sqrt(variance))


def _solve(xx: NDArray[np.float64], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return least-squares coefficients, of regressors scaled to equal size."""
    scale = 1 / np.sqrt(np.maximum(np.diagonal(xx), 1e-300))
    solution = np.linalg.lstsq(xx * scale * scale[:, None], xy * scale[:, None], rcond=1e-12)[0]
    return np.asarray(solution * scale[:, None])


def _carried(
    coefficients: NDArray[np.float64],
    noise: NDArray[np.float64],
    xx: NDArray[np.float64],
    pixels: int,
    gain: float,
) -> NDArray[np.float64]:
    """Return the variance that the components' own noise adds to the residual, at hr scale.

    With z = signal + e and W the coefficients found, it is W S (I + C^-1 S) W', S the covariance of e, C that of the
    signal, which is taken as at least that of the noise.
    """
    observed = xx[:-1, :-1] / pixels * gain**2
    lower = np.linalg.cholesky(noise + 1e-12 * np.trace(noise) / max(len(noise), 1) * np.eye(len(noise)))
    whitened = np.linalg.solve(lower, np.linalg.solve(lower, observed).T)
    values, vectors = np.linalg.eigh((whitened + whitened.T) / 2)
    weights = vectors.T @ lower.T @ coefficients
    return np.asarray(((1 + 1 / np.maximum(values - 1, 1.0))[:, None] * weights**2).sum(0) / gain**2)


def component_noise(space: Subspace, scene_noise: NDArray[np.floating] | None) -> NDArray[np.float64] | None:
    """Return the covariance of the components' noise, (component, component); None for scenes without noise.

    On clean scenes the estimates of noise hold texture that bands do not share, and are not subtracted.
    """
    if space.noise == 0 or space.count == 0:
        return None
    if scene_noise is None or len(scene_noise) != len(space.mean):
        return space.noise**2 * np.eye(space.count)
    project = space.project.astype(np.float64)
    return np.asarray((project * np.asarray(scene_noise, np.float64) ** 2) @ project.T)


def cpu_planes(guide: torch.Tensor) -> NDArray[np.float32]:
    """Return a guide as an array."""
    return guide.detach().to("cpu", torch.float32).numpy()
