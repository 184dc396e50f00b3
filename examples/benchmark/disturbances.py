"""Disturbances of a scene and its guide: a shift, holes, a wrong blur, and what real guides have."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as spline_shift

from dualsr_geo.degradation.psf import Psf

Floats = NDArray[np.float32]

# The full scale of a guide: its noise is a share of this percentile, and 8-bit values and JPEG end there.
FULL_SCALE_PERCENTILE = 99.9
# What is left of the differences between the bands of a collinear guide.
COLLINEAR_SHARE = 0.1


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
    response : array, shape (guide band, band), or None
        The guide's true spectral response, for the contenders; None for real guides.
    """

    scene: Floats
    guide: Floats | None
    reference: Floats
    ratio: int
    gain: float
    seed: int
    psf: Psf | None = None
    response: NDArray[np.float64] | None = None


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


def full_scale(guide: Floats) -> float:
    """Return the value that a guide's noise, 8-bit values and JPEG are relative to."""
    return float(np.percentile(guide, FULL_SCALE_PERCENTILE))


def with_guide_noise(pair: Pair, share: float) -> Pair:
    """Add Gaussian noise of a share of the full scale to the guide."""
    if pair.guide is None:
        return pair
    noise = np.random.default_rng(pair.seed).standard_normal(pair.guide.shape, np.float32)
    return replace(pair, guide=pair.guide + np.float32(share * full_scale(pair.guide)) * noise)


def with_scene_noise(pair: Pair, std: float) -> Pair:
    """Add Gaussian noise to the scene."""
    noise = np.random.default_rng(pair.seed + 1).standard_normal(pair.scene.shape, np.float32)
    return replace(pair, scene=pair.scene + np.float32(std) * noise)


def quantised(pair: Pair) -> Pair:
    """Round the guide to 8 bit."""
    return pair if pair.guide is None else replace(pair, guide=_decoded(_bytes(pair.guide), pair.guide))


def compressed(pair: Pair, quality: int) -> Pair:
    """Compress the guide by JPEG: three bands as one colour image, others one by one in grey."""
    if pair.guide is None:
        return pair
    values = _bytes(pair.guide)
    images = [values.transpose(1, 2, 0)] if len(values) == 3 else list(values)  # red, green, blue
    parts = [np.atleast_3d(_jpeg(np.ascontiguousarray(image), quality)) for image in images]
    return replace(pair, guide=_decoded(np.concatenate(parts, 2).transpose(2, 0, 1), pair.guide))


def collinear(pair: Pair) -> Pair:
    """Pull the guide's bands to their mean by nine tenths, and round to 8 bit."""
    if pair.guide is None:
        return pair
    count = len(pair.guide)
    mixing = COLLINEAR_SHARE * np.eye(count) + (1 - COLLINEAR_SHARE) / count
    guide = np.tensordot(mixing.astype(np.float32), pair.guide, 1)
    response = None if pair.response is None else mixing @ pair.response
    return quantised(replace(pair, guide=guide, response=response))


def _bytes(guide: Floats) -> NDArray[np.uint8]:
    return (guide / full_scale(guide) * 255).round().clip(0, 255).astype(np.uint8)


def _decoded(values: NDArray[np.uint8], guide: Floats) -> Floats:
    return np.ascontiguousarray(values * np.float32(full_scale(guide) / 255))


def _jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


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

# What real guides and scenes have, which the default grid leaves out.
REALITIES = {
    **{
        f"guide-noise-{percent}": Disturbance(
            f"Gaussian noise of {percent} % of the guide's {FULL_SCALE_PERCENTILE}th percentile is added to the guide.",
            partial(with_guide_noise, share=percent / 100),
            "guide",
        )
        for percent in (0.1, 0.3, 1)
    },
    "guide-8bit": Disturbance(
        f"The guide is rounded to 8 bit, up to its {FULL_SCALE_PERCENTILE}th percentile.", quantised, "guide"
    ),
    **{
        f"guide-jpeg-{quality}": Disturbance(
            f"The guide is rounded to 8 bit and compressed by JPEG of quality {quality}: three bands in colour, others in grey.",
            partial(compressed, quality=quality),
            "guide",
        )
        for quality in (90, 75)
    },
    "guide-collinear": Disturbance(
        "The guide's bands are pulled to their mean by nine tenths, and rounded to 8 bit.", collinear, "guide"
    ),
    **{
        f"noise-{level}": Disturbance(
            f"Gaussian noise of {level}/255 of the reference's largest value is added to the scene.",
            partial(with_scene_noise, std=level / 255),
        )
        for level in (1, 3)
    },
}
ALL_DISTURBANCES = {**DISTURBANCES, **REALITIES}
