"""The sharpened spectra of one window, as spectral components; bands are computed when they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from dualsr_geo.degradation.operators import Banded, Operator
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.raster.windows import Window

# Below this share of the scene's largest value a remainder is the rounding of float32.
ROUNDING_SHARE = 1e-6


@dataclass(frozen=True)
class DetailPlanes:
    """Detail that a network adds to a few anchors (bands or components), and its weights in all bands.

    Attributes
    ----------
    planes : Tensor, shape (anchor, pixel of the core)
        Physical units.
    spread : Tensor, shape (band, anchor)
        A band's detail is the sum of the planes by these weights.
    """

    planes: torch.Tensor
    spread: torch.Tensor


@dataclass(frozen=True)
class Spectra:
    """The core of a window on the target grid, as spectral components.

    Attributes
    ----------
    components : Tensor, shape (component, pixel of the core)
    rest : Tensor, shape (band, y, x), or None
        What the components do not carry, on the lr grid; it is interpolated and added.
    mean : Tensor, shape (band,)
    expand : Tensor, shape (band, component)
    cubic_y, cubic_x : Banded
        Interpolation from the padded lr window to the core on the target grid.
    shape : (int, int)
        Rows and columns of the core on the target grid.
    added : tuple of DetailPlanes
        The detail of networks.
    """

    components: torch.Tensor
    rest: torch.Tensor | None
    mean: torch.Tensor
    expand: torch.Tensor
    cubic_y: Banded
    cubic_x: Banded
    shape: tuple[int, int]
    added: tuple[DetailPlanes, ...] = ()

    def bands(self, rows: slice) -> torch.Tensor:
        """Return some bands, (band, Y, X), physical units, not clamped."""
        mean = self.mean[rows, None].expand(-1, self.components.shape[1])
        flat = torch.addmm(mean, self.expand[rows], self.components)
        for detail in self.added:
            flat.addmm_(detail.spread[rows], detail.planes)
        out = flat.view(-1, *self.shape)
        if self.rest is not None:
            self.cubic_y.add_rows(self.cubic_x.columns(self.rest[rows]), out)
        return out

    def observed_by(self, response: torch.Tensor) -> torch.Tensor:
        """Return what an instrument of this spectral response (guide band, band) observes, (guide band, Y, X)."""
        rest = None if self.rest is None else torch.einsum("gb,byx->gyx", response, self.rest)
        added = tuple(replace(detail, spread=response @ detail.spread) for detail in self.added)
        mean, expand = response @ self.mean, response @ self.expand
        observed = replace(self, rest=rest, mean=mean, expand=expand, added=added)
        return observed.bands(slice(0, len(response)))


def core_spectra(
    space: Subspace,
    cube: torch.Tensor,
    components: torch.Tensor,
    hr: torch.Tensor,
    operator: Operator,
    core: Window,
) -> Spectra:
    """Return the spectra of a window's core.

    Parameters
    ----------
    space : Subspace
    cube : Tensor, shape (band, y, x)
        The filled lr window.
    components : Tensor, shape (component, y, x)
        Its spectral coefficients.
    hr : Tensor, shape (component, ratio * y, ratio * x)
        The sharpened coefficients.
    operator : Operator
        The window's degradation.
    core : Window
        hr pixels, in the window's own coordinates.
    """
    mean = torch.as_tensor(space.mean, device=cube.device)
    expand = torch.as_tensor(space.expand, device=cube.device)
    rest = _rest(cube, components, mean, expand) if space.keeps_rest else None
    rows, columns = core.slices
    return Spectra(
        hr[:, rows, columns].flatten(1),
        rest,
        mean,
        expand,
        operator.cubic_y.cut(rows.start, rows.stop),
        operator.cubic_x.cut(columns.start, columns.stop),
        core.shape,
    )


def _rest(
    cube: torch.Tensor, components: torch.Tensor, mean: torch.Tensor, expand: torch.Tensor
) -> torch.Tensor | None:
    """Return what the components do not carry; None where that is rounding."""
    carried = (expand @ components.flatten(1)).view_as(cube)
    rest = (cube - mean[:, None, None]).sub_(carried)
    is_rounding = len(components) and _largest(rest) <= ROUNDING_SHARE * _largest(cube)
    return None if is_rounding else rest


def _largest(planes: torch.Tensor) -> float:
    """Return the largest magnitude, without a copy of all bands."""
    low, high = torch.aminmax(planes)
    return max(-float(low), float(high))
