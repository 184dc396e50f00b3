"""Inspect how a guide fits a scene, by the survey of `upscale`, without making a product."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dualsr_geo.argument_types import checked, only_guide, path, raster_or_bands, rasters
from dualsr_geo.degradation.operators import operator
from dualsr_geo.engine.option_keywords import OptionKeywords, with_option_keywords
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.engine.plan import RunPlan, plan_run
from dualsr_geo.engine.preparation import Raster, SceneInput, name_of, open_inputs
from dualsr_geo.engine.scene_survey import sample_scene, survey_sample
from dualsr_geo.errors import OptionError
from dualsr_geo.evaluation.guide_plot import plot_guide
from dualsr_geo.evaluation.plot_file import require_plot, write_plot
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.prepared_guide import MIN_GUIDED_SHARE, prepare_guide
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.raster import grid
from dualsr_geo.raster.repeated_pixels import repetition
from dualsr_geo.raster.scene import Scene
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.shift import move_guide
from dualsr_geo.registration.shift_description import describe_shift
from dualsr_geo.report.results import GuideCheck
from dualsr_geo.report.summary import share
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.threads import one_thread

# Advice is given on a guide that explains a smaller share of the bands' variance,
MIN_EXPLAINED = 0.3
# or of which a larger share shows something else.
MAX_CHANGED = 0.02


@dataclass(frozen=True)
class GuideInspection:
    """The survey of a scene with its guide, and the guide in the sample of the survey.

    Attributes
    ----------
    ratio : int
    survey : Survey
    guides : tuple of array, shape (guide band, ratio * y, ratio * x)
        The guide in each window of the sample, its displacement undone; NaN where it does not reach.
    use : tuple of array, shape (y, x)
        How far the guide is used in each window, 0..1; NaN where it does not reach.
    repetition : (float, float)
        Factors by which pixels of the guide are repeated (y, x); 1 if they are not.
    """

    ratio: int
    survey: Survey
    guides: tuple[NDArray[np.float32], ...]
    use: tuple[NDArray[np.float32], ...]
    repetition: tuple[float, float]


@with_option_keywords
@reports_defects
@checked(scene=raster_or_bands, rgb=rasters, pan=rasters, guide=rasters, plot=path)
def check_guide(
    scene: SceneInput,
    *,
    rgb: Raster | Sequence[Raster] | None = None,
    pan: Raster | Sequence[Raster] | None = None,
    guide: Raster | Sequence[Raster] | None = None,
    plot: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    **keywords: Unpack[OptionKeywords],
) -> dict[str, Any]:
    """Return how a guide fits a scene, and what to do where it does not.

    Parameters
    ----------
    scene : path, DataArray or Dataset, or a list of paths
    rgb, pan, guide : path, DataArray or Dataset, or several
        The guide, by any of these names; by default the sharper bands of the product, if it has any.
    plot : path, optional
        An image to write (.png): the guide, its local displacement as arrows, and red where it shows
        something else than the scene.
    options : Options, optional
        Options to start from; the keywords replace single ones. `model` and `coregister` have no effect.
    **keywords
        Fields of `Options`.

    Returns
    -------
    dict
        guides (gsd, unit, bands and GSD ratio of each), scale, coverage, shift (in words), shift_px, shift_error_px,
        field, sigma_px, sigma_error_px, relevance, changed, repeated, notes, advice.

    Raises
    ------
    DualSRError
        If there is no guide, if it does not overlap the scene or has no common CRS with it, and for all other
        inputs and options that `upscale` refuses.
    """
    options = replace(changed(options, keywords, check_guide), model="regression", coregister="local")
    images = only_guide(rgb=rgb, pan=pan, guide=guide)
    given = [
        os.fspath(where)
        for where in (*(scene if isinstance(scene, list | tuple) else [scene]), *(images or ()))
        if isinstance(where, str | os.PathLike)
    ]
    if plot is not None:
        require_plot(plot, given)
    delivery, guides = open_inputs(scene, images, options)
    if not guides:
        raise OptionError(f"{name_of(scene)} has no guide to be checked. Give one as --rgb.")
    if plot is not None:
        require_plot(plot, given, [delivery.scene, *guides])
    plan = plan_run(delivery.scene, guides, options)
    inspection = _inspect(plan)
    facts = {"guides": [_guide_facts(g, plan.scene) for g in guides], **_fit_facts(inspection)}
    facts["advice"] = _advice(facts)
    if plot is not None:
        image = plot_guide(plan.scene.shape, plan.ratio, inspection.survey, inspection.guides, inspection.use)
        write_plot(image, plot)
        facts["plot"] = os.fspath(plot)
    return GuideCheck(facts)


def _inspect(plan: RunPlan) -> GuideInspection:
    """Survey the scene, and find out where the guide is used."""
    with one_thread(), threadpool_limits(1, user_api="blas"):
        sample = sample_scene(plan.inputs, plan.scene.shape, plan.survey_options)
        survey = survey_sample(sample, replace(plan.survey_options, detail=False))
        margin = sample_margin(plan.ratio)
        cubes, delivered = zip(*((s.cube, s.guide) for s in sample.windows), strict=True)
        guides = tuple(move_guide(guide, survey.placement.moved_px, margin) for guide in delivered)
        use = tuple(_guide_use(survey, cube, guide) for cube, guide in zip(cubes, guides, strict=True))
        # A guide that is resampled by a field repeats no pixels.
        unmoved = [guide[:, margin:-margin, margin:-margin] for guide in delivered]
        repeated = (1.0, 1.0) if survey.displacement is not None else repetition(unmoved)
        return GuideInspection(plan.ratio, survey, guides, use, repeated)


def _guide_use(survey: Survey, cube: NDArray[np.float32], guide: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far the guide is used in a window, (y, x), 0..1; NaN where it does not reach."""
    op = operator(survey.psf, (cube.shape[1], cube.shape[2]))
    valid = torch.from_numpy(np.isfinite(guide).all(0).astype(np.float32))
    guided = op.degrade(valid).numpy() > MIN_GUIDED_SHARE
    use = np.ones(guided.shape, np.float32)
    if survey.changes is not None and survey.guide is not None:
        filled, _ = fill_holes(torch.from_numpy(cube[list(survey.used)]), torch.from_numpy(survey.space.mean))
        prepared = prepare_guide(torch.from_numpy(guide), torch.from_numpy(survey.guide.mean), op)
        if prepared is not None:
            use = survey.changes.guide_use(filled, op.degrade(prepared.values), prepared.weight).float().numpy()
    return np.where(guided, use, np.float32(np.nan))


def _guide_facts(guide: Scene, scene: Scene) -> dict[str, Any]:
    """Return pixel size and bands of a guide as delivered."""
    gsd = grid.gsd(guide.geobox, like=scene.geobox)
    return {
        "name": guide.name,
        "gsd": gsd,
        "unit": grid.unit(scene.geobox),
        "bands": guide.count,
        "gsd_ratio": round(grid.gsd(scene.geobox) / gsd, 4),
    }


def _fit_facts(inspection: GuideInspection) -> dict[str, Any]:
    """Return how the guide fits the scene."""
    survey, use = inspection.survey, np.concatenate([u.ravel() for u in inspection.use])
    guided = np.isfinite(use)
    valid = np.concatenate([np.isfinite(guide).all(0).ravel() for guide in inspection.guides])
    field = None if survey.displacement is None else survey.displacement.summary()
    relevance = None if survey.guide is None else survey.guide.relevance
    shift = np.asarray(survey.placement.shift_px) + (0.0 if field is None else np.asarray(field["mean_px"]))
    return {
        "scale": inspection.ratio,
        "coverage": round(float(valid.mean()), 4),
        "shift": describe_shift((float(shift[0]), float(shift[1])), survey.placement.shift_error_px),
        "shift_px": [round(float(v), 3) for v in shift],
        "shift_error_px": survey.placement.shift_error_px and [round(v, 3) for v in survey.placement.shift_error_px],
        "field": field,
        "sigma_px": [round(v, 3) for v in survey.psf.sigma_px],
        "sigma_error_px": survey.placement.sigma_error_px and [round(v, 3) for v in survey.placement.sigma_error_px],
        "relevance": None if relevance is None else [round(float(v), 4) for v in relevance],
        "changed": round(float((1 - use[guided]).mean()), 4) if guided.any() else None,
        "repeated": [round(float(v), 2) for v in inspection.repetition],
        "notes": list(survey.notes),
    }


def _advice(facts: dict[str, Any]) -> list[str]:
    """Return what to do, a sentence each; none if the guide fits."""
    advice = []
    if (field := facts["field"]) is not None:
        advice.append(
            f"The guide is displaced unevenly, by up to {field['largest_px']:.2f} px: give upscale --coregister local."
        )
    explained = facts["relevance"] and sum(facts["relevance"]) / len(facts["relevance"])
    if explained is not None and explained < MIN_EXPLAINED:
        advice.append(
            f"The guide explains only {explained:.0%} of the bands' variance, so it lends little detail: check that it "
            "is of this place and season."
        )
    if (facts["changed"] or 0) > MAX_CHANGED:
        advice.append(
            f"The guide shows something else in {facts['changed']:.1%} of the area that it covers: its detail is left "
            "out there (--changes auto)."
        )
    if facts["coverage"] < 1:
        advice.append(f"The guide covers {share(facts['coverage'])} of the scene: the rest is sharpened without it.")
    return advice
