"""The inputs of a model on one window, and its reconstruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from dualsr_geo.degradation.consistency import Consistency, consistency
from dualsr_geo.degradation.operators import BLOCK_LR, Banded, Operator, cubic_matrix
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.spectra import DetailPlanes, Spectra, core_spectra
from dualsr_geo.fusion.uncertainty import ConsistentStart
from dualsr_geo.fusion.wald.scene_sample import SceneStatistics
from dualsr_geo.models.unguided_correction import observed
from dualsr_geo.raster.windows import Window


@dataclass(frozen=True, eq=False)
class WindowInputs:
    """One window of a scene, ready for a model.

    Attributes
    ----------
    cube : Tensor, shape (band, y, x)
        The scene's used bands, holes filled, physical units.
    weight : Tensor, shape (y, x), or None
        Validity of the pixels, 0..1; None if all are valid.
    guide : PreparedGuide or None
        The registered guide; None outside its extent, and for models without a guide.
    operator : Operator
        The degradation of the window.
    psf : Psf
    statistics : SceneStatistics
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    window : Window
        Position of the window in the scene, lr pixels.
    part : Window
        The part to sharpen, lr pixels, in coordinates of the window.
    consistent : bool
        Whether the closed form makes the result consistent with the scene.
    fine : str
        Fine stage of the run.
    """

    cube: Tensor
    weight: Tensor | None
    guide: PreparedGuide | None
    operator: Operator
    psf: Psf
    statistics: SceneStatistics
    shape: tuple[int, int]
    window: Window
    part: Window
    consistent: bool
    fine: str

    @property
    def ratio(self) -> int:
        """Pixels of the target grid in a pixel of the scene, along an axis."""
        return self.psf.ratio

    @property
    def whole(self) -> Window:
        """The whole window in its own coordinates, lr pixels."""
        return self.window.within(self.window)

    @property
    def blend(self) -> Tensor | None:
        """Weight of the guide, (Y, X), 0..1; None if it is 1 everywhere, and without a guide."""
        return None if self.guide is None else self.guide.blend

    @cached_property
    def components(self) -> Tensor:
        """The window's spectral coefficients, (component, y, x)."""
        space = self.statistics.space
        project, mean = (torch.from_numpy(v).to(self.cube.device) for v in (space.project, space.mean))
        return (project @ (self.cube - mean[:, None, None]).flatten(1)).view(-1, *self.cube.shape[1:])

    @cached_property
    def observed(self) -> Tensor:
        """The scene as the unguided network reads it, (band, y, x); on noisy scenes projected on the subspace."""
        return observed(self.statistics.space, self.cube, self.components)

    def closed_form(self, ridges: Sequence[float]) -> Consistency:
        """Return the closed form of the window for planes with these ridges."""
        return consistency(self.psf, self.shape, list(ridges), self.operator, self.window)

    def plain_closed_form(self, count: int) -> Consistency:
        """Return the closed form for this number of bands, without ridges."""
        return self.closed_form([0.0] * count)

    def with_cubic(self, a: float) -> WindowInputs:
        """Return the window with bicubic interpolation at the phase of the grid, for methods without a blur.

        Parameters
        ----------
        a : float
            Parameter of the kernel; -0.5 of Keys, -0.75 of OpenCV and torch.
        """
        op, win, ratio = self.operator, self.window, self.ratio
        cubic_y, cubic_x = (
            Banded(cubic_matrix(0.0, ratio, length, low, high, a), BLOCK_LR * ratio, self.cube.device)
            for length, low, high in ((self.shape[0], win.y0, win.y1), (self.shape[1], win.x0, win.x1))
        )
        return replace(self, operator=Operator(op.blur_y, op.blur_x, cubic_y, cubic_x))


class Reconstruction(Protocol):
    """A sharpened window, whose bands are computed on demand."""

    @property
    def extent(self) -> Window:
        """The part that `bands` covers, lr pixels, in coordinates of the window."""
        ...

    @property
    def start(self) -> ConsistentStart | None:
        """The training-free start, from which errors are predicted; None if the model has none."""
        ...

    def bands(self, rows: slice) -> Tensor:
        """Return some of the used bands, (band, Y, X), physical units, not clamped."""
        ...

    def through(self, response: Tensor) -> Tensor:
        """Return the product of a response (guide band, band) with all bands, (guide band, Y, X)."""
        ...

    def with_detail(self, detail: DetailPlanes) -> Reconstruction:
        """Return the reconstruction with detail added to all of `extent`."""
        ...

    def held(self) -> Reconstruction:
        """Return a reconstruction whose bands can be computed in any order and repeatedly."""
        ...

    def without_start(self) -> Reconstruction:
        """Return the reconstruction without its start, whose planes take memory."""
        ...


@dataclass(frozen=True, eq=False)
class SpectralReconstruction:
    """A sharpened window in spectral components.

    Attributes
    ----------
    spectra : Spectra
    extent : Window
    start : ConsistentStart or None
    """

    spectra: Spectra
    extent: Window
    start: ConsistentStart | None = None

    def bands(self, rows: slice) -> Tensor:
        """Return some bands; see `Reconstruction`."""
        return self.spectra.bands(rows)

    def through(self, response: Tensor) -> Tensor:
        """Return all bands through a response; see `Reconstruction`."""
        return self.spectra.observed_by(response)

    def with_detail(self, detail: DetailPlanes) -> SpectralReconstruction:
        """Return the reconstruction with detail added; see `Reconstruction`."""
        return replace(self, spectra=replace(self.spectra, added=(*self.spectra.added, detail)))

    def held(self) -> SpectralReconstruction:
        """Return itself: components can be expanded in any order."""
        return self

    def without_start(self) -> SpectralReconstruction:
        """Return the reconstruction without its start; see `Reconstruction`."""
        return replace(self, start=None)


@dataclass(frozen=True, eq=False)
class BandReconstruction:
    """A sharpened window whose bands a function computes one after another.

    Attributes
    ----------
    make : callable
        From a slice of bands to their values, (band, Y, X).
    count : int
        Number of bands.
    extent : Window
    """

    make: Callable[[slice], Tensor]
    count: int
    extent: Window

    @property
    def start(self) -> ConsistentStart | None:
        """None: the errors of models without spectral components are not predicted."""
        return None

    def bands(self, rows: slice) -> Tensor:
        """Return some bands; see `Reconstruction`."""
        return self.make(rows)

    def through(self, response: Tensor) -> Tensor:
        """Return all bands through a response; see `Reconstruction`."""
        return self.held().through(response)

    def with_detail(self, detail: DetailPlanes) -> HeldReconstruction:
        """Return the reconstruction with detail added; see `Reconstruction`."""
        return self.held().with_detail(detail)

    def held(self) -> HeldReconstruction:
        """Compute all bands, and keep them."""
        return HeldReconstruction(self.make(slice(0, self.count)), self.extent)

    def without_start(self) -> BandReconstruction:
        """Return itself: it has no start."""
        return self


@dataclass(frozen=True, eq=False)
class HeldReconstruction:
    """A sharpened window with all bands in memory.

    Attributes
    ----------
    values : Tensor, shape (band, Y, X)
    extent : Window
    """

    values: Tensor
    extent: Window

    @property
    def start(self) -> ConsistentStart | None:
        """None: the errors of models without spectral components are not predicted."""
        return None

    def bands(self, rows: slice) -> Tensor:
        """Return some bands; see `Reconstruction`."""
        return self.values[rows]

    def through(self, response: Tensor) -> Tensor:
        """Return all bands through a response; see `Reconstruction`."""
        return torch.einsum("gb,byx->gyx", response, self.values)

    def with_detail(self, detail: DetailPlanes) -> HeldReconstruction:
        """Add detail in place; see `Reconstruction`."""
        self.values.flatten(1).addmm_(detail.spread, detail.planes)
        return self

    def held(self) -> HeldReconstruction:
        """Return itself."""
        return self

    def without_start(self) -> HeldReconstruction:
        """Return itself: it has no start."""
        return self


def interpolated(inputs: WindowInputs) -> SpectralReconstruction:
    """Return every band of `inputs.part`, interpolated by the operator of the window.

    For models that work band by band, whose subspace has no components.
    """
    no_components = inputs.components.new_empty(0, *(n * inputs.ratio for n in inputs.cube.shape[1:]))
    core = inputs.part.scaled(inputs.ratio)
    space = inputs.statistics.space
    spectra = core_spectra(space, inputs.cube, inputs.components, no_components, inputs.operator, core)
    return SpectralReconstruction(spectra, inputs.part)


def band_by_band(inputs: WindowInputs, sharpened: Callable[[Tensor, slice], Tensor]) -> BandReconstruction:
    """Return a reconstruction of the whole window band by band, made consistent if `inputs.consistent`.

    Parameters
    ----------
    inputs : WindowInputs
    sharpened : callable
        From lr bands (band, y, x) and their indices, a slice, to sharpened bands (band, Y, X).
    """

    def make(rows: slice) -> Tensor:
        lr = inputs.cube[rows]
        estimate = sharpened(lr, rows)
        return inputs.plain_closed_form(len(lr))(estimate, lr) if inputs.consistent else estimate

    return BandReconstruction(make, len(inputs.cube), inputs.whole)
