"""Placement of the guide on the scene: its shift, and the blur of the scene against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN, Psf
from dualsr_geo.degradation.psf_spread import PsfSpread
from dualsr_geo.fusion.blocks import Filled
from dualsr_geo.fusion.few_bands.logarithms import predicts_few
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.registration.blur_estimation import (
    COMPONENT_COUNT,
    MAX_SHIFT_LR,
    BlurEstimate,
    estimate_blur,
    narrow_estimate,
)
from dualsr_geo.registration.guide_regression import RegressionBlock
from dualsr_geo.registration.options import RegistrationOptions
from dualsr_geo.registration.scene_blur.estimate import SceneBlur
from dualsr_geo.registration.scene_prediction import predicting_direction
from dualsr_geo.registration.shift import SHIFT_SUPPORT_PX, move_guide
from dualsr_geo.registration.shift_description import describe_shift

# The PSF is estimated on about so many lr pixels; more of them do not change it, but take seconds.
SAMPLE_PX = 16384
# Shifts of the guide below this are left to the PSF: an interpolation of the guide would only blur it.
MIN_SHIFT_PX = 0.1
# How often the guide's shift is undone and estimated again: at a large shift the scene explains less of the guide.
MAX_MOVES = 2
# A shift that is not undone is noted from here on.
NOTED_SHIFT_PX = 0.5
# A known width contradicts the estimate where they differ by more than this share and so many standard errors. An error
# of 1 % loses 0.1 dB where nothing else is wrong (clean CAVE, x4), 2 % 0.3 dB and 5 % 1.5 dB; elsewhere a tenth of that.
WIDTH_TOLERANCE, STANDARD_ERRORS = 0.01, 2.0
# A given PSF is used in any case; a difference is noted above these. Estimates of a PSF that is no Gaussian are
# themselves off by up to 6 % and 0.3 hr pixels (SFPN's one-sided blur with noise).
GIVEN_WIDTH_TOLERANCE, GIVEN_SHIFT_TOLERANCE_PX = 0.1, 0.3
# A blur that differs from place to place is noted from this narrowing on, lr pixels.
NOTED_NARROWING_LR = 0.03
# A lr pixel counts where at least this share of its guide is valid: all but for rounding.
MIN_GUIDED_SHARE = 0.999


@dataclass(frozen=True)
class Placement:
    """The scene's blur and its guide's shift; part of the survey.

    Attributes
    ----------
    psf : Psf
        Blur of the scene against the guide after the move.
    source : str
        ``"given"``, ``"estimated gaussian"``, ``"estimated taps"``, ``"sensor"``, ``"default"``; without a guide
        ``"estimated from the scene"``, and ``"assumed"`` where that cannot be done.
    shift_px : (float, float)
        Shift of the guide against the scene, downwards and to the right, hr pixels.
    moved_px : (float, float)
        The part of the shift that is undone, hr pixels.
    shift_error_px, sigma_error_px : (float, float) or None
        Standard errors of shift and width, hr pixels; None where they were not estimated.
    spread : PsfSpread or None
        How far blur and shift differ from place to place; None where they do not.
    notes : tuple of str
        For the user.
    scene_blur : SceneBlur or None
        The blur that the scene itself shows; None where it was not estimated.
    assumption : str or None
        What is assumed of a blur that no guide shows, or a guide differently from place to place, a sentence; None
        where it is given, or a guide shows it.
    """

    psf: Psf
    source: str
    shift_px: tuple[float, float] = (0.0, 0.0)
    moved_px: tuple[float, float] = (0.0, 0.0)
    shift_error_px: tuple[float, float] | None = None
    sigma_error_px: tuple[float, float] | None = None
    spread: PsfSpread | None = None
    notes: tuple[str, ...] = ()
    scene_blur: SceneBlur | None = None
    assumption: str | None = None

    def noting(self, note: str) -> Placement:
        """Return the placement with one more note."""
        return replace(self, notes=(*self.notes, note))


def assumed_placement(options: RegistrationOptions) -> Placement:
    """Return the placement without any estimate: a given blur, the sensor's, or the default one, and no shift."""
    if options.psf is not None:
        return Placement(options.psf, "given")
    if options.mtf_gain is not None:
        return Placement(Psf.from_mtf(options.ratio, options.mtf_gain), "sensor")
    return Placement(Psf.from_mtf(options.ratio, DEFAULT_MTF_GAIN), "default")


def estimate_placement(
    space: Subspace,
    cubes: Sequence[Filled],
    guides: Sequence[NDArray[np.float32]],
    options: RegistrationOptions,
    start_px: tuple[float, float] = (0.0, 0.0),
) -> Placement:
    """Estimate blur and shift, and decide whether the shift is undone.

    Parameters
    ----------
    space : Subspace
        Its leading components stand for the scene.
    cubes : sequence of (Tensor, Tensor)
        Filled cubes (band, y, x) and weights (y, x) of the sample.
    guides : sequence of array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        With the margin of `sample_margin`, NaN where the guide does not reach.
    options : RegistrationOptions
        A given blur is not replaced by the estimate.
    start_px : (float, float)
        A shift that is known roughly, from which the search starts, hr pixels.
    """
    assumed = assumed_placement(options)

    def blocks(moved_px: tuple[float, float]) -> list[RegressionBlock]:
        return _blocks(space, cubes, guides, assumed.psf, moved_px)

    def estimated(moved_px: tuple[float, float]) -> BlurEstimate | None:
        return estimate_blur(blocks(moved_px), options.ratio, near=moved_px != (0.0, 0.0))

    estimate = estimated(start_px)
    if options.psf is not None:
        return _given(assumed, estimate)
    if estimate is not None and not estimate.shift_reliable and start_px != (0.0, 0.0):
        # The guide is known to show the scene. Where it is displaced locally one fit may be flat, and blocks are not.
        estimate = narrow_estimate(estimate, blocks(start_px))
    if estimate is None or not estimate.shift_reliable:
        return _unreliable(assumed, estimate, options)
    shift = _sum(start_px, estimate.shift_px)
    placement = replace(assumed, shift_px=shift, shift_error_px=estimate.shift_error_px)
    if max(map(abs, shift)) > MIN_SHIFT_PX and options.coregister != "off":
        for _ in range(MAX_MOVES):
            placement = replace(placement, shift_px=shift, moved_px=shift)
            estimate = estimated(shift) or estimate
            residual = estimate.psf.shift_px
            if not estimate.shift_reliable or max(map(abs, residual)) <= MIN_SHIFT_PX:
                break
            shift = _sum(shift, residual)
    elif max(map(abs, shift)) > NOTED_SHIFT_PX:
        placement = placement.noting(
            f"The guide lay {describe_shift(shift)} (pixels of the product) and was not moved: the product has the guide's "
            "position. Give --coregister auto to move the guide."
        )
    return _with_width(placement, narrow_estimate(estimate, blocks(placement.moved_px)), options)


def _sum(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return a[0] + b[0], a[1] + b[1]


def _blocks(
    space: Subspace,
    cubes: Sequence[Filled],
    guides: Sequence[NDArray[np.float32]],
    blur: Psf,
    moved_px: tuple[float, float],
) -> list[RegressionBlock]:
    """Return blocks of the sample with the guide's shift undone, up to about `SAMPLE_PX` in all."""
    blocks: list[RegressionBlock] = []
    pixels = 0
    for (cube, weight), guide in zip(cubes, guides, strict=True):
        if pixels > SAMPLE_PX:
            break
        moved = move_guide(guide, moved_px, sample_margin(blur.ratio))
        block = _block(space, cube, weight, moved.astype(np.float64), blur)
        if block is not None:
            blocks.append(block)
            pixels += block.weight.size
    few = bool(blocks) and predicts_few(len(space.mean), len(blocks[0].guide))
    return predicting_direction(blocks, blur.ratio) if few else blocks


def _block(
    space: Subspace, cube: torch.Tensor, weight: torch.Tensor, guide: NDArray[np.float64], blur: Psf
) -> RegressionBlock | None:
    """Return the middle of a block of the sample: leading components and guide; None without a guide."""
    valid = np.asarray(np.isfinite(guide).all(0))
    if not valid.any():
        return None
    ratio = blur.ratio
    height, width = (min(n, int(np.sqrt(SAMPLE_PX))) for n in cube.shape[1:])
    y, x = (cube.shape[1] - height) // 2, (cube.shape[2] - width) // 2
    cut = np.s_[..., y : y + height, x : x + width]
    cut_hr = np.s_[..., y * ratio : (y + height) * ratio, x * ratio : (x + width) * ratio]
    z = space.components(cube.flatten(1).numpy())[:COMPONENT_COUNT].reshape(-1, *cube.shape[1:])
    mean = np.asarray(guide[:, valid].mean(1))[:, None, None]
    centred = np.where(valid, guide - mean, 0.0)[cut_hr]
    share = operator(blur, (height, width)).degrade(torch.from_numpy(np.asarray(valid[cut_hr], np.float32)))
    guided = share.numpy() > MIN_GUIDED_SHARE
    return RegressionBlock(z[cut].astype(np.float64), centred, (weight.numpy()[cut] * guided).astype(np.float64))


def _unreliable(assumed: Placement, estimate: BlurEstimate | None, options: RegistrationOptions) -> Placement:
    """Return the assumed placement with a note; of two unreliable widths the narrower, which costs less if wrong."""
    why = (
        "the sample is too small"
        if estimate is None
        else "the estimates of its parts disagree, or one blur fits as well as another"
    )
    blur = (
        ""
        if assumed.source == "default"
        else f" The {assumed.source} blur of {assumed.psf.sigma_px[0]:.2f} px is assumed."
    )
    noted = assumed.noting(f"Blur and shift of the guide could not be estimated ({why}): it is not moved.{blur}")
    if estimate is None or not estimate.width_reliable or options.mtf_gain is not None:
        return noted
    return replace(noted, psf=Psf.gaussian(options.ratio, _narrower(assumed.psf, estimate.psf)))


def _with_width(placement: Placement, estimate: BlurEstimate, options: RegistrationOptions) -> Placement:
    """Return a placement with the estimated blur where it is reliable, and a note where it contradicts the sensor's."""
    assumed = placement.psf
    if not estimate.width_reliable:
        narrow = Psf.gaussian(assumed.ratio, _narrower(assumed, estimate.psf), estimate.psf.shift_px)
        return replace(placement, psf=narrow)
    placement = replace(placement, sigma_error_px=estimate.sigma_error_px, spread=estimate.spread)
    if options.mtf_gain is not None:
        if estimate.kind == "gaussian" and not _contradicts(assumed, estimate, WIDTH_TOLERANCE):
            return replace(placement, psf=Psf.gaussian(assumed.ratio, assumed.sigma_px, estimate.psf.shift_px))
        # A gain that only a tag of the file led to needs no note: against a guide, which is blurred itself, it is less.
        if options.mtf_named:
            placement = placement.noting(
                f"The sensor's blur is {assumed.sigma_px[0]:.3f} px, the scene shows {_describe(estimate)}: "
                "the scene's is used."
            )
    return replace(_noting_spread(placement, estimate), psf=estimate.psf, source=f"estimated {estimate.kind}")


def _noting_spread(placement: Placement, estimate: BlurEstimate) -> Placement:
    """Return a placement that tells where the blur is narrowed, because it differs from place to place."""
    whole, (sy, sx), least = estimate.whole_sigma_px, estimate.psf.sigma_px, NOTED_NARROWING_LR * estimate.psf.ratio
    if whole is None or max(abs(whole[0] - sy), abs(whole[1] - sx)) < least:
        return placement
    ey, ex = estimate.sigma_error_px
    note = (
        f"The blur against the guide differs over the scene by {ey:.2f} px down and {ex:.2f} px across (another date, relief "
        f"or local displacement): {sy:.2f} x {sx:.2f} px, where scene and guide agree best, is used instead of the "
        f"{whole[0]:.2f} x {whole[1]:.2f} px of the whole scene. --coregister local may correct a displacement."
    )
    return replace(placement, assumption=note)


def _given(placement: Placement, estimate: BlurEstimate | None) -> Placement:
    """Return the given placement, with a note where the scene contradicts it."""
    if estimate is None or not (estimate.shift_reliable and estimate.width_reliable):
        return placement
    pairs = zip(placement.psf.shift_px, estimate.psf.shift_px, estimate.shift_error_px, strict=True)
    excess = max(abs(given - shift) - STANDARD_ERRORS * error for given, shift, error in pairs)
    if excess <= GIVEN_SHIFT_TOLERANCE_PX and not _contradicts(placement.psf, estimate, GIVEN_WIDTH_TOLERANCE):
        return placement
    (sy, sx), (dy, dx), (ey, ex) = placement.psf.sigma_px, placement.psf.shift_px, estimate.psf.shift_px
    return placement.noting(
        f"The given PSF is {sy:.2f} x {sx:.2f} px wide, {dy:+.2f} px down and {dx:+.2f} px right; the scene "
        f"shows {_describe(estimate)}, {ey:+.2f} px down and {ex:+.2f} px right (hr pixels). The given one is used: leave "
        "out --psf to use the scene's."
    )


def _contradicts(psf: Psf, estimate: BlurEstimate, tolerance: float) -> bool:
    """Return whether the estimated width differs by more than a share and its standard errors."""
    pairs = zip(psf.sigma_px, estimate.psf.sigma_px, estimate.sigma_error_px, strict=True)
    return any(abs(a - b) > tolerance * a + STANDARD_ERRORS * error for a, b, error in pairs)


def _describe(estimate: BlurEstimate) -> str:
    (sy, sx), (ey, ex) = estimate.psf.sigma_px, estimate.sigma_error_px
    shape = "" if estimate.kind == "gaussian" else " (no Gaussian)"
    return f"{sy:.3f} +- {ey:.3f} x {sx:.3f} +- {ex:.3f} px{shape}"


def _narrower(a: Psf, b: Psf) -> tuple[float, float]:
    (ay, ax), (by, bx) = a.sigma_px, b.sigma_px
    return min(ay, by), min(ax, bx)


def sample_margin(ratio: int) -> int:
    """Return the margin around a sampled guide window that the largest shift needs, hr pixels."""
    return int(np.ceil(MAX_SHIFT_LR * ratio)) + SHIFT_SUPPORT_PX
