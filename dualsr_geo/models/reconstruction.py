"""Inputs and output of a model on one window: `WindowInputs` and `Reconstruction`."""

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
        How valid a pixel is, 0..1; None where nothing is missing.
    guide : PreparedGuide or None
        The registered guide; None where it does not reach and for models without a guide.
    operator : Operator
        The window's degradation.
    psf : Psf
    statistics : SceneStatistics
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    window : Window
        This window in the scene, lr pixels.
    part : Window
        The part that is wanted, lr pixels, in the window's own coordinates.
    consistent : bool
        Whether the result is made consistent with the scene in closed form.
    fine : str
        The fine stage of the run.
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
        """Pixels of the target grid in a scene pixel, along an axis."""
        return self.psf.ratio

    @property
    def whole(self) -> Window:
        """All of the window in its own coordinates, lr pixels."""
        return self.window.within(self.window)

    @property
    def blend(self) -> Tensor | None:
        """How far the guide is used, (Y, X), 0..1; None where it is used everywhere, and without a guide."""
        return None if self.guide is None else self.guide.blend

    @cached_property
    def components(self) -> Tensor:
        """The window's spectral coefficients, (component, y, x)."""
        space = self.statistics.space
        project, mean = (torch.from_numpy(v).to(self.cube.device) for v in (space.project, space.mean))
        return (project @ (self.cube - mean[:, None, None]).flatten(1)).view(-1, *self.cube.shape[1:])

    @cached_property
    def observed(self) -> Tensor:
        """The scene without what the subspace drops, (band, y, x)."""
        return observed(self.statistics.space, self.cube, self.components)

    def closed_form(self, ridges: Sequence[float]) -> Consistency:
        """Return the closed form of the window for planes with these ridges."""
        return consistency(self.psf, self.shape, list(ridges), self.operator, self.window)

    def plain_closed_form(self, count: int) -> Consistency:
        """Return the closed form of so many bands, without ridges."""
        return self.closed_form([0.0] * count)

    def with_cubic(self, a: float) -> WindowInputs:
        """Return the window with bicubic interpolation at the grid's own phase, as methods have that know no blur.

        Parameters
        ----------
        a : float
            Sharpness of the kernel; -0.5 is Keys's, -0.75 OpenCV's and torch's.
        """
        op, win, ratio = self.operator, self.window, self.ratio
        cubic_y, cubic_x = (
            Banded(cubic_matrix(0.0, ratio, length, low, high, a), BLOCK_LR * ratio, self.cube.device)
            for length, low, high in ((self.shape[0], win.y0, win.y1), (self.shape[1], win.x0, win.x1))
        )
        return replace(self, operator=Operator(op.blur_y, op.blur_x, cubic_y, cubic_x))


class Reconstruction(Protocol):
    """The sharpened window; bands are made when asked for."""

    @property
    def extent(self) -> Window:
        """What `bands` covers, lr pixels, in the window's own coordinates."""
        ...

    @property
    def start(self) -> ConsistentStart | None:
        """The training-free start that errors are predicted from; None where the model has none."""
        ...

    def bands(self, rows: slice) -> Tensor:
        """Return some of the used bands, (band, Y, X), physical units, not clamped."""
        ...

    def through(self, response: Tensor) -> Tensor:
        """Return all bands as an instrument of this response (guide band, band) records them, (guide band, Y, X)."""
        ...

    def with_detail(self, detail: DetailPlanes) -> Reconstruction:
        """Return the reconstruction with detail added to all of `extent`."""
        ...

    def held(self) -> Reconstruction:
        """Return a reconstruction whose bands can be made in any order and more than once."""
        ...

    def without_start(self) -> Reconstruction:
        """Return the reconstruction without its start, whose planes take memory."""
        ...


@dataclass(frozen=True, eq=False)
class SpectralReconstruction:
    """A window held as spectral components.

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
    """A window whose bands are made one by one, by a function.

    Attributes
    ----------
    make : callable
        From a slice of bands to (band, Y, X).
    count : int
        Number of bands.
    extent : Window
    """

    make: Callable[[slice], Tensor]
    count: int
    extent: Window

    @property
    def start(self) -> ConsistentStart | None:
        """None: errors of such models are not predicted."""
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
        """Make all bands once."""
        return HeldReconstruction(self.make(slice(0, self.count)), self.extent)

    def without_start(self) -> BandReconstruction:
        """Return itself: it has no start."""
        return self


@dataclass(frozen=True, eq=False)
class HeldReconstruction:
    """A window with all its bands in memory.

    Attributes
    ----------
    values : Tensor, shape (band, Y, X)
    extent : Window
    """

    values: Tensor
    extent: Window

    @property
    def start(self) -> ConsistentStart | None:
        """None: errors of such models are not predicted."""
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
    """Return plain interpolation of every band of the wanted part, at the phase of the window's operator.

    For models that work band by band: their subspace has no components.
    """
    none = inputs.components.new_empty(0, *(n * inputs.ratio for n in inputs.cube.shape[1:]))
    core = inputs.part.scaled(inputs.ratio)
    space = inputs.statistics.space
    spectra = core_spectra(space, inputs.cube, inputs.components, none, inputs.operator, core)
    return SpectralReconstruction(spectra, inputs.part)


def band_by_band(inputs: WindowInputs, sharpened: Callable[[Tensor, slice], Tensor]) -> BandReconstruction:
    """Return a reconstruction made band by band on the whole window, consistent with the scene where that is wanted.

    Parameters
    ----------
    inputs : WindowInputs
    sharpened : callable
        From lr bands (band, y, x), and which bands they are, to sharpened ones (band, Y, X).
    """

    def make(rows: slice) -> Tensor:
        lr = inputs.cube[rows]
        estimate = sharpened(lr, rows)
        return inputs.plain_closed_form(len(lr))(estimate, lr) if inputs.consistent else estimate

    return BandReconstruction(make, len(inputs.cube), inputs.whole)
