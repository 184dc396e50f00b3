"""A network at work on one window of a scene: its bands one after another, each made once.

Nothing is kept but the band at hand, so the cost in memory does not depend on the number of bands.
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
from dualsr_geo.models.loading import ready
from dualsr_geo.models.networks import alba, backprojection
from dualsr_geo.models.weights import Weights
from dualsr_geo.raster.windows import Window

# A network's values end at 1. What the sample of a large scene did not see may be brighter.
HEADROOM = 1.25
# The spectral angle is measured on about this many lr pixels.
ANGLE_PX = 9216


@dataclass(frozen=True)
class Units:
    """What 0 and 1 of a network stand for; part of the survey.

    Attributes
    ----------
    low, high : float
        Physical units of the scene; 0 and its maximum, lower where it has negative values.
    guide_low, guide_high : float
        The same of the guide; 0 and 1 without one.
    """

    low: float
    high: float
    guide_low: float = 0.0
    guide_high: float = 1.0

    @classmethod
    def of(cls, cubes: Sequence[Tensor], guides: Sequence[NDArray[np.float32]], *, whole: bool) -> Units:
        """Return the units of a scene from a sample of it.

        Parameters
        ----------
        cubes : sequence of Tensor, shape (band, y, x)
        guides : sequence of array, shape (guide band, y, x)
            NaN where nothing is.
        whole : bool
            Whether the sample is the scene; else there is headroom for what it did not see.
        """
        more = 1.0 if whole else HEADROOM
        scene = _range([float(c.min()) for c in cubes], [float(c.max()) for c in cubes], more)
        there = [g for g in guides if np.isfinite(g).any()]
        if not there:
            return cls(*scene)
        return cls(*scene, *_range([float(np.nanmin(g)) for g in there], [float(np.nanmax(g)) for g in there], more))


def _range(lows: Sequence[float], highs: Sequence[float], more: float) -> tuple[float, float]:
    low, high = min(0.0, *lows), max(highs) * more
    # A scene of zeros has no unit; any will do for it.
    return low, high if high > low else low + 1.0


@dataclass(frozen=True)
class Place:
    """A window of a scene, lr pixels, and the scene's shape: where ALBA's blocks lie."""

    window: Window
    shape: tuple[int, int]


def bands(weights: Weights, cube: Tensor, guide: Tensor | None, place: Place) -> Iterator[Tensor]:
    """Yield a network's bands of a window, (ratio * y, ratio * x), in its own units.

    Parameters
    ----------
    weights : Weights
    cube : Tensor, shape (band, y, x)
        0..1.
    guide : Tensor, shape (guide band, ratio * y, ratio * x), or None
        0..1; of CoarseNet.
    place : Place
    """
    architecture, ratio, win = architecture_of(weights.network), weights.ratio, place.window
    block_px = architecture.block * ratio
    scene = alba.centred((place.shape[0] * ratio, place.shape[1] * ratio), block_px)
    lead = alba.lead_at((win.y0 * ratio, win.x0 * ratio), scene, block_px)
    return ready(weights, cube.device.type).stream(cube, guide if architecture.guided else None, lead)


def halves(half: Weights | None, cube: Tensor, guide: Tensor | None, place: Place) -> Iterator[Tensor]:
    """Yield the bands of half the ratio, V of DualSR's fine stage; at ratio 2 the scene's own."""
    if half is None:
        return iter(cube)
    return bands(half, cube, None if guide is None else backprojection.halved(guide), place)


def angle(
    weights: Weights,
    half: Weights | None,
    cubes: Sequence[Tensor],
    guides: Sequence[Tensor | None],
    places: Sequence[Place],
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
    places : sequence of Place
    """
    if not cubes:
        return 0.0
    side = int((ANGLE_PX / len(cubes)) ** 0.5)
    total, count = 0.0, 0
    for cube, guide, place in zip(cubes, guides, places, strict=True):
        part, shown, at = _middle(cube, guide, place, side, weights)
        pair = zip(bands(weights, part, shown, at), halves(half, part, shown, at), strict=True)
        found = backprojection.angles_of((backprojection.halved(u[None])[0], v) for u, v in pair)
        total, count = total + float(found.sum()), count + found.numel()
    return min(1.0, total / count)


def _middle(
    cube: Tensor, guide: Tensor | None, place: Place, side: int, weights: Weights
) -> tuple[Tensor, Tensor | None, Place]:
    """Cut the middle of a sampled window, no longer than `side`, at whole blocks."""
    win, block = place.window, weights.block
    height, width = (min(n, side) for n in win.shape)
    y, x = ((n - m) // 2 // block * block for n, m in zip(win.shape, (height, width), strict=True))
    inner = Window(y, y + height, x, x + width)
    shown = None if guide is None else guide[:, *inner.scaled(weights.ratio).slices]
    return cube[:, *inner.slices], shown, Place(inner.moved(win.y0, win.x0), place.shape)


class Stream:
    """The bands of one window in physical units, handed out in order.

    Parameters
    ----------
    weights : Weights
    half : Weights or None
        Of half the ratio, for DualSR's fine stage above ratio 2.
    units : Units
    angle_weight : float or None
        What `angle` returned; None without that fine stage.
    cube : Tensor, shape (band, y, x)
        Physical units, filled.
    guide : Tensor, shape (guide band, ratio * y, ratio * x), or None
    place : Place
    """

    def __init__(
        self,
        weights: Weights,
        half: Weights | None,
        units: Units,
        angle_weight: float | None,
        cube: Tensor,
        guide: Tensor | None,
        place: Place,
    ) -> None:
        self.units, self.made = units, 0
        values = scene_units(cube, units)
        shown = None if guide is None else guide_units(guide, units)
        whole = bands(weights, values, shown, place)
        self._bands = whole
        if angle_weight is not None:
            second = halves(half, values, shown, place)
            self._bands = (_projected(u, v, angle_weight) for u, v in zip(whole, second, strict=True))

    def take(self, some: slice) -> Tensor:
        """Return some bands, (band, ratio * y, ratio * x); they must follow those taken before."""
        if some.start != self.made:
            raise ValueError(f"Band {self.made} follows, not {some.start}: a network makes its bands in order.")
        taken = list(islice(self._bands, some.stop - some.start))
        self.made = some.stop
        return torch.stack(taken).mul_(self.units.high - self.units.low).add_(self.units.low)


def _projected(hr: Tensor, half: Tensor, weight: float) -> Tensor:
    return backprojection.back_project(hr[None], half[None], weight=weight)[0]


def scene_units(cube: Tensor, units: Units) -> Tensor:
    """Return a scene's values in a network's units."""
    return (cube - units.low) / (units.high - units.low)


def guide_units(guide: Tensor, units: Units) -> Tensor:
    """Return a guide's values in a network's units."""
    return (guide - units.guide_low) / (units.guide_high - units.guide_low)
