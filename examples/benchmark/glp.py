"""GLP with a ridge: the guide's detail injected by gains that are fitted on the detail of the lr pair.

The generalised Laplacian pyramid of B. Aiazzi et al., "MTF-tailored multiscale fusion of high-resolution MS and Pan
imagery", Photogramm. Eng. Remote Sens. 72(5), 2006, for guides of several bands: with the lr guide g = D G and the
high-pass h(Z) = Z - up(D Z),

    X = up(L) + W h(G),        W = C_Lg (C_gg + ridge tr(C_gg) / n)^-1,        C of h(L) and h(g).
"""

from __future__ import annotations

import numpy as np
from periodic import Floats, Inputs, degraded, spline

from dualsr_geo.degradation.psf import Psf

# Ridges, share of the mean variance of the guide's bands; the best counts.
RIDGES = (0.0, 1e-3, 1e-2, 3e-2)
# Smallest side of the lr pair one scale coarser, pixels.
MIN_SIDE_PX = 4


def glp(given: Inputs, ridge: float) -> Floats:
    """Return the product (band, ratio * y, ratio * x).

    Parameters
    ----------
    given : Inputs
    ridge : float
        Share of the mean variance of the guide's bands.
    """
    low = degraded(given.guide, given.psf)
    ratio = max(1, min(given.psf.ratio, min(low.shape[1:]) // MIN_SIDE_PX))
    blur = given.psf if ratio == given.psf.ratio else Psf.from_mtf(max(ratio, 2))
    height, width = (n // blur.ratio * blur.ratio for n in low.shape[1:])
    scene, guide = (
        _high_pass(cube[:, :height, :width], blur).reshape(len(cube), -1).astype(np.float64)
        for cube in (given.scene, low)
    )
    scene, guide = (v - v.mean(1, keepdims=True) for v in (scene, guide))
    covariance = guide @ guide.T
    covariance += (ridge * np.trace(covariance) / len(guide) + 1e-12) * np.eye(len(guide))
    gains = np.linalg.solve(covariance, guide @ scene.T).T
    detail = given.guide - spline(low, given.psf.ratio)
    return spline(given.scene, given.psf.ratio) + np.tensordot(gains.astype(np.float32), detail, 1)


def _high_pass(cube: Floats, psf: Psf) -> Floats:
    return cube - spline(degraded(np.ascontiguousarray(cube), psf), psf.ratio)
