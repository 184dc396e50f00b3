"""What the survey looks at: a bounded number of windows of the scene, and the user's wishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.models.definition import Model, Ours
from dualsr_geo.raster.resampling import SHIFT_SUPPORT_PX
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.blur_estimation import FARTHEST

# Scenes up to this many lr pixels are surveyed whole; larger ones by nine blocks.
WHOLE_PX = 65536
BLOCK_SIDE = 80
BLOCKS = 9
FEWEST_PX = 16


@dataclass(frozen=True)
class Sample:
    """One surveyed window as read.

    Attributes
    ----------
    cube : array, shape (band, y, x)
        Physical values, NaN where nothing is.
    guide : array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin), or None
        With a margin of `sample_margin` hr pixels, NaN where the guide does not reach.
    """

    cube: NDArray[np.float32]
    guide: NDArray[np.float32] | None


@dataclass(frozen=True)
class Wishes:
    """What the user decided about the survey.

    Attributes
    ----------
    ratio : int
    psf : Psf or None
        A known blur; nothing is estimated then.
    mtf_gain : float or None
        The sensor's MTF gain at Nyquist; used unless the scene contradicts it.
    mtf_named : bool
        Whether the user named that sensor or gain, and wants to hear where the scene contradicts it.
    coregister : str
        ``"auto"`` moves a displaced guide onto the scene as a whole, ``"local"`` also place by place,
        ``"off"`` leaves it.
    subspace : bool
        False for models that work band by band (bicubic).
    injection : bool
        Whether the model is one of the classic baselines.
    network : Model or None
        The model, where it is a network.
    angle : bool
        Whether its fine stage wants the scene's spectral angle.
    ours : Ours or None
        How our own networks correct the start.
    anchors : int or None
        Most bands that they run on; None for their own choice.
    uncertainty : bool
        Whether to find out how large the product's errors are.
    detail : bool
        Whether to find out what the product's detail is worth.
    changes : bool
        Whether the guide is left out where it shows something else than the scene.
    """

    ratio: int
    psf: Psf | None = None
    mtf_gain: float | None = None
    coregister: str = "auto"
    subspace: bool = True
    injection: bool = False
    network: Model | None = None
    angle: bool = False
    ours: Ours | None = None
    anchors: int | None = None
    uncertainty: bool = False
    detail: bool = False
    changes: bool = False
    mtf_named: bool = True


def sample_windows(shape: tuple[int, int]) -> list[Window]:
    """Return the windows that are surveyed: the whole scene, or nine blocks spread over it."""
    height, width = shape
    if height * width <= WHOLE_PX:
        return [Window(0, height, 0, width)]
    # No more than fit side by side: a pixel counts once.
    most_rows, most_columns = (max(1, n // BLOCK_SIDE) for n in shape)
    columns = min(BLOCKS // min(3, most_rows), most_columns)
    rows = min(BLOCKS // columns, most_rows)
    return [
        Window(y, min(y + BLOCK_SIDE, height), x, min(x + BLOCK_SIDE, width))
        for y in _spread(height, rows)
        for x in _spread(width, columns)
    ]


def _spread(length: int, count: int) -> list[int]:
    return [max(0, min(length - BLOCK_SIDE, int((i + 0.5) * length / count) - BLOCK_SIDE // 2)) for i in range(count)]


def sample_margin(ratio: int) -> int:
    """Return the margin of hr pixels around a sampled guide window: the farthest shift."""
    return int(np.ceil(FARTHEST * ratio)) + SHIFT_SUPPORT_PX


def bands_with_data(cubes: Sequence[torch.Tensor]) -> tuple[int, ...]:
    """Return the bands of sampled cubes (band, y, x) that hold enough valid pixels to be used.

    Raises
    ------
    InputError
        If none does.
    """
    counts = sum(torch.isfinite(c).sum((1, 2)) for c in cubes)
    used = tuple(int(i) for i in torch.nonzero(torch.as_tensor(counts) >= FEWEST_PX).flatten())
    if not used:
        raise InputError(
            f"The scene holds no valid pixel in {sum(c[0].numel() for c in cubes)} sampled ones: all nodata. "
            "Check its nodata value, or give another as --nodata."
        )
    return used


def band_means(cubes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean of the valid pixels of each band, shape (band,)."""
    total = sum(torch.nansum(c.double(), (1, 2)) for c in cubes)
    count = sum(torch.isfinite(c).sum((1, 2)) for c in cubes)
    return (torch.as_tensor(total) / torch.as_tensor(count).clamp_min(1)).float()
