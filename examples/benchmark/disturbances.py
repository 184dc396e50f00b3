"""Disturbances of a scene and its guide: a shift, holes, a wrong blur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as spline_shift

from dualsr_geo.degradation.psf import Psf

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Inputs of a model, and the reference of its scores.

    Attributes
    ----------
    scene : array, shape (band, y, x)
        NaN for nodata.
    guide : array, shape (guide band, ratio * y, ratio * x), or None
    reference : array, shape (band, ratio * y, ratio * x)
        NaN where it is not scored.
    ratio : int
    gain : float
        MTF gain that the PSF disturbances start from, mean of the bands.
    seed : int
        Of random numbers.
    psf : Psf or None
        The blur given to the model; None leaves it to estimate it.
    """

    scene: Floats
    guide: Floats | None
    reference: Floats
    ratio: int
    gain: float
    seed: int
    psf: Psf | None = None


@dataclass(frozen=True)
class Disturbance:
    """A change of the pair.

    Attributes
    ----------
    sentence : str
        Description on the page of results.
    apply : callable
        Pair -> Pair.
    needs : str
        The input that a model must use for the disturbance to have an effect: ``"guide"``, ``"psf"`` or ``""``.
    psf : str
        Source of the blur.
    """

    sentence: str
    apply: Callable[[Pair], Pair]
    needs: str = ""
    psf: str = "blind"


def shifted(pair: Pair, by_px: float) -> Pair:
    """Move the guide's content down and right, hr pixels, by a quintic spline; edges mirrored."""
    if pair.guide is None:
        return pair
    return replace(pair, guide=spline_shift(pair.guide, (0, by_px, by_px), order=5, mode="reflect"))


def holed(pair: Pair, share: float) -> Pair:
    """Set a share of the scene's pixels to nodata, in blobs, in all bands; the same in the reference."""
    gone = blobs(pair.scene.shape[1:], share, pair.seed)
    wide = gone.repeat(pair.ratio, 0).repeat(pair.ratio, 1)
    nothing = np.float32(np.nan)
    return replace(pair, scene=np.where(gone, nothing, pair.scene), reference=np.where(wide, nothing, pair.reference))


def blobs(shape: tuple[int, ...], share: float, seed: int) -> NDArray[np.bool_]:
    """Return a mask (y, x) of exactly that share of pixels: where smooth noise is highest."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = gaussian_filter(noise, max(1.0, min(shape) / 16))
    mask = np.zeros(noise.size, bool)
    mask[smooth.ravel().argsort()[noise.size - round(share * noise.size) :]] = True
    return mask.reshape(shape)


def with_psf(pair: Pair, times: float) -> Pair:
    """Add the PSF of the `mtf` degradation, with its sigma times a factor."""
    sigma = Psf.from_mtf(pair.ratio, pair.gain).sigma_px
    return replace(pair, psf=Psf.gaussian(pair.ratio, (sigma[0] * times, sigma[1] * times)))


def _unchanged(pair: Pair) -> Pair:
    return pair


_SHIFT = "The guide is displaced by {} hr px down and right (quintic spline, edges mirrored)."

DISTURBANCES = {
    "none": Disturbance("", _unchanged),
    "shift-0.5": Disturbance(_SHIFT.format(0.5), partial(shifted, by_px=0.5), "guide"),
    "shift-1": Disturbance(_SHIFT.format(1), partial(shifted, by_px=1.0), "guide"),
    "holes": Disturbance(
        "10 % of the scene's pixels are nodata, in blobs. The score is that of the remaining pixels, which may be easier "
        "or harder than all.",
        partial(holed, share=0.1),
    ),
    "psf": Disturbance("The right PSF is given instead of estimated.", partial(with_psf, times=1.0), "psf", "given"),
    "psf+30": Disturbance("A PSF 30 % too wide is given.", partial(with_psf, times=1.3), "psf", "given x1.3"),
    "psf-30": Disturbance("A PSF 30 % too narrow is given.", partial(with_psf, times=0.7), "psf", "given x0.7"),
}
