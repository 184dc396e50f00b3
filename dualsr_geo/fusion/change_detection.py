"""Where guide and scene show different things: the guide's detail is withheld there.

The degraded guide is compared with what the scene says it should be, its own bands regressed on the
scene's, in windows that slide over the scene. Where the two vary together all is well, whatever their
gain and offset there; a new building, a cloud or its shadow varies on one side only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.fusion.local_regression import Moments
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.subspace import Subspace

# Windows of this width (Gaussian, lr pixels) are compared, and what they say is averaged by the same window. Wider
# ones take more of the unchanged surroundings; narrower ones agree by chance (docs/guides.md).
WIDTH = 1.0
# The guide is used wholly above the larger and not at all below the smaller, both times what is usual in the scene.
LEAST, ENOUGH = 0.6, 0.8
# Regressions on a window keep off a change by so many lr pixels, which the blur has mixed; what the survey fits to the
# whole scene by more, since a few pixels that are left of a change spoil what a clean scene knows to 1e-3.
MIXED, CLEAR = 1, 3
# Changed places are left out and the rest is fitted again, so often.
STEPS = 4
# Leading components of the scene that explain the guide; few, so that they cannot explain anything.
COMPONENTS = 12
# So many times the variance that the two usually have apart means nothing: noise alone then agrees to 0.9.
CALM = 4.0
# What differs by less, in standard deviations of the guide, means nothing however clean a scene is.
FAINT = 0.01
# A median square of normal deviates is this share of their variance.
MEDIAN = 0.455


@dataclass(frozen=True)
class ChangeModel:
    """What the guide should look like, by the scene.

    Attributes
    ----------
    response : array, shape (guide band, band)
        Takes the scene's bands to the degraded guide's, in standard deviations of the latter.
    offset : array, shape (guide band,)
    scale : array, shape (guide band,)
        Standard deviation of the degraded guide.
    floor : array, shape (guide band,)
        Variance that the two usually have apart, in units of `scale` squared.
    typical_agreement : float
        How well the two usually agree, 0..1: the upper quartile, for up to half of a scene may have changed.
    """

    response: NDArray[np.float32]
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]
    floor: NDArray[np.float32]
    typical_agreement: float

    def guide_use(self, cube: torch.Tensor, seen: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        """Return how far the guide is to be used, (y, x), 0..1.

        Parameters
        ----------
        cube : Tensor, shape (band, y, x)
            The scene, holes filled.
        seen : Tensor, shape (guide band, y, x)
            The degraded guide, holes filled.
        weight : Tensor, shape (y, x), or None
            How valid a pixel is, 0..1; None where all are.
        """
        response, offset, scale, floor = (
            torch.as_tensor(v, dtype=torch.float64, device=cube.device)
            for v in (self.response, self.offset, self.scale, self.floor)
        )
        expected = torch.einsum("gb,byx->gyx", response, cube.double()) + offset[:, None, None]
        alike = agreement(seen.double() / scale[:, None, None], expected, floor, weight) / self.typical_agreement
        return ((alike - LEAST) / (ENOUGH - LEAST)).clamp(0, 1)


def agreement(
    seen: torch.Tensor, expected: torch.Tensor, floor: torch.Tensor, weight: torch.Tensor | None
) -> torch.Tensor:
    """Return how far two images vary together around every pixel, (y, x), -1..1.

    ``sum(cov + f) / sqrt(sum(var + f) sum(var' + f))`` over bands, averaged: 1 where neither varies
    beyond the floor f. That every window counts the same keeps an edge from speaking for the flat
    ground beside it.

    Parameters
    ----------
    seen, expected : Tensor, shape (guide band, y, x)
        In the same units.
    floor : Tensor, shape (guide band,)
        The variance of a difference that means nothing.
    weight : Tensor, shape (y, x), or None
    """
    window = Moments.of(seen[:1], WIDTH, weight)
    a, b = (window.average(v) for v in (seen, expected))
    pairs = ((seen, a, expected, b), (seen, a, seen, a), (expected, b, expected, b))
    both = [(window.average(x * y) - m * n) + floor[:, None, None] for x, m, y, n in pairs]
    together, one, other = (v.sum(0) for v in both)
    return window.average(together / (one.clamp_min(1e-30) * other.clamp_min(1e-30)).sqrt())


def withhold_changes(
    known: ChangeModel, cube: torch.Tensor, ready: PreparedGuide, operator: Operator
) -> tuple[PreparedGuide, torch.Tensor]:
    """Return a guide that is not used where guide and scene show different things, and how far it is, (y, x), 0..1.

    Parameters
    ----------
    known : ChangeModel
    cube : Tensor, shape (band, y, x)
        The scene, holes filled.
    ready : PreparedGuide
    operator : Operator
        The window's degradation.
    """
    kept = known.guide_use(cube, operator.degrade(ready.values), ready.weight).to(cube.dtype)
    if bool((kept == 1).all()):
        return ready, kept
    # Windows that see a change reach beyond it, so nothing more is taken off.
    size = ready.values.shape[-2:]
    blend = torch.nn.functional.interpolate(kept[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    used = replace(
        ready,
        weight=_inner(kept, MIXED) if ready.weight is None else _inner(kept, MIXED) * ready.weight,
        blend=blend if ready.blend is None else torch.minimum(blend, ready.blend),
    )
    return used, kept


def _inner(kept: torch.Tensor, less: int) -> torch.Tensor:
    """Return what regressions may use: some lr pixels less on every side."""
    return -torch.nn.functional.max_pool2d(-kept[None, None], 2 * less + 1, 1, less)[0, 0]


def fit_change_model(blocks: Sequence[Block], psf: Psf, space: Subspace) -> tuple[ChangeModel | None, list[Block]]:
    """Learn from a sample how the guide should look; return that, and the sample without changed places.

    Parameters
    ----------
    blocks : sequence of Block
    psf : Psf
        Blur of the scene against the guide.
    space : Subspace
        Its leading components stand for the scene.

    Returns
    -------
    ChangeModel or None
        None of a sample too small to say so.
    list of Block
        Of weight 0 where the guide is not to be used.
    """
    sights = [_Sight(b.cube, operator(psf, b.shape).degrade(b.guide), b.weight) for b in blocks]
    kept, found = [s.weight for s in sights], None
    for _ in range(STEPS):
        found = _fitted(sights, kept, space)
        if found is None:
            return None, list(blocks)
        kept = [s.weight * _inner(found.guide_use(s.cube, s.seen, s.weight), CLEAR).to(s.weight) for s in sights]
    return found, [replace(b, weight=w) for b, w in zip(blocks, kept, strict=True)]


@dataclass(frozen=True)
class _Sight:
    """A block of the sample on the lr grid: scene, degraded guide, and weight."""

    cube: torch.Tensor
    seen: torch.Tensor
    weight: torch.Tensor


def _fitted(sights: Sequence[_Sight], kept: Sequence[torch.Tensor], space: Subspace) -> ChangeModel | None:
    project = space.project[:COMPONENTS].astype(np.float64)
    cubes, seen = (
        np.concatenate([getattr(s, n).flatten(1).double().numpy() for s in sights], 1) for n in ("cube", "seen")
    )
    w = np.concatenate([k.flatten().double().numpy() for k in kept])
    if (w > 0).sum() < 2 * COMPONENTS:
        return None
    mean = (seen * w).sum(1) / w.sum()
    scale = np.sqrt(((seen - mean[:, None]) ** 2 * w).sum(1) / w.sum())
    # A constant guide band says nothing; any unit will do for it.
    scale = np.where(scale > 1e-6 * np.abs(mean).clip(1e-12), scale, 1.0)
    design = np.vstack([project @ (cubes - space.mean[:, None]), np.ones_like(w)])
    root = np.sqrt(w)
    slope = np.linalg.lstsq((design * root).T, (seen / scale[:, None] * root).T, rcond=1e-9)[0].T
    response = slope[:, :-1] @ project
    offset = slope[:, -1] - response @ space.mean
    said = (np.asarray(v, np.float32) for v in (response, offset, scale, np.zeros(len(scale))))
    known = ChangeModel(next(said), next(said), next(said), next(said), 1.0)
    known = replace(known, floor=_floor(known, sights, kept))
    return replace(known, typical_agreement=_usual(known, sights))


def _floor(known: ChangeModel, sights: Sequence[_Sight], kept: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    """Return the variance that guide and scene have apart in most places."""
    apart = []
    for sight, there in zip(sights, kept, strict=True):
        seen, expected = _pair(known, sight)
        left = seen - expected
        rough = left - Moments.of(left[:1], WIDTH, there).average(left)
        apart.append((rough**2)[:, there > 0])
    usual = CALM * torch.cat(apart, 1).median(1).values.numpy() / MEDIAN
    return np.maximum(usual, FAINT**2).astype(np.float32)


def _usual(known: ChangeModel, sights: Sequence[_Sight]) -> float:
    """Return how well guide and scene agree in most places."""
    floor = torch.from_numpy(known.floor).double()
    alike = torch.cat([agreement(*_pair(known, s), floor, s.weight)[s.weight > 0] for s in sights])
    return float(alike.quantile(0.75))


def _pair(known: ChangeModel, sight: _Sight) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the degraded guide and what it should be, in its standard deviations."""
    response, offset, scale = (torch.from_numpy(v).double() for v in (known.response, known.offset, known.scale))
    expected = torch.einsum("gb,byx->gyx", response, sight.cube.double()) + offset[:, None, None]
    return sight.seen.double() / scale[:, None, None], expected
