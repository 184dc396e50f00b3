"""The candidate regressions of the scene's spectral components on the guide, and their weighted mean.

A candidate models how a component follows the guide: by one regression for the whole scene, by
regressions that change from place to place or with the guide's colour, or not at all. Its fit on the lr
grid is linear in two things: planes of coefficients, which are upsampled and multiplied by the guide, and
features of single guide pixels. So the weighted mean of all candidates is evaluated at once and costs
little more than one of them.

To add a candidate, write a frozen class with the method of `Candidate` and put an instance into
`CANDIDATES`, before the last entry. The survey estimates its weight on the scene's Wald pairs. The shipped
guided network was not trained with it and corrects the mixture of the others
(`dualsr_geo.models.guided_correction`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from dualsr_geo.fusion.regression_inputs import RegressionInputs


@dataclass(frozen=True)
class FittedCandidate:
    """A candidate fitted to a window: ``features . P + sum_i up(slopes_i) * guide_i + up(intercept)``.

    ``P`` are the guide's pixel features.

    Attributes
    ----------
    features : Tensor, shape (component, feature)
    slopes : Tensor, shape (guide band, component, y, x), or None
    intercept : Tensor, shape (component, y, x), or None
    """

    features: torch.Tensor
    slopes: torch.Tensor | None = None
    intercept: torch.Tensor | None = None


class Candidate(Protocol):
    """A way to estimate the scene's components from the guide."""

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window.

        Its value at a pixel may depend on pixels within the halo only, so that a tile equals the whole scene.
        """
        ...


@dataclass(frozen=True)
class Line:
    """One regression for the whole scene."""

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        return FittedCandidate(inputs.scene_wide())


@dataclass(frozen=True)
class HighPassLine:
    """One regression for the whole scene, of the detail of the lr scene on that of the degraded guide.

    Slopes of low frequencies differ from those of detail where the guide's bands see other things than the scene's. A
    ridge damps weak directions of the guide.
    """

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        return FittedCandidate(inputs.line("high-pass"))


@dataclass(frozen=True)
class PrincipalLine:
    """One regression for the whole scene, on the first principal direction of the guide only."""

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        return FittedCandidate(inputs.line("principal"))


@dataclass(frozen=True)
class PrincipalLocal:
    """`PrincipalLine`, and its residual regressed on the same direction in a Gaussian window.

    The attributes are those of `Local`; the ridge is in units of the variance of the direction.
    """

    width: float
    ridge: float

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        features = inputs.line("principal")
        moments = inputs.moments(self.width, principal=True)
        slopes, intercept = moments.regress(inputs.residual(features), self.ridge)
        return FittedCandidate(features, inputs.direction[:, None, None, None] * slopes, intercept)


@dataclass(frozen=True)
class Local:
    """The regression for the whole scene, and its residual regressed in a Gaussian window.

    Attributes
    ----------
    width : float
        Of the window, lr pixels.
    ridge : float
        In units of the guide's variance.
    """

    width: float
    ridge: float

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        return _with_local_residual(inputs, inputs.scene_wide(), self.width, self.ridge)


@dataclass(frozen=True)
class Clustered:
    """Regressions that change with the guide's colour.

    Attributes
    ----------
    clusters : int
        One of `scene_regression.CLUSTER_COUNTS`.
    """

    clusters: int

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        return FittedCandidate(inputs.clustered(self.clusters))


@dataclass(frozen=True)
class ClusteredLocal:
    """Regressions that change with the guide's colour, and their residual regressed in a Gaussian window.

    The attributes are those of `Clustered` and `Local`.
    """

    clusters: int
    width: float
    ridge: float

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        return _with_local_residual(inputs, inputs.clustered(self.clusters), self.width, self.ridge)


@dataclass(frozen=True)
class LogarithmLine:
    """`HighPassLine` on the guide's bands and their logarithms, for scenes of few bands."""

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        return FittedCandidate(inputs.line("logarithms"))


@dataclass(frozen=True)
class Unguided:
    """The component's mean; data consistency then makes it area-to-point kriging."""

    def fit(self, inputs: RegressionInputs) -> FittedCandidate:
        """Return the candidate fitted to a window."""
        return FittedCandidate(torch.zeros_like(inputs.scene_wide()))


def _with_local_residual(
    inputs: RegressionInputs, features: torch.Tensor, width: float, ridge: float
) -> FittedCandidate:
    slopes, intercept = inputs.moments(width).regress(inputs.residual(features), ridge)
    return FittedCandidate(features, slopes, intercept)


# Candidates for guides of several bands: they rely less on the guide's weak directions, and a single band has none.
MULTIBAND: tuple[Candidate, ...] = (HighPassLine(), PrincipalLine(), PrincipalLocal(1.0, 1e-3))
# Candidates for scenes of few bands, whose fit has the guide's logarithms.
OF_FEW_BANDS: tuple[Candidate, ...] = (LogarithmLine(),)
# Those that make one band of the guide.
REDUCED: tuple[Candidate, ...] = MULTIBAND[1:]

# In the order of the columns of weights. The last one reads no guide. Widths and ridges: docs/algorithm.md.
CANDIDATES: tuple[Candidate, ...] = (
    Local(1.0, 1e-3),
    Local(1.5, 3e-2),
    Local(1.5, 0.5),
    Line(),
    Clustered(6),
    ClusteredLocal(8, 1.5, 1e-2),
    *MULTIBAND,
    *OF_FEW_BANDS,
    Unguided(),
)


def usable(guide_bands: int, *, few: bool = False) -> tuple[int, ...]:
    """Return the indices of the candidates for a guide of so many bands.

    Parameters
    ----------
    guide_bands : int
    few : bool
        Whether the scene has few bands, so that its fit has the guide's logarithms.
    """
    unusable = (*(() if guide_bands > 1 else MULTIBAND), *(() if few else OF_FEW_BANDS))
    return tuple(i for i, candidate in enumerate(CANDIDATES) if candidate not in unusable)


@dataclass(frozen=True)
class FittedMixture:
    """The weighted mean of the candidates, fitted on the lr grid and not yet evaluated on the target grid."""

    inputs: RegressionInputs
    mean: FittedCandidate

    def evaluate(self, first: int, last: int) -> torch.Tensor:
        """Return components first..last on the target grid, (component, ratio * y, ratio * x)."""
        return _evaluate(self.inputs, [_some(self.mean, slice(first, last))])[0][0]

    def evaluate_degraded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all components on the target grid, and their degradation to the lr grid."""
        estimate, degraded = _evaluate(self.inputs, [self.mean], degrade=True)
        assert degraded is not None
        return estimate[0], degraded[0]


def fit_mixture(inputs: RegressionInputs, weights: torch.Tensor) -> FittedMixture:
    """Fit the candidates that have a weight, and return their weighted mean.

    Parameters
    ----------
    inputs : RegressionInputs
        Of one window.
    weights : Tensor, shape (component, candidate)
        Columns in the order of `CANDIDATES`; each row sums to 1.
    """
    mean: FittedCandidate | None = None
    for candidate, weight in zip(CANDIDATES, weights.T, strict=True):
        if bool((weight != 0).any()):
            mean = _add(mean, candidate.fit(inputs), weight)
    return FittedMixture(inputs, mean or Unguided().fit(inputs))


def evaluate_each(inputs: RegressionInputs, chosen: Sequence[int]) -> torch.Tensor:
    """Return some candidates on the target grid, (candidate, component, ratio * y, ratio * x).

    The guide's features are formed once for all of them.

    Parameters
    ----------
    inputs : RegressionInputs
        Of one window.
    chosen : sequence of int
        Indices in `CANDIDATES`.
    """
    return _evaluate(inputs, [CANDIDATES[index].fit(inputs) for index in chosen])[0]


def _evaluate(
    inputs: RegressionInputs, fitted: Sequence[FittedCandidate], *, degrade: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Evaluate candidates strip by strip, so that features and estimates stay in the cache.

    Returns
    -------
    estimate : Tensor, shape (candidate, component, ratio * y, ratio * x)
    degraded : Tensor, shape (candidate, component, y, x), or None
        None unless `degrade`.
    """
    features, operator = inputs.features, inputs.operator
    coefficients = torch.cat([one.features for one in fitted])
    keys = features.used_by(coefficients)
    coefficients = torch.cat([coefficients[:, features.spans[key]] for key in keys], 1)
    local = [_LocalPart.of(one, inputs) for one in fitted]
    shape = len(fitted), len(coefficients) // len(fitted)
    estimate = coefficients.new_empty(*shape, *inputs.guide.shape[1:])
    blurred = coefficients.new_empty(*shape, inputs.guide.shape[1], operator.blur_x.shape[0]) if degrade else None
    for rows in features.strips(sum(coefficients.shape)):
        values = features.rows(rows, keys)
        strip = (coefficients @ values.flatten(1)).view(*shape, *values.shape[1:])
        for out, part in zip(strip, local, strict=True):
            part.add_to(out, rows)
        estimate[:, :, rows] = strip
        if blurred is not None:
            blurred[:, :, rows] = operator.blur_x.columns(strip)
    return estimate, None if blurred is None else operator.blur_y.rows(blurred)


@dataclass(frozen=True)
class _LocalPart:
    """The part of a candidate that changes from place to place, interpolated along x.

    Attributes
    ----------
    inputs : RegressionInputs
    intercept : Tensor, shape (component, y, X), or None
    slopes : Tensor, shape (guide band, component, y, X), or None
    """

    inputs: RegressionInputs
    intercept: torch.Tensor | None
    slopes: torch.Tensor | None

    @classmethod
    def of(cls, fitted: FittedCandidate, inputs: RegressionInputs) -> _LocalPart:
        """Return the local part of a candidate."""
        along_x = inputs.operator.cubic_x.columns
        intercept, slopes = (None if v is None else along_x(v) for v in (fitted.intercept, fitted.slopes))
        return cls(inputs, intercept, slopes)

    def add_to(self, out: torch.Tensor, rows: slice) -> None:
        """Add some rows to those of an estimate, (component, y, X)."""
        along_y = self.inputs.operator.cubic_y
        if self.intercept is not None:
            out += along_y.some_rows(self.intercept, rows.start, rows.stop)
        if self.slopes is not None:
            for slope, guide in zip(self.slopes, self.inputs.guide, strict=True):
                out.addcmul_(along_y.some_rows(slope, rows.start, rows.stop), guide[rows])


def _some(fitted: FittedCandidate, rows: slice) -> FittedCandidate:
    """Return a candidate of some components."""
    slopes, intercept = fitted.slopes, fitted.intercept
    return FittedCandidate(
        fitted.features[rows],
        None if slopes is None else slopes[:, rows],
        None if intercept is None else intercept[rows],
    )


def _add(total: FittedCandidate | None, fitted: FittedCandidate, weight: torch.Tensor) -> FittedCandidate:
    plane = weight[:, None, None]
    scaled = FittedCandidate(
        fitted.features * weight[:, None],
        None if fitted.slopes is None else fitted.slopes * plane,
        None if fitted.intercept is None else fitted.intercept * plane,
    )
    if total is None:
        return scaled
    return FittedCandidate(
        total.features + scaled.features,
        _sum(total.slopes, scaled.slopes),
        _sum(total.intercept, scaled.intercept),
    )


def _sum(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    return b if a is None else a if b is None else a + b
