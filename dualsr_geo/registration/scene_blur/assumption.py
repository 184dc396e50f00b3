"""The blur that is assumed without a guide: given, of the sensor, or estimated from the scene and narrowed.

A blur that is too wide by 0.1 lr pixels costs up to 3 dB, one that is too narrow by as much a few tenths: what is
assumed is on the narrow side of the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.registration.guide_placement import Placement, assumed_placement
from dualsr_geo.registration.options import RegistrationOptions
from dualsr_geo.registration.scene_blur.estimate import (
    MIN_SIDE_LR,
    SceneBlur,
    estimate_scene_blur,
    gain_of,
    width_of,
)

# The MTF gain where it cannot be estimated: none between 0.5 and 0.7 is worse than bicubic by more than 0.3 dB under any
# blur from a Gaussian of 0.15 to Lanczos' kernel, where 0.3 loses 2 dB.
FALLBACK_GAIN = 0.5
# The largest gain that is assumed; a larger one sharpens nothing.
LARGEST_GAIN = 0.85
# Estimates of wide blurs are drawn to the mean of the training by about this share of what exceeds the width, lr pixels:
# Gaussians of gain 0.3 and 0.15 are estimated 0.03 too narrow. Too wide an assumption costs less there, too.
WIDE_LR, STRETCH = 0.38, 0.35
# By how much the width is narrowed: the standard error within these limits, lr pixels; the lower one where the widths of
# blocks are known.
NARROWING_RANGE_LR = (0.03, 0.06)
# The quantile of the blocks' widths is too narrow by about so much where the blur is the same everywhere, lr pixels.
BLOCK_EXCESS_LR = 0.04
# The narrowest width that is assumed, lr pixels.
MIN_WIDTH_LR = 0.15
ADVICE = "Give --mtf-gain, --psf or --sensor if you know the blur."


def assumed_gain(blur: SceneBlur) -> float:
    """Return the MTF gain at the lr Nyquist frequency that is assumed for an estimate."""
    return min(LARGEST_GAIN, gain_of(max(assumed_width(blur), MIN_WIDTH_LR)))


def assumed_width(blur: SceneBlur) -> float:
    """Return the narrowed width, lr pixels: of the scene, or of its narrowest block if that is less."""
    low, high = NARROWING_RANGE_LR
    if blur.narrow_lr is None:
        return _stretched(blur.width_lr) - min(max(blur.error_lr, low), high)
    return min(_stretched(blur.width_lr) - low, _stretched(blur.narrow_lr) + BLOCK_EXCESS_LR)


def _stretched(width: float) -> float:
    return width + STRETCH * max(width - WIDE_LR, 0.0)


def unguided_placement(
    cubes: Sequence[NDArray[Any]], weights: Sequence[NDArray[Any]], options: RegistrationOptions
) -> Placement:
    """Return the placement of a scene without a guide.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Filled blocks of the scene, without NaN.
    weights : sequence of array, shape (y, x)
        Validity of the pixels, 0..1.
    options : RegistrationOptions
        A given PSF, MTF gain or named sensor is used as it is; that of a recognised sensor unless the scene
        contradicts it.
    """
    if options.psf is not None or (options.mtf_gain is not None and options.mtf_named):
        return assumed_placement(options)
    blur = estimate_scene_blur(cubes, weights, options.ratio)
    if options.mtf_gain is not None:
        return _of_sensor(options, options.mtf_gain, blur)
    return _unknown(weights, options) if blur is None else _estimated(blur, options)


def _estimated(blur: SceneBlur, options: RegistrationOptions) -> Placement:
    gain = assumed_gain(blur)
    note = f"The scene's blur was estimated from the scene: {describe(blur)}; {gain:.2f} is assumed. {ADVICE}"
    psf = Psf.from_mtf(options.ratio, gain)
    return Placement(psf, "estimated from the scene", assumption=note, scene_blur=blur)


def _unknown(weights: Sequence[NDArray[Any]], options: RegistrationOptions) -> Placement:
    side = max(min(w.shape) for w in weights)
    why = (
        f"it is {side} pixels wide, and {MIN_SIDE_LR} are needed"
        if side < MIN_SIDE_LR
        else "it has no sharp edge that is more than noise"
    )
    note = (
        f"The scene's blur could not be estimated from the scene ({why}): an MTF gain of {FALLBACK_GAIN:.2f} at Nyquist "
        f"is assumed. {ADVICE}"
    )
    return Placement(Psf.from_mtf(options.ratio, FALLBACK_GAIN), "assumed", assumption=note)


def _of_sensor(options: RegistrationOptions, gain: float, blur: SceneBlur | None) -> Placement:
    """Return the placement of a recognised sensor; of two blurs that contradict one another the narrower."""
    sensor = assumed_placement(options)
    if blur is None:
        return sensor
    sensor = Placement(sensor.psf, sensor.source, scene_blur=blur)
    width = width_of(gain)
    if abs(width - blur.width_lr) <= blur.error_lr:
        return sensor
    estimated = _estimated(blur, options)
    narrower = estimated if assumed_gain(blur) > gain else sensor
    used = assumed_gain(blur) if narrower is estimated else gain
    note = (
        f"The sensor's MTF gain at Nyquist is {gain:.2f}; the scene shows {describe(blur)}. "
        f"The larger is on the safe side: {used:.2f} is assumed. {ADVICE}"
    )
    return Placement(narrower.psf, narrower.source, assumption=note, scene_blur=blur)


def describe(blur: SceneBlur) -> str:
    """Return what was estimated, for a sentence."""
    low, high = blur.gain_range
    return f"MTF gain {blur.gain:.2f} at Nyquist ({low:.2f} to {high:.2f})"
