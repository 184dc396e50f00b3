"""The guide laid on the scene place by place: `--coregister local`."""

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
from dualsr_geo.registration import blur_estimation, field_estimation
from dualsr_geo.registration.displacement_field import SUPPORT_PX, DisplacementField
from dualsr_geo.registration.field_estimation import Patch
from dualsr_geo.registration.guide_placement import estimate_placement, sample_margin
from dualsr_geo.registration.options import RegistrationOptions

# Larger scenes are looked at in so many windows along an axis, of this side, lr pixels.
WINDOWS, SIDE = 8, 32
# Blur and field are estimated in turns: a guide that is bent looks as if the scene were blurred more.
ROUNDS = 3


def windows(shape: tuple[int, int]) -> list[Window]:
    """Return the windows that a field is estimated from: the whole scene, or 8 x 8 spread over it.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    """
    if shape[0] * shape[1] <= MAX_WHOLE_PX:
        return [Window(0, shape[0], 0, shape[1])]
    rows, columns = (_spread(n) for n in shape)
    return [Window(y, min(y + SIDE, shape[0]), x, min(x + SIDE, shape[1])) for y in rows for x in columns]


def _spread(length: int) -> list[int]:
    """Return where windows begin along an axis, side by side at most."""
    count = max(1, min(WINDOWS, length // SIDE))
    return np.linspace(0, max(0, length - SIDE), count).round().astype(int).tolist() if count > 1 else [0]


def margin(ratio: int) -> int:
    """Return how many hr pixels around a window of the guide any field may need."""
    return math.ceil(blur_estimation.MAX_SHIFT_LR * ratio) + SUPPORT_PX


def estimate_local_displacement(
    places: Sequence[Window],
    cubes: Sequence[NDArray[np.float32]],
    guides: Sequence[NDArray[np.float32]],
    shape: tuple[int, int],
    options: RegistrationOptions,
) -> DisplacementField | None:
    """Estimate how the guide is displaced against the scene, place by place.

    Parameters
    ----------
    places : sequence of Window
        `windows` of the scene.
    cubes : sequence of array, shape (band, y, x)
        The scene there, NaN where nothing is.
    guides : sequence of array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        With `margin` hr pixels more on every side, NaN where the guide does not reach.
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    options : RegistrationOptions

    Returns
    -------
    DisplacementField or None
        None where it is not told from one shift.
    """
    reached = [i for i, g in enumerate(guides) if np.isfinite(g).any()]
    if not reached:
        return None
    tensors = [torch.from_numpy(np.ascontiguousarray(cubes[i])) for i in reached]
    used = list(bands_with_data(tensors))
    filled = _filled([t[used] for t in tensors])
    space = subspace.estimate_subspace(stack([c for c, _ in filled]), stack([w for _, w in filled]))
    ratio = options.ratio
    patches = [_patch(places[i], guides[i], one, space, margin(ratio)) for i, one in zip(reached, filled, strict=True)]
    field = field_estimation.zero_field(shape, ratio, (0.0, 0.0))
    for _ in range(ROUNDS):
        known = estimate_placement(space, filled, [_near(p, field, ratio) for p in patches], options)
        start = replace(field, nodes=field.nodes + np.asarray(known.moved_px, np.float32)[:, None, None])
        found = field_estimation.fit_field(patches, known.psf, start, blur_estimation.MAX_SHIFT_LR * ratio)
        if not found.reliable:
            return None
        field = found.field
    return field


def _filled(cubes: Sequence[torch.Tensor]) -> list[Filled]:
    mean = band_means(cubes)
    pairs = [fill_holes(c, mean) for c in cubes]
    return [(values, torch.ones(values.shape[1:]) if weight is None else weight) for values, weight in pairs]


def _patch(window: Window, guide: NDArray[np.float32], filled: Filled, space: Subspace, around: int) -> Patch:
    cube, weight = filled
    z = space.components(cube.flatten(1).numpy())[: blur_estimation.COMPONENT_COUNT].reshape(-1, *cube.shape[1:])
    return Patch(window, z.astype(np.float64), weight.numpy().astype(np.float64), guide, around)


def _near(patch: Patch, field: DisplacementField, ratio: int) -> NDArray[np.float32]:
    """Return the guide of a patch as a sample has it, but moved; NaN in the margin once it is bent."""
    wide = sample_margin(ratio)
    if not field.nodes.any():
        cut = slice(patch.margin - wide, wide - patch.margin or None)
        return patch.guide[:, cut, cut]
    return np.pad(patch.moved(field), ((0, 0), (wide, wide), (wide, wide)), constant_values=np.nan)
