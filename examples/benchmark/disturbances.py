"""What goes wrong between a scene and its guide: a shift, holes, a wrong blur."""

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
    """What a model gets, and what it is scored against.

    Attributes
    ----------
    scene : array, shape (band, y, x)
        NaN where nothing is.
    guide : array, shape (guide band, ratio * y, ratio * x), or None
    reference : array, shape (band, ratio * y, ratio * x)
        NaN where it is not scored.
    ratio : int
    gain : float
        MTF gain that the PSF disturbances start from, mean of the bands.
    seed : int
        Of whatever is drawn.
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
        What is done, for the reader of the results.
    apply : callable
        Pair -> Pair.
    needs : str
        What a model must use for the disturbance to mean anything: ``"guide"``, ``"psf"`` or ``""``.
    psf : str
        How the blur is known.
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
    """Take a share of the scene's pixels away, in blobs, in all bands; the reference loses them, too."""
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


def told(pair: Pair, times: float) -> Pair:
    """Give the PSF of the `mtf` degradation, with its sigma times a factor."""
    sigma = Psf.from_mtf(pair.ratio, pair.gain).sigma_px
    return replace(pair, psf=Psf.gaussian(pair.ratio, (sigma[0] * times, sigma[1] * times)))


def _left(pair: Pair) -> Pair:
    return pair


_SHIFT = "The guide lies {} hr px below and right of where it should (quintic spline, edges mirrored)."

DISTURBANCES = {
    "none": Disturbance("", _left),
    "shift-0.5": Disturbance(_SHIFT.format(0.5), partial(shifted, by_px=0.5), "guide"),
    "shift-1": Disturbance(_SHIFT.format(1), partial(shifted, by_px=1.0), "guide"),
    "holes": Disturbance(
        "10 % of the scene's pixels are nodata, in blobs. The score is that of the pixels that stay, which may be easier "
        "or harder than all.",
        partial(holed, share=0.1),
    ),
    "psf": Disturbance("The right PSF is given instead of estimated.", partial(told, times=1.0), "psf", "given"),
    "psf+30": Disturbance("A PSF 30 % too wide is given.", partial(told, times=1.3), "psf", "given x1.3"),
    "psf-30": Disturbance("A PSF 30 % too narrow is given.", partial(told, times=0.7), "psf", "given x0.7"),
}
