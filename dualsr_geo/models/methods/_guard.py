"""The guard on spectra where no guide is used, as a reconstruction whose bands are computed on demand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dualsr_geo.fusion import spectral_guard
from dualsr_geo.fusion.spectra import DetailPlanes
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.uncertainty import ConsistentStart
from dualsr_geo.models.reconstruction import Reconstruction, SpectralReconstruction, WindowInputs
from dualsr_geo.raster.windows import Window


@dataclass(frozen=True, eq=False)
class GuardedReconstruction:
    """A sharpened window whose spectra stay within the range of the scene's where no guide is used.

    Attributes
    ----------
    plain : SpectralReconstruction
        Without the guard.
    cube : Tensor, shape (band, y, x)
        The scene in `plain`'s extent and a lr pixel around it, as far as the window has it.
    inner : Window
        The extent, lr pixels, in coordinates of `cube`.
    floor : float
        Smallest denominator of a share.
    blend : Tensor, shape (Y, X), or None
        Weight of the guide in the extent, 0..1; None without a guide.
    """

    plain: SpectralReconstruction
    cube: Tensor
    inner: Window
    floor: float
    blend: Tensor | None

    @property
    def extent(self) -> Window:
        """The part that `bands` covers; see `Reconstruction`."""
        return self.plain.extent

    @property
    def start(self) -> ConsistentStart | None:
        """The training-free start; see `Reconstruction`."""
        return self.plain.start

    @cached_property
    def _lr_mean(self) -> Tensor:
        """Mean over the bands, (y, x)."""
        return self.cube.mean(0)

    @cached_property
    def _mean(self) -> Tensor:
        """Mean over the sharpened bands, (Y, X)."""
        count = len(self.cube)
        return self.plain.through(self.cube.new_full((1, count), 1 / count))[0]

    def bands(self, rows: slice) -> Tensor:
        """Return some bands; see `Reconstruction`."""
        values = self.plain.bands(rows)
        y, x = self.inner.slices
        bounds = spectral_guard.share_bounds(self.cube[rows], self._lr_mean, self.floor)
        low, high = (bound[:, y, x] for bound in bounds)
        ratio = values.shape[1] // self.inner.shape[0]
        guarded = spectral_guard.guarded(values, self._mean, (low, high), ratio)
        return guarded if self.blend is None else torch.lerp(guarded, values, self.blend)

    def through(self, response: Tensor) -> Tensor:
        """Return all bands through a response without the guard, which changes no sum of many bands."""
        return self.plain.through(response)

    def with_detail(self, detail: DetailPlanes) -> GuardedReconstruction:
        """Return the reconstruction with detail added before the guard; see `Reconstruction`."""
        return replace(self, plain=self.plain.with_detail(detail))

    def held(self) -> GuardedReconstruction:
        """Return itself: components can be expanded in any order."""
        return self

    def without_start(self) -> GuardedReconstruction:
        """Return the reconstruction without its start; see `Reconstruction`."""
        return replace(self, plain=self.plain.without_start())


def guard(plain: SpectralReconstruction, inputs: WindowInputs) -> Reconstruction:
    """Return a reconstruction with the guard where no guide is used; the same where one is used everywhere."""
    floor = floor_of(inputs.statistics.space)
    if (inputs.guide is not None and inputs.blend is None) or floor is None:
        return plain
    around = plain.extent.grown(1).clipped(inputs.whole.shape)
    y, x = around.slices
    blend = inputs.blend
    if blend is not None:
        rows, columns = plain.extent.scaled(inputs.ratio).slices
        blend = blend[rows, columns]
    return GuardedReconstruction(plain, inputs.cube[:, y, x], plain.extent.within(around), floor, blend)


def guarded_block(values: Tensor, cube: Tensor, space: Subspace) -> Tensor:
    """Return a sharpened block (band, Y, X) of a scene without a guide (band, y, x) with the guard."""
    floor = floor_of(space)
    if floor is None:
        return values
    bounds = spectral_guard.share_bounds(cube, cube.mean(0), floor)
    return spectral_guard.guarded(values, values.mean(0), bounds, values.shape[1] // cube.shape[1])


def floor_of(space: Subspace) -> float | None:
    """Return the smallest denominator of a share; None for scenes that have no intensity."""
    mean = float(np.mean(space.mean, dtype=np.float64))
    if len(space.mean) < spectral_guard.MIN_BANDS or not mean > 0:
        return None
    return spectral_guard.FLOOR_SHARE * mean
