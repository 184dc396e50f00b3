"""Detection of changes between scene and guide; the guide is not used where the two show different things.

The degraded guide is compared with its prediction, the regression of its bands on the scene's, in windows that
slide over the scene. Where the two vary together, the guide is used, whatever their gain and offset there. A new
building, a cloud or its shadow varies in one image only.

One or two bands cannot predict a guide of more: of a temperature, no regression yields three colours. There the scene's
bands are compared with their regression on the degraded guide's bands and their logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, components, stack
from dualsr_geo.fusion.few_bands.logarithms import lowest_values, predicts_few, with_logarithms
from dualsr_geo.fusion.local_regression import Moments
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.subspace import Subspace

# Width of the Gaussian window in which the two images are compared, and in which their agreement is averaged, lr
# pixels. Wider windows take in more of the unchanged surroundings; narrower ones agree by chance.
WINDOW_WIDTH = 1.0
# The guide is not used below the first agreement and used fully above the second, as shares of the scene's typical one.
UNUSED_AGREEMENT, USED_AGREEMENT = 0.6, 0.8
# Margin around a change that regressions in a window leave out, because the blur mixes it, and the margin of what the
# survey fits to the whole scene, where a few changed pixels bias what a clean scene determines to 1e-3; lr pixels.
WINDOW_MARGIN, SURVEY_MARGIN = 1, 3
# How often changed pixels are left out and the model is fitted again.
STEPS = 4
# Leading components of the scene that predict the guide; with more of them a change is predicted as well.
COMPONENT_COUNT = 12
# The floor of variances is so many times the typical variance of the difference; pure noise then agrees to 0.9.
FLOOR_FACTOR = 4.0
# The floor is at least this many standard deviations of the guide, however clean the scene.
MIN_FLOOR_STD = 0.01
# The same of a scene of few bands, in its own standard deviations: a temperature varies by so much where no optical band does.
MIN_FLOOR_STD_OF_FEW = 0.15
# Median of the square of a normal deviate, in units of its variance.
MEDIAN_SQUARE = 0.455


@dataclass(frozen=True)
class ChangeModel:
    """The prediction of one image, the target, from the other, the source, and how well the two agree; part of the survey.

    Attributes
    ----------
    response : array, shape (target band, source band)
        From the bands of the source to those of the target, in standard deviations of the latter.
    offset : array, shape (target band,)
    scale : array, shape (target band,)
        Standard deviation of the target, physical units.
    floor : array, shape (target band,)
        Variance of a difference that is no change, in units of `scale` squared.
    typical_agreement : float
        Upper quartile of the agreement, 0..1: up to half of a scene may have changed.
    lowest : array, shape (guide band,), or None
        None where the scene is the source and the degraded guide the target. Of scenes of few bands, which are predicted
        from the degraded guide's bands and their logarithms, the guide's `lowest_values`.
    """

    response: NDArray[np.float32]
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]
    floor: NDArray[np.float32]
    typical_agreement: float
    lowest: NDArray[np.float32] | None = None

    def guide_use(self, cube: torch.Tensor, guide: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        """Return the weight with which the guide is used at every lr pixel, (y, x), 0..1.

        Parameters
        ----------
        cube : Tensor, shape (band, y, x)
            The scene, holes filled.
        guide : Tensor, shape (guide band, y, x)
            The degraded guide, holes filled.
        weight : Tensor, shape (y, x), or None
            How valid a pixel is, 0..1; None where all are.
        """
        response, offset, scale, floor = (
            torch.as_tensor(v, dtype=torch.float64, device=cube.device)
            for v in (self.response, self.offset, self.scale, self.floor)
        )
        source, target = (cube, guide) if self.lowest is None else (with_logarithms(guide, self.lowest), cube)
        expected = torch.einsum("gb,byx->gyx", response, source.double()) + offset[:, None, None]
        return _use(agreement(target.double() / scale[:, None, None], expected, floor, weight) / self.typical_agreement)


def _use(relative: torch.Tensor) -> torch.Tensor:
    """Return the weight of the guide, 0..1, for an agreement relative to the typical one."""
    return ((relative - UNUSED_AGREEMENT) / (USED_AGREEMENT - UNUSED_AGREEMENT)).clamp(0, 1)


def agreement(
    target: torch.Tensor, expected: torch.Tensor, floor: torch.Tensor, weight: torch.Tensor | None
) -> torch.Tensor:
    """Return how far two images vary together around every pixel, (y, x), -1..1.

    ``sum(cov + f) / sqrt(sum(var + f) sum(var' + f))`` with sums over bands, averaged in the window: 1 where
    neither image varies beyond the floor f. All windows count the same in that average, so that an edge does
    not outweigh the flat area next to it.

    Parameters
    ----------
    target, expected : Tensor, shape (target band, y, x)
        In the same units.
    floor : Tensor, shape (target band,)
        Variance of a difference that is no change.
    weight : Tensor, shape (y, x), or None
        How valid a pixel is, 0..1; None where all are.
    """
    window = Moments.of(target[:1], WINDOW_WIDTH, weight)
    a, b = (window.average(v) for v in (target, expected))
    pairs = ((target, a, expected, b), (target, a, target, a), (expected, b, expected, b))
    covariances = [(window.average(x * y) - m * n) + floor[:, None, None] for x, m, y, n in pairs]
    between, of_target, of_expected = (v.sum(0) for v in covariances)
    return window.average(between / (of_target.clamp_min(1e-30) * of_expected.clamp_min(1e-30)).sqrt())


def withhold_changes(
    model: ChangeModel, cube: torch.Tensor, guide: PreparedGuide, operator: Operator
) -> tuple[PreparedGuide, torch.Tensor]:
    """Return a guide that is not used where it differs from the scene, and its use at every lr pixel, (y, x), 0..1.

    Parameters
    ----------
    model : ChangeModel
    cube : Tensor, shape (band, y, x)
        The scene, holes filled.
    guide : PreparedGuide
    operator : Operator
        The window's degradation.
    """
    use = model.guide_use(cube, operator.degrade(guide.values), guide.weight).to(cube.dtype)
    if bool((use == 1).all()):
        return guide, use
    # Windows that overlap a change reach beyond it, so the blend needs no margin.
    size = guide.values.shape[-2:]
    blend = torch.nn.functional.interpolate(use[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    unchanged = _eroded(use, WINDOW_MARGIN)
    used = replace(
        guide,
        weight=unchanged if guide.weight is None else unchanged * guide.weight,
        blend=blend if guide.blend is None else torch.minimum(blend, guide.blend),
    )
    return used, use


def _eroded(use: torch.Tensor, margin: int) -> torch.Tensor:
    """Return the least use within so many lr pixels of every pixel."""
    return -torch.nn.functional.max_pool2d(-use[None, None], 2 * margin + 1, 1, margin)[0, 0]


def fit_change_model(blocks: Sequence[Block], psf: Psf, space: Subspace) -> tuple[ChangeModel | None, list[Block]]:
    """Fit the change model to a sample, leaving changed pixels out.

    Parameters
    ----------
    blocks : sequence of Block
    psf : Psf
        Blur of the scene against the guide.
    space : Subspace
        Its leading components predict the guide; not used of a scene of few bands.

    Returns
    -------
    ChangeModel or None
        None of a sample that is too small.
    list of Block
        The sample, with a weight of 0 where the guide is not used.
    """
    degraded = [operator(psf, b.shape).degrade(b.guide) for b in blocks]
    lowest = None
    if blocks and predicts_few(len(blocks[0].cube), len(blocks[0].guide)):
        lowest = lowest_values(stack(degraded))
        sources = [with_logarithms(g, lowest) for g in degraded]
        leading = _standardised_directions(stack(sources))
        pairs = [
            _Pair(components(leading, s).double(), b.cube.double(), b.weight)
            for b, s in zip(blocks, sources, strict=True)
        ]
    else:
        leading = space.leading(COMPONENT_COUNT)
        # The prediction reads a few components of the scene: in 64 bits all bands would cost a third of the survey of 128.
        pairs = [
            _Pair(components(leading, b.cube).double(), g.double(), b.weight)
            for b, g in zip(blocks, degraded, strict=True)
        ]
    least = MIN_FLOOR_STD if lowest is None else MIN_FLOOR_STD_OF_FEW
    weights, model = [p.weight for p in pairs], None
    for _ in range(STEPS):
        model = _fitted(pairs, weights, least)
        if model is None:
            return None, list(blocks)
        before, weights = weights, [p.weight * _eroded(model.use(p), SURVEY_MARGIN).to(p.weight) for p in pairs]
        if all(map(torch.equal, before, weights)):
            # Of the same pixels the next fit would be the same.
            break
    assert model is not None
    return replace(model.on_bands(leading), lowest=lowest), [
        replace(b, weight=w) for b, w in zip(blocks, weights, strict=True)
    ]


def _standardised_directions(source: NDArray[np.float32]) -> Subspace:
    """Return the leading principal directions of a standardised source (source band, pixel)."""
    exact = source.astype(np.float64)
    mean, std = exact.mean(1), exact.std(1)
    std = np.where(std > 1e-6 * np.abs(mean).clip(1e-12), std, 1.0)
    vectors = np.linalg.eigh(np.cov((exact - mean[:, None]) / std[:, None]).reshape(len(std), -1))[1]
    expand = vectors[:, ::-1][:, :COMPONENT_COUNT] * std[:, None]
    return Subspace(mean.astype(np.float32), expand.astype(np.float32), std.astype(np.float32), 0.0)


@dataclass(frozen=True)
class _Pair:
    """A block of the sample on the lr grid, in 64 bits.

    Attributes
    ----------
    components : Tensor, shape (component, y, x)
        Leading components of the source.
    target : Tensor, shape (target band, y, x)
    weight : Tensor, shape (y, x)
    """

    components: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True)
class _Prediction:
    """A change model on the source's leading components.

    Attributes
    ----------
    slope : array, shape (target band, component)
    offset, scale, floor, typical_agreement
        As in `ChangeModel`.
    """

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    floor: NDArray[np.float32]
    typical_agreement: float = 1.0

    def compared(self, pair: _Pair) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the target and its prediction, in standard deviations of the target."""
        slope, offset, scale = (torch.from_numpy(v) for v in (self.slope, self.offset, self.scale))
        expected = (slope @ pair.components.flatten(1)).view_as(pair.target) + offset[:, None, None]
        return pair.target / scale[:, None, None], expected

    def agreement(self, pair: _Pair) -> torch.Tensor:
        """Return how far guide and scene vary together, (y, x); see `agreement`."""
        return agreement(*self.compared(pair), torch.from_numpy(self.floor).double(), pair.weight)

    def use(self, pair: _Pair) -> torch.Tensor:
        """Return the weight with which the guide is used, (y, x), 0..1."""
        return _use(self.agreement(pair) / self.typical_agreement)

    def on_bands(self, space: Subspace) -> ChangeModel:
        """Return the model on the bands of a source with these leading components."""
        response = self.slope @ space.project.astype(np.float64)
        offset = self.offset - response @ space.mean
        return ChangeModel(
            response.astype(np.float32),
            offset.astype(np.float32),
            self.scale.astype(np.float32),
            self.floor,
            self.typical_agreement,
        )


def _fitted(pairs: Sequence[_Pair], weights: Sequence[torch.Tensor], least: float) -> _Prediction | None:
    """Return the prediction at the pixels that count; None of too few. `least` is that of `_floor`."""
    z, target = (np.concatenate([getattr(p, n).flatten(1).numpy() for p in pairs], 1) for n in ("components", "target"))
    w = np.concatenate([v.flatten().double().numpy() for v in weights])
    if (w > 0).sum() < 2 * COMPONENT_COUNT:
        return None
    mean = (target * w).sum(1) / w.sum()
    scale = np.sqrt(((target - mean[:, None]) ** 2 * w).sum(1) / w.sum())
    # A constant band shows no change, in whatever unit.
    scale = np.where(scale > 1e-6 * np.abs(mean).clip(1e-12), scale, 1.0)
    design = np.vstack([z, np.ones_like(w)])
    root = np.sqrt(w)
    slope = np.linalg.lstsq((design * root).T, (target / scale[:, None] * root).T, rcond=1e-9)[0].T
    fit = _Prediction(np.ascontiguousarray(slope[:, :-1]), slope[:, -1].copy(), scale, np.zeros(len(scale), np.float32))
    fit = replace(fit, floor=_floor(fit, pairs, weights, least))
    return replace(fit, typical_agreement=_typical_agreement(fit, pairs))


def _floor(
    fit: _Prediction, pairs: Sequence[_Pair], weights: Sequence[torch.Tensor], least: float
) -> NDArray[np.float32]:
    """Return the variance of the difference between target and prediction that most pixels have, at least `least` squared."""
    squares = []
    for pair, weight in zip(pairs, weights, strict=True):
        target, expected = fit.compared(pair)
        difference = target - expected
        rough = difference - Moments.of(difference[:1], WINDOW_WIDTH, weight).average(difference)
        squares.append((rough**2)[:, weight > 0])
    typical = FLOOR_FACTOR * torch.cat(squares, 1).median(1).values.numpy() / MEDIAN_SQUARE
    return np.maximum(typical, least**2).astype(np.float32)


def _typical_agreement(fit: _Prediction, pairs: Sequence[_Pair]) -> float:
    values = torch.cat([fit.agreement(p)[p.weight > 0] for p in pairs])
    return float(values.quantile(0.75))
