"""Open a scene for windows of its product, after its survey is checked against it."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dualsr_geo.engine.on_the_fly.content import guide_digest, scene_digest
from dualsr_geo.engine.on_the_fly.stored_survey import AGAIN, ImageRecord, StoredSurvey
from dualsr_geo.engine.on_the_fly.survey import by_tiles, grid_record, guide_name, identity_of, planned, restored
from dualsr_geo.engine.on_the_fly.window_sharpener import WindowSharpener
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.preparation import Raster, as_list, name_of
from dualsr_geo.engine.records.recorded_options import read_options
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.errors import InputError, excerpt
from dualsr_geo.io.guides import Guide
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.storage.urls import shown
from dualsr_geo.models.definition import Model, is_refined
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.report.summary import counted
from dualsr_geo.serialization import plain_values
from dualsr_geo.surveying.survey import Survey


def open_windows(
    survey: StoredSurvey,
    scene: Raster,
    guides: Raster | Sequence[Raster] | None = None,
    *,
    device: str = "auto",
    trust_references: bool = False,
    **files: Any,
) -> WindowSharpener:
    """Open a scene and its guide, and check that a survey is of them.

    Parameters
    ----------
    survey : StoredSurvey
    scene, guides
        As for `dualsr_geo.survey`.
    device, trust_references
        As in `Options`.
    **files
        The options that named files when the survey was made.

    Raises
    ------
    InputError
        If the survey is of another scene, guide or options, or damaged.
    """
    options = options_of(survey, files, device=device, trust_references=trust_references)
    plan = planned(scene, guides, options)
    if isinstance(plan.scene.source, ArraySource):
        # Whether an array has missing values, which decides this, is found by reading all of the array.
        plan = replace(plan, packing=replace(plan.packing, nodata=survey.packing.nodata))
    _require_same(survey, plan, name_of(scene), [name_of(g) for g in as_list(guides)])
    context = context_of(survey, plan.context_for, plan.model, plan.fine)
    return WindowSharpener(plan.scene, plan.target, plan.inputs, context, by_tiles(plan))


def options_of(survey: StoredSurvey, files: Mapping[str, Any], **execution: Any) -> Options:
    """Return the options of a survey, with those that named files as they are given again, and those of this run.

    Raises
    ------
    InputError
        If they are damaged.
    OptionError
        If a file is not given again.
    """
    try:
        recorded = read_options(survey.options)
    except ValueError as error:
        raise InputError(f"The options of the survey are damaged: {excerpt(str(error))}. {AGAIN}") from error
    # The scale of the survey, so that a missing guide is named, not a missing scale.
    given = {**recorded, **execution, "scale": survey.scale, **restored(survey, files)}
    return replace(Options(), **given)


def context_of(
    survey: StoredSurvey, context_for: Callable[[Survey], TileContext], model: Model, fine: str
) -> TileContext:
    """Return the context of tiles by a stored survey, after a tile is tried.

    Parameters
    ----------
    survey : StoredSurvey
    context_for : callable
        Returns the context for estimates.
    model : Model
        Of the run.
    fine : str
        Its fine stage.

    Raises
    ------
    InputError
        If the survey is damaged.
    """
    try:
        estimates = survey.estimated(model)
        stage = None if survey.fine_stage is None else _fine_stage(survey.fine_stage, model)
    except Exception as error:  # of any type: what is read depends on the file
        raise _damaged(error) from error
    if (stage is not None) != is_refined(model, fine):
        raise _damaged(ValueError(f"the fine stage {fine} is {'missing' if stage is None else 'fitted'}"))
    if estimates.psf.reach_lr > model.halo // 2:
        raise _damaged(ValueError(f"the blur reaches {estimates.psf.reach_lr} pixels of the scene"))
    context = replace(context_for(estimates), fine_stage=stage)
    _require_sound(context)
    return context


def _fine_stage(text: str, model: Model) -> FineStage:
    with tempfile.TemporaryDirectory(prefix="dualsr-survey-") as folder:
        file = Path(folder) / "fine.safetensors"
        file.write_bytes(base64.b64decode(text, validate=True))
        return FineStage.read(file, model)


def _require_same(survey: StoredSurvey, plan: RunPlan, scene: str, guides: Sequence[str]) -> None:
    """Check that a survey is of a plan's scene, guide and options.

    Raises
    ------
    InputError
        If it is not; the message names both.
    """
    if grid_record(plan) != survey.grid or plan.scene.count != survey.scene.bands:
        (rows, columns), ours = survey.grid.shape, plan.scene.shape
        raise InputError(
            f"The survey is of {survey.scene.name} ({counted(survey.scene.bands, 'band')} of {rows} x {columns} pixels), and "
            f"the scene is {shown(scene)} ({counted(plan.scene.count, 'band')} of {ours[0]} x {ours[1]} pixels), on another "
            "grid. Give that scene, or survey this one."
        )
    shape = plan.scene.shape
    _require_image(survey.scene, shown(scene), plan.scene.source, partial(scene_digest, plan.inputs, shape), "scene")
    if survey.guide is not None and plan.guide is not None:
        digest = partial(guide_digest, plan.inputs, shape, plan.ratio)
        _require_image(survey.guide, guide_name(guides), plan.guide, digest, "guide")
    elif survey.guide is not None or plan.guide is not None:
        used = "no guide" if survey.guide is None else f"the guide {survey.guide.name}"
        given = "no guide" if plan.guide is None else f"the guide {guide_name(guides)}"
        raise InputError(f"The survey of {survey.scene.name} was made with {used}, and here is {given}. Give that one.")
    _require_equal(survey, {"scale": plan.ratio, **identity_of(plan)}, plan)


def _require_image(
    surveyed: ImageRecord, name: str, source: Source | Guide, digest: Callable[[], str], what: str
) -> None:
    # A copy at another place has another path and time, and the same values.
    if surveyed.fingerprint == plain_values(source.fingerprint()) or surveyed.content == digest():
        return
    changed = ", changed since" if surveyed.name == name else ""
    raise InputError(
        f"The survey is of the {what} {surveyed.name}, and the {what} is {name}{changed}, which holds other values. "
        "Give that one, or survey this one."
    )


def _require_equal(survey: StoredSurvey, identity: Mapping[str, Any], plan: RunPlan) -> None:
    stored = {"scale": survey.scale, **survey.identity, "packing": survey.packing}
    ours = {**json.loads(json.dumps(identity)), "packing": plan.packing}
    for name in (*ours, *stored):
        if str(stored.get(name)) != str(ours.get(name)):
            raise InputError(
                f"The survey of {survey.scene.name} was made with {name} {excerpt(str(stored.get(name)))}, and here it is "
                f"{excerpt(str(ours.get(name)))}. {AGAIN}"
            )


def _require_sound(context: TileContext) -> None:
    """Sharpen one synthetic pixel, so that estimates whose arrays do not fit each other are found before any window.

    Raises
    ------
    InputError
        If it fails.
    """
    survey = context.survey
    core = Window(0, 1, 0, 1)
    tile = Tile(0, core, core.grown(1).clipped(context.shape))
    cube = np.zeros((context.count, *tile.padded.shape), np.float32)
    guide = None
    if context.guided and survey.guide is not None:
        sides = (n * context.ratio + 2 * survey.guide_margin_px for n in tile.padded.shape)
        guide = np.zeros((len(survey.guide.mean), *sides), np.float32)
    try:
        for _ in sharpen_tile(context, tile, cube, guide, TileStatistics(context.count)):
            pass
    except Exception as error:  # of any type: what is computed depends on the file
        raise _damaged(error) from error


def _damaged(error: Exception) -> InputError:
    return InputError(f"The estimates of the survey are damaged: {excerpt(str(error))}. {AGAIN}")
