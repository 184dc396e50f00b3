"""FUSE: Bayesian fusion by a Sylvester equation that is solved in closed form.

Q. Wei, N. Dobigeon and J.-Y. Tourneret, "Fast fusion of multi-band images based on solving a Sylvester equation",
IEEE Trans. Image Process. 24(11), 2015. In the subspace X = E U the maximum of the posterior with a Gaussian prior
of mean mu and covariance Sigma is the solution of

    C1 U + U C2 = C3,        C1 = s_h^2 ((R E)^T (R E) / s_m^2 + Sigma^-1),   C2 = B S S^T B^T,

    C3 = (B S)^T E^T Y_h + s_h^2 ((R E)^T Y_m / s_m^2 + Sigma^-1 mu),

with scene Y_h = X B S and guide Y_m = R X. C1 is diagonalised, and every direction is solved on the Fourier domain,
where C2 is of rank one over the aliases of a frequency.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from periodic import Complex, Floats, Inputs, by_alias, degraded, kernel, spline, subspace
from scipy import fft

from dualsr_geo.degradation.psf import Psf

# Noise of the guide that is assumed, share of its root mean square; the best of the three counts.
GUIDE_NOISES = (0.001, 0.004, 0.016)
# Noise of the scene that is assumed, share of its root mean square.
SCENE_NOISE = 0.001
# Ratio at which the lr scene shows how much detail a spline lacks: the prior's covariance.
PRIOR_RATIO = 2
# Least variance of the prior, share of the largest.
MIN_PRIOR = 1e-6


def fuse(given: Inputs, guide_noise: float) -> Floats:
    """Return the product (band, ratio * y, ratio * x).

    Parameters
    ----------
    given : Inputs
    guide_noise : float
        Standard deviation of the guide's noise, share of its root mean square.
    """
    wide = given.continued()
    expand = subspace(wide.scene)
    observed = _times(expand.T, wide.scene)
    mean = spline(observed, given.psf.ratio)
    inverse = np.linalg.inv(_prior(observed))
    responses = wide.response @ expand
    scene_variance, guide_variance = (SCENE_NOISE * _rms(wide.scene)) ** 2, (guide_noise * _rms(wide.guide)) ** 2
    values, vectors = np.linalg.eigh(scene_variance * (responses.T @ responses / guide_variance + inverse))
    from_guide = _times(scene_variance / guide_variance * (vectors.T @ responses.T), wide.guide)
    known = from_guide + _times(scene_variance * (vectors.T @ inverse), mean)
    solved = sylvester(values, known, _times(vectors.T, observed), given.psf)
    return given.cut(_times(expand @ vectors, solved))


def sylvester(values: NDArray[np.float64], known: Floats, observed: Floats, psf: Psf) -> Floats:
    """Solve ``values * u + u B S S^T B^T = known + observed (B S)^T`` for each direction.

    Parameters
    ----------
    values : array, shape (direction,)
    known : array, shape (direction, ratio * y, ratio * x)
    observed : array, shape (direction, y, x)
    psf : Psf
    """
    transfer = by_alias(kernel(psf, known.shape[1:]), psf.ratio)
    power = (np.abs(transfer) ** 2).sum((0, 2))
    out = np.empty_like(known)
    for i, value in enumerate(values):
        lr: Complex = fft.fft2(observed[i])
        right = by_alias(fft.fft2(known[i]), psf.ratio) + transfer.conj() * lr[None, :, None]
        common = (transfer * right).sum((0, 2)) / (psf.ratio**2 * value + power)
        solved = (right - transfer.conj() * common[None, :, None]) / value
        out[i] = fft.ifft2(solved.reshape(known.shape[1:])).real
    return out


def _prior(observed: Floats) -> NDArray[np.float64]:
    """Return the covariance of what a spline lacks, (component, component), from the scene one scale coarser."""
    height, width = (n // PRIOR_RATIO * PRIOR_RATIO for n in observed.shape[1:])
    cut = observed[:, :height, :width]
    lacking = cut - spline(degraded(cut, Psf.from_mtf(PRIOR_RATIO)), PRIOR_RATIO)
    covariance = np.cov(lacking.reshape(len(cut), -1).astype(np.float64)).reshape(len(cut), len(cut))
    return np.asarray(covariance + MIN_PRIOR * np.trace(covariance) * np.eye(len(cut)))


def _times(matrix: NDArray[np.float64], planes: Floats) -> Floats:
    return np.asarray(np.tensordot(matrix.astype(np.float32), planes, 1))


def _rms(cube: Floats) -> float:
    return float(np.sqrt(np.mean(cube.astype(np.float64) ** 2)))
