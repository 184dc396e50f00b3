"""Local registration of the guide (`--coregister local`): displacement field and blur in turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.fusion import subspace
from dualsr_geo.fusion.blocks import MAX_WHOLE_PX, Filled, band_means, bands_with_data, stack
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.blur_estimation import COMPONENT_COUNT, MAX_SHIFT_LR
from dualsr_geo.registration.displacement_field import SUPPORT_PX, DisplacementField
from dualsr_geo.registration.field_estimation import Patch, constant_field, fit_field
from dualsr_geo.registration.guide_placement import estimate_placement, sample_margin
from dualsr_geo.registration.options import RegistrationOptions

# Larger scenes are sampled in so many windows along an axis, with this side, lr pixels.
WINDOWS_PER_AXIS, WINDOW_SIDE_LR = 8, 32
# Blur and field are estimated in turns: against a displaced guide the scene appears to be blurred more.
ROUNDS = 3


def windows(shape: tuple[int, int]) -> list[Window]:
    """Return the windows of the sample, lr pixels: the whole scene, or 8 x 8 windows spread over a large one.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    """
    if shape[0] * shape[1] <= MAX_WHOLE_PX:
        return [Window(0, shape[0], 0, shape[1])]
    side = WINDOW_SIDE_LR
    rows, columns = (_starts(n) for n in shape)
    return [Window(y, min(y + side, shape[0]), x, min(x + side, shape[1])) for y in rows for x in columns]


def _starts(length: int) -> list[int]:
    """Return the first pixels of windows along an axis, which do not overlap."""
    count = max(1, min(WINDOWS_PER_AXIS, length // WINDOW_SIDE_LR))
    return np.linspace(0, max(0, length - WINDOW_SIDE_LR), count).round().astype(int).tolist() if count > 1 else [0]


def margin(ratio: int) -> int:
    """Return the margin around a guide window that the largest displacement needs, hr pixels."""
    return math.ceil(MAX_SHIFT_LR * ratio) + SUPPORT_PX


def estimate_local_displacement(
    sample: Sequence[Window],
    cubes: Sequence[NDArray[np.float32]],
    guides: Sequence[NDArray[np.float32]],
    shape: tuple[int, int],
    options: RegistrationOptions,
) -> DisplacementField | None:
    """Estimate the displacement field of a guide against its scene.

    Parameters
    ----------
    sample : sequence of Window
        As `windows` returns them.
    cubes : sequence of array, shape (band, y, x)
        The scene in each window, NaN where invalid.
    guides : sequence of array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        The guide in each window with the margin of `margin`, NaN where it does not reach.
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    options : RegistrationOptions

    Returns
    -------
    DisplacementField or None
        None where one shift explains the guide as well.
    """
    reached = [i for i, g in enumerate(guides) if np.isfinite(g).any()]
    if not any(_varies(guides[i]) for i in reached):
        return None
    tensors = [torch.from_numpy(np.ascontiguousarray(cubes[i])) for i in reached]
    used = list(bands_with_data(tensors))
    filled = _filled([t[used] for t in tensors])
    space = subspace.estimate_subspace(stack([c for c, _ in filled]), stack([w for _, w in filled]))
    ratio = options.ratio
    patches = [_patch(sample[i], guides[i], one, space, margin(ratio)) for i, one in zip(reached, filled, strict=True)]
    field = constant_field(shape, ratio, (0.0, 0.0))
    for _ in range(ROUNDS):
        placement = estimate_placement(space, filled, [_sample_guide(p, field, ratio) for p in patches], options)
        start = replace(field, nodes=field.nodes + np.asarray(placement.moved_px, np.float32)[:, None, None])
        estimate = fit_field(patches, placement.psf, start, MAX_SHIFT_LR * ratio)
        if not estimate.reliable:
            return None
        field = estimate.field
    return field


def _varies(guide: NDArray[np.float32]) -> bool:
    """Say whether a band of a guide has two values."""
    planes = guide.reshape(len(guide), -1)
    return bool((np.fmax.reduce(planes, 1) > np.fmin.reduce(planes, 1)).any())


def _filled(cubes: Sequence[torch.Tensor]) -> list[Filled]:
    mean = band_means(cubes)
    pairs = [fill_holes(c, mean) for c in cubes]
    return [(values, torch.ones(values.shape[1:]) if weight is None else weight) for values, weight in pairs]


def _patch(window: Window, guide: NDArray[np.float32], filled: Filled, space: Subspace, margin_px: int) -> Patch:
    cube, weight = filled
    z = space.components(cube.flatten(1).numpy())[:COMPONENT_COUNT].reshape(-1, *cube.shape[1:])
    return Patch(window, z.astype(np.float64), weight.numpy().astype(np.float64), guide, margin_px)


def _sample_guide(patch: Patch, field: DisplacementField, ratio: int) -> NDArray[np.float32]:
    """Return a patch's guide with the margin of a sample, its displacement undone; the margin is then NaN."""
    wide = sample_margin(ratio)
    if not field.nodes.any():
        cut = slice(patch.margin - wide, wide - patch.margin or None)
        return patch.guide[:, cut, cut]
    return np.pad(patch.moved(field), ((0, 0), (wide, wide), (wide, wide)), constant_values=np.nan)
