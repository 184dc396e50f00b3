"""Where the guide lies on the scene, and how the scene is blurred against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN, Psf
from dualsr_geo.fusion.blocks import Filled
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.registration import blur_estimation
from dualsr_geo.registration.blur_estimation import MAX_SHIFT_LR
from dualsr_geo.registration.guide_regression import RegressionBlock
from dualsr_geo.registration.options import RegistrationOptions
from dualsr_geo.registration.shift import SHIFT_SUPPORT_PX, move_guide

# The PSF is estimated on at most this many lr pixels: more do not sharpen it, but cost seconds.
PSF_PX = 16384
# Shifts below this are left to the PSF: moving the guide would only blur it.
STILL_PX = 0.1
# A guide that lies far off is moved again by what is left, once: where it lay the scene knew less of it.
MOVES = 2
# A shift that stays is worth a warning above half a pixel.
WARN_SHIFT_PX = 0.5
# A known width is contradicted by one that lies farther off than this share and so many standard errors. 1 %
# costs 0.1 dB where nothing else is wrong (clean CAVE, x4), 2 % 0.3 dB and 5 % 1.5 dB; elsewhere a tenth of that.
TOLERANCE, ERRORS = 0.01, 2.0
# A PSF that the user gives is kept, and a word said of it from here on: estimates of shapes that are no
# Gaussian are themselves off by up to 6 % and 0.3 hr px (SFPN's one-sided blur under noise).
GIVEN_TOLERANCE, GIVEN_PX = 0.1, 0.3
# A lr pixel counts where all of its guide is there, but for rounding.
ALL_GUIDED = 0.999


@dataclass(frozen=True)
class Placement:
    """What is known of blur and shift.

    Attributes
    ----------
    psf : Psf
        Blur of the scene against the guide as it is used.
    source : str
        ``"given"``, ``"estimated gaussian"``, ``"estimated taps"``, ``"sensor"``, ``"default"``.
    shift_px, moved_px : (float, float)
        How far the guide lies below and right of the scene, and how far it is moved back, hr pixels.
    shift_error_px, sigma_error_px : (float, float) or None
        Standard errors of shift and width, hr pixels; None where they were not estimated.
    notes : tuple of str
        What the user should know.
    """

    psf: Psf
    source: str
    shift_px: tuple[float, float] = (0.0, 0.0)
    moved_px: tuple[float, float] = (0.0, 0.0)
    shift_error_px: tuple[float, float] | None = None
    sigma_error_px: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    def noting(self, note: str) -> Placement:
        """Return the placement with one more note."""
        return replace(self, notes=(*self.notes, note))


def assumed_placement(options: RegistrationOptions) -> Placement:
    """Return what is taken for granted before the guide is looked at."""
    if options.psf is not None:
        return Placement(options.psf, "given")
    if options.mtf_gain is not None:
        return Placement(Psf.from_mtf(options.ratio, options.mtf_gain), "sensor")
    return Placement(Psf.from_mtf(options.ratio, DEFAULT_MTF_GAIN), "default")


def estimate_placement(
    space: Subspace, cubes: Sequence[Filled], guides: Sequence[NDArray[np.float32]], options: RegistrationOptions
) -> Placement:
    """Estimate blur and shift, and decide whether to move the guide.

    Parameters
    ----------
    space : Subspace
        Its leading components stand for the scene.
    cubes : sequence of (Tensor, Tensor)
        Filled cubes (band, y, x) and weights (y, x) of the sample.
    guides : sequence of array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        As in `Sample`.
    options : RegistrationOptions
        A given blur is taken as it is.
    """
    known = assumed_placement(options)
    found = blur_estimation.estimate_blur(_pieces(space, cubes, guides, known.psf), options.ratio)
    if options.psf is not None:
        return _given(known, found)
    if found is None or not found.shift_reliable:
        return _distrusted(known, found, options)
    at, moves = found.shift_px, options.coregister != "off"
    placed = replace(known, shift_px=at, shift_error_px=found.shift_error_px)
    if max(map(abs, at)) > STILL_PX and moves:
        for _ in range(MOVES):
            placed = replace(placed, shift_px=at, moved_px=at)
            found = blur_estimation.estimate_blur(_pieces(space, cubes, guides, known.psf, at), options.ratio) or found
            rest = found.psf.shift_px
            if not found.shift_reliable or max(map(abs, rest)) <= STILL_PX:
                break
            at = (at[0] + rest[0], at[1] + rest[1])
    elif max(map(abs, at)) > WARN_SHIFT_PX:
        placed = placed.noting(
            f"The guide lies {at[0]:+.2f} px down and {at[1]:+.2f} px right of the scene (hr pixels), and "
            "stays there: the product lies on the guide. Give --coregister auto to move it."
        )
    return _with_width(placed, found, options)


def _pieces(
    space: Subspace,
    cubes: Sequence[Filled],
    guides: Sequence[NDArray[np.float32]],
    blur: Psf,
    moved_px: tuple[float, float] = (0.0, 0.0),
) -> list[RegressionBlock]:
    """Return the sample for the PSF, up to `PSF_PX`."""
    out: list[RegressionBlock] = []
    pixels = 0
    for (cube, weight), guide in zip(cubes, guides, strict=True):
        if pixels > PSF_PX:
            break
        near = move_guide(guide, moved_px, sample_margin(blur.ratio))
        piece = _piece(space, cube, weight, near.astype(np.float64), blur)
        if piece is not None:
            out.append(piece)
            pixels += piece.weight.size
    return out


def _piece(
    space: Subspace, cube: torch.Tensor, weight: torch.Tensor, guide: NDArray[np.float64], blur: Psf
) -> RegressionBlock | None:
    """Return the middle of a block: the leading components beside the guide; None without a guide."""
    good = np.asarray(np.isfinite(guide).all(0))
    if not good.any():
        return None
    ratio = blur.ratio
    height, width = (min(n, int(np.sqrt(PSF_PX))) for n in cube.shape[1:])
    y, x = (cube.shape[1] - height) // 2, (cube.shape[2] - width) // 2
    cut = np.s_[..., y : y + height, x : x + width]
    cut_hr = np.s_[..., y * ratio : (y + height) * ratio, x * ratio : (x + width) * ratio]
    z = space.components(cube.flatten(1).numpy())[: blur_estimation.COMPONENT_COUNT].reshape(-1, *cube.shape[1:])
    centre = np.asarray(guide[:, good].mean(1))[:, None, None]
    near = np.where(good, guide - centre, 0.0)[cut_hr]
    reached = torch.from_numpy(np.asarray(good[cut_hr], np.float32))
    guided = operator(blur, (height, width)).degrade(reached).numpy() > ALL_GUIDED
    return RegressionBlock(z[cut].astype(np.float64), near, (weight.numpy()[cut] * guided).astype(np.float64))


def _distrusted(
    known: Placement, found: blur_estimation.BlurEstimate | None, options: RegistrationOptions
) -> Placement:
    """Fall back to the known or default blur; the narrower one, which costs less if wrong."""
    why = "the sample is too small" if found is None else "its optimum is flat or contradicted"
    noted = known.noting(
        f"Blur and shift of the guide could not be estimated ({why}); "
        f"the {known.source} blur of {known.psf.sigma_px[0]:.2f} px and no shift are assumed."
    )
    if found is None or not found.width_reliable or options.mtf_gain is not None:
        return noted
    return replace(noted, psf=Psf.gaussian(options.ratio, _narrower(known.psf, found.psf)))


def _with_width(placed: Placement, found: blur_estimation.BlurEstimate, options: RegistrationOptions) -> Placement:
    """Take over the estimated blur where it is reliable; say where it contradicts the sensor's."""
    known = placed.psf
    if not found.width_reliable:
        narrow = Psf.gaussian(known.ratio, _narrower(known, found.psf), found.psf.shift_px)
        return replace(placed, psf=narrow)
    placed = replace(placed, sigma_error_px=found.sigma_error_px)
    if options.mtf_gain is not None:
        if found.kind == "gaussian" and not _contradicted(known, found, TOLERANCE):
            return replace(placed, psf=Psf.gaussian(known.ratio, known.sigma_px, found.psf.shift_px))
        # A gain that a tag led to is the scene's own; against a guide, which is blurred itself, it is less.
        placed = (
            placed
            if not options.mtf_named
            else placed.noting(
                f"The sensor's blur is {known.sigma_px[0]:.3f} px, the scene shows {_said(found)}: the scene's is used."
            )
        )
    return replace(placed, psf=found.psf, source=f"estimated {found.kind}")


def _given(known: Placement, found: blur_estimation.BlurEstimate | None) -> Placement:
    """Keep the blur that the user gave; say where the scene shows another."""
    if found is None or not (found.shift_reliable and found.width_reliable):
        return known
    (dy, dx), (fy, fx) = known.psf.shift_px, found.psf.shift_px
    off = max(abs(dy - fy) - ERRORS * found.shift_error_px[0], abs(dx - fx) - ERRORS * found.shift_error_px[1])
    if off <= GIVEN_PX and not _contradicted(known.psf, found, GIVEN_TOLERANCE):
        return known
    sy, sx = known.psf.sigma_px
    return known.noting(
        f"The PSF that was given is {sy:.2f} x {sx:.2f} px wide, {dy:+.2f} px down and {dx:+.2f} px right; the scene "
        f"shows {_said(found)}, {fy:+.2f} px down and {fx:+.2f} px right (hr pixels). The given one is used: leave "
        "out --psf to use the scene's."
    )


def _contradicted(known: Psf, found: blur_estimation.BlurEstimate, tolerance: float) -> bool:
    """Say whether the scene shows another width."""
    pairs = zip(known.sigma_px, found.psf.sigma_px, found.sigma_error_px, strict=True)
    return any(abs(a - b) > tolerance * a + ERRORS * error for a, b, error in pairs)


def _said(found: blur_estimation.BlurEstimate) -> str:
    (sy, sx), (ey, ex) = found.psf.sigma_px, found.sigma_error_px
    shape = "" if found.kind == "gaussian" else " (of no Gaussian)"
    return f"{sy:.3f} +- {ey:.3f} x {sx:.3f} +- {ex:.3f} px{shape}"


def _narrower(a: Psf, b: Psf) -> tuple[float, float]:
    (ay, ax), (by, bx) = a.sigma_px, b.sigma_px
    return min(ay, by), min(ax, bx)


def sample_margin(ratio: int) -> int:
    """Return the margin of hr pixels around a sampled guide window: the farthest shift."""
    return int(np.ceil(MAX_SHIFT_LR * ratio)) + SHIFT_SUPPORT_PX
