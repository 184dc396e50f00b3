"""The limits of a comparison: what the guide can give, what the scene's noise allows, and a sentence on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dualsr_geo.engine.options import Options
from dualsr_geo.errors import DualSRError
from dualsr_geo.evaluation.guide_bound import GuideBound, guide_bound, noise_ceiling_db
from dualsr_geo.evaluation.wald_protocol import ModelResult, WaldTrial


@dataclass(frozen=True)
class Limits:
    """What a product of a trial can reach.

    Attributes
    ----------
    guide : GuideBound or None
        What the guide can give; None without a guide.
    noise_ceiling_psnr_db : float or None
        PSNR of an estimate that lacks the scene's noise only; None where no noise is found.
    sentences : tuple of str
        For a reader of the scores.
    """

    guide: GuideBound | None = None
    noise_ceiling_psnr_db: float | None = None
    sentences: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the limits as JSON."""
        ceiling = self.noise_ceiling_psnr_db
        return {
            "sentences": list(self.sentences),
            "noise_ceiling_psnr_db": None if ceiling is None else round(ceiling, 3),
            "guide": None if self.guide is None else self.guide.to_json(),
        }

    def share_of(self, result: ModelResult) -> dict[str, float | None]:
        """Return the key ``"share_of_guide"`` of a model with scores and a guide, else nothing."""
        if result.scores is None or self.guide is None:
            return {}
        share = self.guide.share(result.scores.psnr_db)
        return {"share_of_guide": None if share is None else round(share, 4)}


def measure_limits(trial: WaldTrial, results: Sequence[ModelResult], options: Options) -> Limits:
    """Return the limits of a trial, and what the best of its products reaches of them.

    Parameters
    ----------
    trial : WaldTrial
    results : sequence of ModelResult
        Of the models that are compared.
    options : Options
        Of the comparison.
    """
    scored = [(r.model, r.scores) for r in results if r.scores is not None]
    if not scored:
        return Limits()
    best, scores = max(scored, key=lambda each: each[1].psnr_db)
    ceiling = noise_ceiling_db(trial.reference, scores.peak)
    noise = () if ceiling is None else (_describe_ceiling(ceiling),)
    try:
        bound = guide_bound(trial, options, scores.peak)
    except DualSRError as error:
        # A comparison of models that need less than a survey does is still made.
        return Limits(None, ceiling, (f"What the guide can give is not known: {error}", *noise))
    if bound is None:
        return Limits(None, ceiling, noise)
    return Limits(bound, ceiling, (_describe_bound(bound, best, scores.psnr_db), *noise))


def _describe_bound(bound: GuideBound, model: str, psnr_db: float) -> str:
    share = bound.share(psnr_db)
    ends = (
        f"interpolation has {bound.interpolation_psnr_db:.1f} dB, and the best local linear estimate from this guide, "
        f"fitted to the scene itself, has {bound.guide_psnr_db:.1f} dB"
    )
    if share is None:
        return f"This guide can give next to nothing: {ends}."
    if share > 1:
        return f"{model} exceeds what local linear estimates from this guide can give: {psnr_db:.1f} dB, where {ends}."
    return f"{model} reaches {100 * share:.0f} % of what this guide can give: {psnr_db:.1f} dB, where {ends}."


def _describe_ceiling(ceiling_db: float) -> str:
    return f"The scene's own noise, which no product can predict, limits the PSNR to about {ceiling_db:.1f} dB."
