"""Checks that a guide has detail to lend: it is not constant, saturated, posterised, and shows the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, stack

Array = NDArray[np.floating]

# Share of a band's pixels at its largest or smallest value from which the band is saturated. Of 40 bands as measured the
# largest share is 0.1 %; images that were drawn for display have 1 to 96 %.
SATURATED_SHARE = 0.05
# A guide of no more distinct values than this in any band is posterised: 8-bit images have 100 and more.
FEW_LEVELS = 32
# Number of pixels from which distinct values are counted.
MIN_PIXELS = 4096
# Share of a posterised guide's variance within the scene's pixels from which it is a map of labels. Ten images of eight
# grey levels have 0.09 to 0.58, as maps of shuffled labels airborne and satellite scenes have 0.5 to 0.9.
LABELS_SHARE = 0.6
# Mean share of the bands' variance that the guide explains, below which it is not used: guides of noise have up to 0.04
# in scenes of 24 x 24 pixels, real guides 0.2 and more.
MIN_RELEVANCE = 0.05
# Share of the variance of one or two bands from which a guide's explanation needs no note: of simulated temperatures
# optical bands explain 0.75 to 0.85.
EXPLAINED_WELL = 0.4


def note_guide_values(guides: Sequence[Array]) -> list[str]:
    """Return notes if a guide is constant, saturated or posterised.

    Parameters
    ----------
    guides : sequence of array, shape (guide band, Y, X)
        The sampled guide, NaN where it has no value.
    """
    values = _valid(guides)
    if not values.shape[1]:
        return []
    low, high = values.min(1), values.max(1)
    if (low == high).all():
        levels = ", ".join(f"{v:g}" for v in low)
        return [
            (
                f"The guide is constant ({levels}) where it was sampled: it has no detail, and the product is made as "
                "without it. Check which file and bands are given as --rgb."
            )
        ]
    return [*_note_saturation(values, low, high), *_note_few_levels(values)]


def _note_saturation(values: Array, low: Array, high: Array) -> list[str]:
    """Return a note on the band with the largest share of pixels at an end of its range."""
    varies = low < high
    if values.shape[1] < MIN_PIXELS or not varies.any() or _levels(values) <= FEW_LEVELS:
        return []
    shares = np.stack([(values == end[:, None]).mean(1) for end in (low, high)]) * varies
    end, band = np.unravel_index(int(shares.argmax()), shares.shape)
    if shares[end, band] < SATURATED_SHARE:
        return []
    value = (low, high)[end][band]
    return [
        (
            f"{shares[end, band]:.0%} of the pixels of the guide's band {band + 1} have its "
            f"{('smallest', 'largest')[end]} value, {value:g}: it is saturated or not declared as nodata, and shows no "
            "detail there. Give a guide that is not stretched for display, or its nodata value."
        )
    ]


def _note_few_levels(values: Array) -> list[str]:
    """Return a note if all bands have few distinct values."""
    levels = _levels(values)
    if values.shape[1] < MIN_PIXELS or levels > FEW_LEVELS:
        return []
    return [
        (
            f"The guide has at most {levels} different values in a band (an 8-bit image has up to 256): its steps "
            "look like edges. Give the image as it was measured, not as it was drawn."
        )
    ]


def _valid(guides: Sequence[Array]) -> Array:
    """Return the pixels that have a value in all bands, (guide band, pixel)."""
    return np.concatenate([g[:, np.isfinite(g).all(0)] for g in guides], 1)


def _levels(values: Array) -> int:
    """Return the largest number of distinct values of a band."""
    return max(len(np.unique(row)) for row in values)


def is_label_map(guides: Sequence[Array], blocks: Sequence[Block], psf: Psf) -> bool:
    """Return whether a guide has few values that differ from pixel to pixel, as a map of labels has.

    Parameters
    ----------
    guides : sequence of array, shape (guide band, Y, X)
        The sampled guide as read.
    blocks : sequence of Block
        The sample with its registered guide.
    psf : Psf
        Blur of the scene.
    """
    values = _valid(guides)
    if values.shape[1] < MIN_PIXELS or _levels(values) > FEW_LEVELS:
        return False
    fine = np.concatenate([b.guide.flatten(1).numpy() for b in blocks], 1).var(1).sum()
    coarse = stack([operator(psf, b.shape).degrade(b.guide) for b in blocks]).var(1).sum()
    return bool(coarse < (1 - LABELS_SHARE) * fine)


def note_label_map(guides: Sequence[Array]) -> str:
    """Return a note that a guide is a map of labels."""
    return (
        f"The guide has at most {_levels(_valid(guides))} different values, which jump from pixel to pixel: it seems to be "
        "a map of labels or an image with a colour table, and is not used. Give an image, e.g. by gdal_translate -expand rgb."
    )


def explained_share(relevance: NDArray[np.float32], guide_bands: int, pixels: float) -> float:
    """Return the mean share of the bands' variance that a guide explains, beyond what it does by chance.

    Parameters
    ----------
    relevance : array, shape (band,)
        Coefficients of determination of the bands.
    guide_bands : int
    pixels : float
        Number of pixels that they were computed from.
    """
    return 1 - (1 - float(relevance.mean())) * max(pixels - 1, 1) / max(pixels - guide_bands - 1, 1)


def note_weak_guide(share: float) -> list[str]:
    """Return a note if a guide that is used explains little of a scene of one or two bands."""
    if share >= EXPLAINED_WELL:
        return []
    note = (
        f"The guide explains {max(share, 0):.0%} of the scene's variance: the product has only that part of its detail from the "
        "guide, the rest is interpolated. A guide with bands that the scene follows more closely gives more detail: for a "
        "temperature red, near and short-wave infrared bands of the same date."
    )
    return [note]


def note_irrelevant_guide(share: float) -> str:
    """Return a note that a guide explains next to nothing of the scene."""
    return (
        f"The guide explains {max(share, 0):.1%} of the bands' variance: it seems to show another place, or noise, and is "
        "not used. Check it with dualsr-geo guide-check."
    )
