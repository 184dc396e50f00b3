"""The coarse stage of one window: a model along the spectrum, from filled lr values to hr values.

Everything here is a pure function of a scene window, a guide window and the survey's values;
its support is finite, so a tile with its halo gives what the whole scene would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.operators import Banded, Operator
from dualsr_geo.fusion import candidates
from dualsr_geo.fusion.scene_regression import SceneRegression
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.raster.windows import Window

# Holes are filled by a normalised Gaussian of this width (lr px), cut at FILL_REACH.
FILL_WIDTH = 1.5
FILL_REACH = 4
FILL_PRIOR = 1e-3
# A lr pixel counts as guided where this share of its guide is there.
GUIDED = 0.95
# Below this share of the largest value a rest is float32's rounding.
ROUNDING = 1e-6
# Components evaluated at once: keeps planes in the cache.
CHUNK = 8


def fill(cube: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Fill holes from their valid neighbours (normalised convolution).

    Parameters
    ----------
    cube : Tensor, shape (band, y, x)
        NaN where nothing is.
    mean : Tensor, shape (band,)
        What a pixel without any valid neighbour gets.

    Returns
    -------
    filled : Tensor, shape (band, y, x)
    weight : Tensor, shape (y, x), or None
        Share of the bands that are valid at a pixel; None where all are.
    """
    valid = torch.isfinite(cube)
    if bool(valid.all()):
        return cube, None
    share = valid.to(cube.dtype)
    values = torch.where(valid, cube, cube.new_zeros(()))
    rows, columns = (_bell(n).to(cube) for n in cube.shape[1:])
    near = rows @ values @ columns + FILL_PRIOR * mean[:, None, None]
    smooth = near / (rows @ share @ columns + FILL_PRIOR)
    return torch.where(valid, cube, smooth), share.mean(0)


def _bell(length: int) -> torch.Tensor:
    off = (torch.arange(length)[:, None] - torch.arange(length)[None]).abs()
    return torch.where(off <= FILL_REACH, torch.exp(-0.5 * (off / FILL_WIDTH) ** 2), 0.0)


@dataclass(frozen=True)
class GuideWindow:
    """A guide made ready for one window.

    Attributes
    ----------
    values : Tensor, shape (guide band, ratio * y, ratio * x)
        Without NaN.
    weight : Tensor, shape (y, x), or None
        Share of a lr pixel's guide that is valid; None where all is.
    blend : Tensor, shape (ratio * y, ratio * x), or None
        1 where the guide is used, 0 where it is absent, a ramp between; None where it is everywhere.
    """

    values: torch.Tensor
    weight: torch.Tensor | None
    blend: torch.Tensor | None


def ready_guide(guide: torch.Tensor, mean: torch.Tensor, operator: Operator) -> GuideWindow | None:
    """Fill a guide's holes and say where it may be used; None where it reaches nothing.

    Parameters
    ----------
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
        NaN where it does not reach.
    mean : Tensor, shape (guide band,)
    operator : Operator
        The window's degradation.
    """
    valid = torch.isfinite(guide).all(0)
    if bool(valid.all()):
        return GuideWindow(guide, None, None)
    if not bool(valid.any()):
        return None
    share = valid.to(guide.dtype)
    weight = operator.degrade(share).clamp(0, 1)
    values = torch.where(valid, guide, guide.new_zeros(()))
    nan = guide.new_full((), torch.nan)
    degraded = torch.where(weight > 0.5, operator.degrade(values) / weight.clamp_min(0.5), nan)
    smooth = operator.upsample(fill(degraded, mean)[0])
    filled = torch.where(valid, guide, smooth)
    return GuideWindow(filled, torch.where(weight > GUIDED, weight, 0.0), ramp(weight > GUIDED, guide))


def ramp(there: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return 0..1 on the hr grid: 0 wherever a lr pixel lacks what is asked for, a ramp of 2 lr pixels inside.

    Beyond the window it is taken to go on, which holds at the scene's edge.

    Parameters
    ----------
    there : Tensor of bool, shape (y, x)
    like : Tensor, shape (..., ratio * y, ratio * x)
        Of the size and type wanted.
    """
    absent = (~there).to(like.dtype)[None, None]
    near = torch.nn.functional.max_pool2d(absent, 5, 1, 2)
    padded = torch.nn.functional.pad(1 - near, (1, 1, 1, 1), mode="replicate")
    mean = torch.nn.functional.avg_pool2d(padded, 3, 1)
    ramp = torch.nn.functional.interpolate(mean, size=like.shape[-2:], mode="bilinear", align_corners=False)
    return ramp[0, 0]


@dataclass(frozen=True)
class DetailPlanes:
    """What a network adds to a few bands or components of a core, and how that reaches all bands.

    Attributes
    ----------
    planes : Tensor, shape (anchor, pixel of the core)
    spread : Tensor, shape (band, anchor)
    """

    planes: torch.Tensor
    spread: torch.Tensor


@dataclass(frozen=True)
class Spectra:
    """A window on the target grid, held as components; bands are made when asked for.

    Attributes
    ----------
    components : Tensor, shape (component, pixel of the core)
    rest : Tensor, shape (band, y, x), or None
        What the components do not carry, lr; interpolated and added.
    mean : Tensor, shape (band,)
    expand : Tensor, shape (band, component)
    cubic_y, cubic_x : Banded
        Interpolation from the padded lr window to the core on the target grid.
    shape : (int, int)
        Rows and columns of the core on the target grid.
    added : tuple of DetailPlanes
        By networks.
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
        """Return some bands, (band, y, x), in physical units, not clamped."""
        mean = self.mean[rows, None].expand(-1, self.components.shape[1])
        flat = torch.addmm(mean, self.expand[rows], self.components)
        for part in self.added:
            flat.addmm_(part.spread[rows], part.planes)
        out = flat.view(-1, *self.shape)
        if self.rest is not None:
            out += self.cubic_y.rows(self.cubic_x.columns(self.rest[rows]))
        return out

    def through(self, response: torch.Tensor) -> torch.Tensor:
        """Return what an instrument of this response (guide band, band) sees of all bands, (guide band, y, x)."""
        rest = None if self.rest is None else torch.einsum("gb,byx->gyx", response, self.rest)
        added = tuple(replace(part, spread=response @ part.spread) for part in self.added)
        mean, expand = response @ self.mean, response @ self.expand
        made = replace(self, rest=rest, mean=mean, expand=expand, added=added)
        return made.bands(slice(0, len(response)))


def spectra(
    space: Subspace,
    cube: torch.Tensor,
    components: torch.Tensor,
    hr: torch.Tensor,
    operator: Operator,
    core: Window,
) -> Spectra:
    """Bundle what the bands of a core are made from.

    Parameters
    ----------
    space : Subspace
    cube : Tensor, shape (band, y, x)
        The filled lr window.
    components : Tensor, shape (component, y, x)
        Its coefficients.
    hr : Tensor, shape (component, ratio * y, ratio * x)
        The sharpened coefficients.
    operator : Operator
    core : Window
        The core, hr pixels, in the window's own coordinates.
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
    rest = cube - mean[:, None, None] - carried
    nothing = len(components) and float(rest.abs().max()) <= ROUNDING * float(cube.abs().max())
    return None if nothing else rest


@dataclass(frozen=True)
class GuidedStart:
    """What the regressions need in one window.

    Attributes
    ----------
    guide : GuideWindow
    fit : SceneRegression
        Their scene-wide part.
    mixture : Tensor, shape (component, candidate)
        Weights of the candidates.
    """

    guide: GuideWindow
    fit: SceneRegression
    mixture: torch.Tensor


def sharpen(
    components: torch.Tensor,
    weight: torch.Tensor | None,
    guided: GuidedStart | None,
    closed: Consistency,
    alone: Consistency,
    *,
    consistent: bool = True,
) -> torch.Tensor:
    """Sharpen the spectral components of a window.

    Parameters
    ----------
    components : Tensor, shape (component, y, x)
    weight : Tensor, shape (y, x), or None
        How valid a pixel is.
    guided : GuidedStart or None
        None without a guide.
    closed, alone : Consistency
        The fine stage where the guide is, and where it is not.
    consistent : bool
        Whether the fine stage runs.

    Returns
    -------
    Tensor, shape (component, ratio * y, ratio * x)
    """
    operator = closed.operator
    start = None if guided is None else _start(components, weight, guided, operator)
    blend = None if guided is None else guided.guide.blend
    out = components.new_empty(len(components), operator.cubic_y.shape[0], operator.cubic_x.shape[0])
    for first, last in _chunks(len(components)):
        observed = components[first:last]
        made = None if start is None else start.evaluate(first, last)
        if made is not None and consistent:
            made += closed.spread(_known(closed.residual(made, observed), weight), first)
        if made is None or blend is not None:
            plain = alone.spread(observed, first) if consistent else operator.upsample(observed)
            made = plain if made is None or blend is None else torch.lerp(plain, made, blend)
        out[first:last] = made
    return out


def _start(
    components: torch.Tensor, weight: torch.Tensor | None, guided: GuidedStart, operator: Operator
) -> candidates.Start:
    both = _both(weight, guided.guide.weight)
    pair = candidates.pair(components, guided.guide.values, guided.fit, operator, both)
    return candidates.mix(pair, guided.mixture)


def _both(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    return b if a is None else a if b is None else a * b


def _known(residual: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Continue a residual into holes from its neighbours, so that nothing rings at their edge."""
    if weight is None:
        return residual
    hole = residual.new_full((), torch.nan)
    return fill(torch.where(weight > 0, residual, hole), residual.new_zeros(len(residual)))[0]


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    return ((i, min(i + CHUNK, count)) for i in range(0, count, CHUNK))
