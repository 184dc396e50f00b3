"""DualSR's fine stage: enhanced back-projection between two results of its coarse stage.

Li, Yuan, Jia and Wang, IEEE TIP 31:7252-7263, 2022, section III-B, equations (6) to (13).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from dualsr_geo.errors import InputError

# Between U and V, whatever the ratio: the published code has it hard-wired.
STEP = 2
# Pixels of V that are mirrored at its edge: half the kernel of either resampling, and one to spare.
BORDER = 4


def back_project(hr: Tensor, half: Tensor, *, weight: float | Tensor | None = None) -> Tensor:
    """Pull a result towards another of half its ratio.

    ``U + up(weight (V - down(U)))`` with MATLAB's bicubic ``imresize`` both ways; one iteration, as
    the published script does.

    Parameters
    ----------
    hr : Tensor, shape (band, 2 y, 2 x)
        U, the coarse stage's result at the ratio wanted.
    half : Tensor, shape (band, y, x)
        V, its result at half that ratio; at ratio 2 the scene itself.
    weight : float, optional
        lambda, from `angle_weight`; computed of `hr` and `half` if left out. A tile must be given
        that of its scene, or seams appear.

    Returns
    -------
    Tensor, shape (band, 2 y, 2 x)

    Raises
    ------
    InputError
        If `hr` is not exactly twice `half`.
    """
    _require(hr, half)
    missing = half - halved(hr)
    return hr + doubled(missing * (angle_weight(hr, half) if weight is None else weight))


def angle_weight(hr: Tensor, half: Tensor) -> float:
    """Return lambda of equations (10) and (11): the mean spectral angle in degrees, at most 1.

    Parameters
    ----------
    hr : Tensor, shape (band, 2 y, 2 x)
    half : Tensor, shape (band, y, x)

    Raises
    ------
    InputError
        If `hr` is not exactly twice `half`.
    """
    _require(hr, half)
    return min(1.0, float(angles(halved(hr), half).mean()))


def angles(a: Tensor, b: Tensor) -> Tensor:
    """Return the angle between two cubes' spectra (band, y, x) in degrees; see `angles_of`."""
    return angles_of(zip(a, b, strict=True))


def angles_of(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the angle between two cubes' spectra in degrees, float64, shape (y, x), from pairs of their bands.

    0 where one of them is zero: there is no angle, and the published code finds none there either
    unless the other is longer than 1.
    """
    products: Tensor | float = 0.0
    for one, other in pairs:
        a, b = one.double(), other.double()
        products = products + torch.stack([a * b, a**2, b**2])
    both, first, second = torch.as_tensor(products)
    lengths = first.sqrt() * second.sqrt()
    cosine = torch.where(lengths > 0, both / lengths, 1.0)
    return torch.rad2deg(torch.acos(cosine.clamp(-1.0, 1.0)))


def halved(cube: Tensor) -> Tensor:
    """Return a cube (band, 2 y, 2 x) as ``imresize(cube, 1/2, 'bicubic')``, antialiased, (band, y, x)."""
    border = BORDER * STEP
    wide = _mirrored(cube, border)
    shape = wide.shape[1] // STEP, wide.shape[2] // STEP
    return _resized(wide, shape)[:, BORDER:-BORDER, BORDER:-BORDER]


def doubled(cube: Tensor) -> Tensor:
    """Return a cube (band, y, x) as ``imresize(cube, 2, 'bicubic')``, (band, 2 y, 2 x)."""
    border = BORDER * STEP
    wide = _mirrored(cube, BORDER)
    shape = wide.shape[1] * STEP, wide.shape[2] * STEP
    return _resized(wide, shape)[:, border:-border, border:-border]


def _resized(cube: Tensor, shape: tuple[int, int]) -> Tensor:
    # With antialias torch takes a = -0.5, as MATLAB does; without, -0.75. At the edge it leaves out
    # what is missing where MATLAB mirrors, hence the border.
    return functional.interpolate(cube[None], shape, mode="bicubic", align_corners=False, antialias=True)[0]


def _mirrored(cube: Tensor, border: int) -> Tensor:
    """Return a cube mirrored at its edges, the edge pixels twice, as MATLAB does however small it is."""
    for axis in (1, 2):
        length = cube.shape[axis]
        position = torch.arange(-border, length + border, device=cube.device) % (2 * length)
        cube = cube.index_select(axis, torch.minimum(position, 2 * length - 1 - position))
    return cube


def _require(hr: Tensor, half: Tensor) -> None:
    wanted = half.shape[0], half.shape[1] * STEP, half.shape[2] * STEP
    if tuple(hr.shape) != wanted:
        raise InputError(
            f"The result has shape {tuple(hr.shape)}, but twice that at half the ratio, {tuple(half.shape)}, is "
            f"{wanted}. Give `half` at half the ratio of `hr`."
        )
