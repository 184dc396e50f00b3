"""Stream of the bands that a network computes for one window of a scene, each once and in order.

Only one band is in memory, so the memory does not depend on the number of bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.loading import band_network
from dualsr_geo.models.networks import alba, backprojection
from dualsr_geo.models.weights import Weights
from dualsr_geo.raster.windows import Window

# Factor on the maximum of a sample that becomes 1 of a network: the rest of a large scene may be brighter.
HEADROOM = 1.25
# About the number of lr pixels that the spectral angle is measured on.
ANGLE_LR_PX = 9216


@dataclass(frozen=True)
class Units:
    """The values of a scene that are 0 and 1 of a network; part of the survey.

    Attributes
    ----------
    low, high : float
        Physical units of the scene: 0, or its minimum if that is negative, and its maximum.
    guide_low, guide_high : float
        The same of the guide; 0 and 1 without one.
    """

    low: float
    high: float
    guide_low: float = 0.0
    guide_high: float = 1.0

    @classmethod
    def of(cls, cubes: Sequence[Tensor], guides: Sequence[NDArray[np.float32]], *, whole: bool) -> Units:
        """Return the units of a scene from its sample.

        Parameters
        ----------
        cubes : sequence of Tensor, shape (band, y, x)
        guides : sequence of array, shape (guide band, y, x)
            NaN at pixels without a value.
        whole : bool
            Whether the sample is the whole scene; else there is headroom.
        """
        factor = 1.0 if whole else HEADROOM
        scene = _range([float(c.min()) for c in cubes], [float(c.max()) for c in cubes], factor)
        valid = [g for g in guides if np.isfinite(g).any()]
        if not valid:
            return cls(*scene)
        return cls(*scene, *_range([float(np.nanmin(g)) for g in valid], [float(np.nanmax(g)) for g in valid], factor))


def _range(lows: Sequence[float], highs: Sequence[float], factor: float) -> tuple[float, float]:
    low, high = min(0.0, *lows), max(highs) * factor
    # A scene of zeros may have any unit.
    return low, high if high > low else low + 1.0


@dataclass(frozen=True)
class SceneWindow:
    """A window of a scene and the scene's shape, lr pixels, which give the position of a network's blocks."""

    window: Window
    shape: tuple[int, int]


def bands(weights: Weights, cube: Tensor, guide: Tensor | None, place: SceneWindow) -> Iterator[Tensor]:
    """Yield the bands of a window, (ratio * y, ratio * x), in a network's units.

    Parameters
    ----------
    weights : Weights
    cube : Tensor, shape (band, y, x)
        0..1.
    guide : Tensor, shape (guide band, ratio * y, ratio * x), or None
        0..1; used by guided networks only.
    place : SceneWindow
    """
    architecture, ratio, win = architecture_of(weights.network), weights.ratio, place.window
    block_px = architecture.block * ratio
    scene = alba.centred((place.shape[0] * ratio, place.shape[1] * ratio), block_px)
    lead = alba.lead_at((win.y0 * ratio, win.x0 * ratio), scene, block_px)
    return band_network(weights, cube.device.type).stream(cube, guide if architecture.guided else None, lead)


def halves(half: Weights | None, cube: Tensor, guide: Tensor | None, place: SceneWindow) -> Iterator[Tensor]:
    """Yield the bands at half the ratio, V of DualSR's fine stage; at ratio 2 those of the scene."""
    if half is None:
        return iter(cube)
    return bands(half, cube, None if guide is None else backprojection.halved(guide), place)


def scene_angle_weight(
    weights: Weights,
    half: Weights | None,
    cubes: Sequence[Tensor],
    guides: Sequence[Tensor | None],
    places: Sequence[SceneWindow],
) -> float:
    """Return the weight of DualSR's fine stage, one for the scene: its mean spectral angle, at most 1.

    Parameters
    ----------
    weights : Weights
    half : Weights or None
        Of half the ratio; None at ratio 2.
    cubes : sequence of Tensor, shape (band, y, x)
        Sampled windows, 0..1.
    guides : sequence of Tensor, shape (guide band, ratio * y, ratio * x), or None
    places : sequence of SceneWindow
    """
    if not cubes:
        return 0.0
    side = int((ANGLE_LR_PX / len(cubes)) ** 0.5)
    total, count = 0.0, 0
    for cube, guide, place in zip(cubes, guides, places, strict=True):
        inner = _centre(cube, guide, place, side, weights)
        pairs = zip(bands(weights, *inner), halves(half, *inner), strict=True)
        angles = backprojection.angles_of((backprojection.halved(u[None])[0], v) for u, v in pairs)
        total, count = total + float(angles.sum()), count + angles.numel()
    return min(1.0, total / count)


def _centre(
    cube: Tensor, guide: Tensor | None, place: SceneWindow, side: int, weights: Weights
) -> tuple[Tensor, Tensor | None, SceneWindow]:
    """Cut the centre of a sampled window, with sides of at most `side`, at the edge of a block."""
    win, block = place.window, weights.block
    height, width = (min(n, side) for n in win.shape)
    y, x = ((n - m) // 2 // block * block for n, m in zip(win.shape, (height, width), strict=True))
    inner = Window(y, y + height, x, x + width)
    inner_guide = None if guide is None else guide[:, *inner.scaled(weights.ratio).slices]
    return cube[:, *inner.slices], inner_guide, SceneWindow(inner.moved(win.y0, win.x0), place.shape)


class Stream:
    """The bands of one window in physical units, in order.

    Parameters
    ----------
    weights : Weights
    half : Weights or None
        Of half the ratio, for DualSR's fine stage above ratio 2.
    units : Units
    angle_weight : float or None
        From `scene_angle_weight`; None without that fine stage.
    cube : Tensor, shape (band, y, x)
        Physical units, without NaN.
    guide : Tensor, shape (guide band, ratio * y, ratio * x), or None
    place : SceneWindow
    """

    def __init__(
        self,
        weights: Weights,
        half: Weights | None,
        units: Units,
        angle_weight: float | None,
        cube: Tensor,
        guide: Tensor | None,
        place: SceneWindow,
    ) -> None:
        self.units, self.next_band = units, 0
        inputs = scene_units(cube, units), None if guide is None else guide_units(guide, units), place
        self._bands = bands(weights, *inputs)
        if angle_weight is not None:
            pairs = zip(self._bands, halves(half, *inputs), strict=True)
            self._bands = (_back_project(u, v, angle_weight) for u, v in pairs)

    def take(self, rows: slice) -> Tensor:
        """Return some bands, (band, ratio * y, ratio * x), which must follow those taken before.

        Raises
        ------
        ValueError
            If they do not.
        """
        if rows.start != self.next_band:
            raise ValueError(f"Band {self.next_band} is next, not {rows.start}: a network computes its bands in order.")
        taken = list(islice(self._bands, rows.stop - rows.start))
        self.next_band = rows.stop
        return torch.stack(taken).mul_(self.units.high - self.units.low).add_(self.units.low)


def _back_project(hr: Tensor, half: Tensor, weight: float) -> Tensor:
    return backprojection.back_project(hr[None], half[None], weight=weight)[0]


def scene_units(cube: Tensor, units: Units) -> Tensor:
    """Return a scene's values in a network's units."""
    return (cube - units.low) / (units.high - units.low)


def guide_units(guide: Tensor, units: Units) -> Tensor:
    """Return a guide's values in a network's units."""
    return (guide - units.guide_low) / (units.guide_high - units.guide_low)
