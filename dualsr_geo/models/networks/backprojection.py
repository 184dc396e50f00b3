"""Enhanced back-projection, the fine stage of DualSR, between results of its coarse stage at two ratios.

Li, Yuan, Jia and Wang, IEEE TIP 31:7252-7263, 2022, section III-B, equations (6) to (13).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from dualsr_geo.errors import InputError

# Factor between the pixels of U and V, at every ratio: the published code has no other.
STEP = 2
# Pixels of V that are mirrored at its edge: half the kernel of either resampling, and one more.
BORDER_PX = 4


def back_project(hr: Tensor, half: Tensor, *, weight: float | Tensor | None = None) -> Tensor:
    """Correct a result by another of half its ratio.

    ``U + up(weight (V - down(U)))`` with MATLAB's bicubic ``imresize`` both ways; one iteration, as
    in the published script.

    Parameters
    ----------
    hr : Tensor, shape (band, 2 y, 2 x)
        U, the coarse stage's result at the target ratio.
    half : Tensor, shape (band, y, x)
        V, its result at half that ratio; at ratio 2 the scene itself.
    weight : float, optional
        lambda; by default `angle_weight` of `hr` and `half`. A tile needs that of its scene, or
        seams appear.

    Returns
    -------
    Tensor, shape (band, 2 y, 2 x)

    Raises
    ------
    InputError
        If the sides of `hr` are not twice those of `half`.
    """
    _require(hr, half)
    residual = half - halved(hr)
    return hr + doubled(residual * (angle_weight(hr, half) if weight is None else weight))


def angle_weight(hr: Tensor, half: Tensor) -> float:
    """Return lambda of equations (10) and (11): the mean spectral angle in degrees, at most 1.

    Parameters
    ----------
    hr : Tensor, shape (band, 2 y, 2 x)
    half : Tensor, shape (band, y, x)

    Raises
    ------
    InputError
        If the sides of `hr` are not twice those of `half`.
    """
    _require(hr, half)
    return min(1.0, float(angles(halved(hr), half).mean()))


def angles(a: Tensor, b: Tensor) -> Tensor:
    """Return the angle between two cubes' spectra (band, y, x) in degrees; see `angles_of`."""
    return angles_of(zip(a, b, strict=True))


def angles_of(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the angle between two cubes' spectra in degrees, float64, shape (y, x), from pairs of their bands.

    0 where one of them is zero: the angle is not defined there. The published code gives 0, too,
    unless the other spectrum is longer than 1.
    """
    products: Tensor | float = 0.0
    for one, other in pairs:
        a, b = one.double(), other.double()
        products = products + torch.stack([a * b, a**2, b**2])
    product, first, second = torch.as_tensor(products)
    lengths = first.sqrt() * second.sqrt()
    cosine = torch.where(lengths > 0, product / lengths, 1.0)
    return torch.rad2deg(torch.acos(cosine.clamp(-1.0, 1.0)))


def halved(cube: Tensor) -> Tensor:
    """Return a cube (band, 2 y, 2 x) as ``imresize(cube, 1/2, 'bicubic')``, antialiased, (band, y, x)."""
    padded = _mirror(cube, BORDER_PX * STEP)
    shape = padded.shape[1] // STEP, padded.shape[2] // STEP
    return _resize(padded, shape)[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]


def doubled(cube: Tensor) -> Tensor:
    """Return a cube (band, y, x) as ``imresize(cube, 2, 'bicubic')``, (band, 2 y, 2 x)."""
    border = BORDER_PX * STEP
    padded = _mirror(cube, BORDER_PX)
    shape = padded.shape[1] * STEP, padded.shape[2] * STEP
    return _resize(padded, shape)[:, border:-border, border:-border]


def _resize(cube: Tensor, shape: tuple[int, int]) -> Tensor:
    # With antialias torch's kernel has a = -0.5, as MATLAB's; without, -0.75. At the edge torch renormalises
    # the kernel and MATLAB mirrors the image, hence the border.
    return functional.interpolate(cube[None], shape, mode="bicubic", align_corners=False, antialias=True)[0]


def _mirror(cube: Tensor, border: int) -> Tensor:
    """Return a cube mirrored at its edges, the edge pixels twice, as MATLAB does; it may be smaller than the border."""
    for axis in (1, 2):
        length = cube.shape[axis]
        position = torch.arange(-border, length + border, device=cube.device) % (2 * length)
        cube = cube.index_select(axis, torch.minimum(position, 2 * length - 1 - position))
    return cube


def _require(hr: Tensor, half: Tensor) -> None:
    wanted = half.shape[0], half.shape[1] * STEP, half.shape[2] * STEP
    if tuple(hr.shape) != wanted:
        raise InputError(
            f"`hr` has shape {tuple(hr.shape)}, but twice that of `half`, {tuple(half.shape)}, is {wanted}. "
            "Give `half` at half the ratio of `hr`."
        )
