"""The survey of a scene, made once, so that any window of its product can be computed later."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from dualsr_geo.argument_types import checked, flag, only_guide, path, raster, rasters
from dualsr_geo.engine.fine_stage.fit import fit_fine_stage
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.on_the_fly.content import guide_digest, scene_digest
from dualsr_geo.engine.on_the_fly.stored_survey import (
    GridRecord,
    ImageRecord,
    StoredSurvey,
    with_fine_stage,
    write_survey,
)
from dualsr_geo.engine.option_keywords import OptionKeywords, with_option_keywords
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.engine.plan import RunPlan, plan_run
from dualsr_geo.engine.preparation import Raster, as_list, name_of, open_inputs
from dualsr_geo.engine.records.recorded_options import options_to_record
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.errors import DualSRWarning, OptionError, OutputError
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.storage.names import require_place
from dualsr_geo.io.storage.urls import shown
from dualsr_geo.models.definition import is_refined
from dualsr_geo.models.registry import models
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.source import CroppedSource
from dualsr_geo.serialization import plain_values, to_json
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.threads import one_thread

# Options that may name a file. A survey may come from elsewhere, so that what it names is not opened.
FILE_OPTIONS = ("model", "half_model", "wavelengths")
# Options that decide how a product is written, not what is in it.
OUTPUT_OPTIONS = ("format", "creation")


@with_option_keywords
@reports_defects
@checked(scene=raster, output=path, rgb=rasters, pan=rasters, guide=rasters, overwrite=flag)
def survey(
    scene: Raster,
    output: str | os.PathLike[str] | None = None,
    *,
    rgb: Raster | Sequence[Raster] | None = None,
    pan: Raster | Sequence[Raster] | None = None,
    guide: Raster | Sequence[Raster] | None = None,
    options: Options | None = None,
    **keywords: Unpack[OptionKeywords],
) -> StoredSurvey:
    """Survey a scene once, so that `sharpen_window` can compute any window of its product.

    Parameters
    ----------
    scene : path, DataArray or Dataset
        As for `upscale`.
    output : path, optional
        A file to write, e.g. ``survey.json``; `sharpen_window` takes its path.
    rgb, pan, guide : path, DataArray or Dataset, or several
        The guide, by any of these names; if left out, the product's own sharper bands where it has some.
    options : Options, optional
        Options to start from; the keywords replace single ones.
    **keywords
        Fields of `Options`.

    Returns
    -------
    StoredSurvey
        With `to_json` and `from_json`.

    Raises
    ------
    DualSRError
        For any input or option that cannot be carried out; the message names the way out.
    """
    options = changed(options, keywords, survey)
    where = None if output is None else _require_free(output, overwrite=options.overwrite)
    guides = only_guide(rgb=rgb, pan=pan, guide=guide)
    plan = _with_own_nodata(planned(scene, guides, options))
    stored = _survey(plan, name_of(scene), [name_of(g) for g in as_list(guides)])
    for note in stored.notes:
        warnings.warn(note, DualSRWarning, stacklevel=4)
    if where is not None:
        try:
            write_survey(stored, where)
        except OSError as error:
            raise OutputError(
                f"{where} cannot be written: {error.strerror or error}. Give another --output."
            ) from error
    return stored


def planned(scene: Raster, guides: Raster | Sequence[Raster] | None, options: Options) -> RunPlan:
    """Return the plan by which a run to a file would make the product."""
    delivery, images = open_inputs(scene, guides, options)
    return plan_run(delivery.scene, images, options)


def _with_own_nodata(plan: RunPlan) -> RunPlan:
    """Return a plan whose product has a nodata value only where a product on disk has it."""
    if not isinstance(plan.scene.source, ArraySource):
        return plan
    from dualsr_geo.engine.lazy.products import with_own_nodata  # noqa: PLC0415  # loads xarray

    return with_own_nodata(plan, compute=True)


def _require_free(output: str | os.PathLike[str], *, overwrite: bool) -> Path:
    where = require_place(output, "--output")
    if where.exists() and not overwrite:
        raise OutputError(f"{where} exists. Give --overwrite to replace it, or another --output.")
    return where


def _survey(plan: RunPlan, scene_name: str, guide_names: Sequence[str]) -> StoredSurvey:
    estimates = survey_scene(plan.inputs, plan.scene.shape, plan.survey_options)
    context, stage = plan.context_for(estimates), None
    if is_refined(plan.model, plan.fine):
        with one_thread():
            stage = fit_fine_stage(context, plan.survey_options, partial(read_tile, plan.inputs, context))
    options, files = _recorded(plan.options)
    if by_tiles(plan):
        # The tile that is chosen depends on the machine.
        options["tile"] = plan.sizes.tile
    record = StoredSurvey(
        scene=scene_record(plan, scene_name),
        grid=grid_record(plan),
        guide=guide_record(plan, guide_names),
        scale=plan.ratio,
        options=options,
        identity=identity_of(plan),
        packing=plan.packing,
        estimates=to_json(estimates),
        overlap=_overlap(plan, estimates),
        files=files,
    )
    return with_fine_stage(record, None if stage is None else stage.to_bytes())


def _overlap(plan: RunPlan, estimates: Survey) -> int:
    """Return how many pixels of the product around a part its values depend on: those of the halo, and of the guide."""
    field = estimates.displacement
    margin = 0 if plan.guide is None else estimates.guide_margin_px + (0 if field is None else field.margin_px)
    return plan.ratio * (plan.model.halo + -(-margin // plan.ratio))


def scene_record(plan: RunPlan, name: str) -> ImageRecord:
    """Return the record of a plan's scene; the name is for messages."""
    fingerprint = plain_values(plan.scene.source.fingerprint())
    content, decoding = scene_digest(plan.inputs, plan.scene.shape), _decoding(plan.scene.source)
    return ImageRecord(shown(name), plan.scene.count, fingerprint, content, decoding)


def guide_record(plan: RunPlan, names: Sequence[str]) -> ImageRecord | None:
    """Return the record of a plan's guide on the target grid; None without one."""
    if plan.guide is None:
        return None
    content = guide_digest(plan.inputs, plan.scene.shape, plan.ratio)
    fingerprint = plain_values(plan.guide.fingerprint())
    decodings = [_decoding(getattr(part, "source", None)) for part in getattr(plan.guide, "parts", (plan.guide,))]
    return ImageRecord(guide_name(names), plan.guide.count, fingerprint, content, _joined(decodings, plan.guide.count))


def _decoding(source: object) -> Decoding | None:
    """Return the decoding of a source, of the whole one if it is cropped; None where it has none."""
    decoding = getattr(source, "decoding", None)
    if isinstance(decoding, Decoding):
        return decoding
    return _decoding(source.source) if isinstance(source, CroppedSource) else None


def _joined(decodings: Sequence[Decoding | None], count: int) -> Decoding | None:
    """Return the decoding of all bands of the parts of a guide; None where one has none, or they do not add up."""
    each = [decoding for decoding in decodings if decoding is not None]
    if len(each) < len(decodings):
        return None
    scales, offsets = tuple(v for d in each for v in d.scales), tuple(v for d in each for v in d.offsets)
    joined = Decoding(scales, offsets, tuple(v for d in each for v in d.nodata))
    return joined if len(scales) == count else None


def guide_name(names: Sequence[str]) -> str:
    """Return what the guide is called in messages."""
    return " and ".join(map(shown, names)) or "the product's own sharper bands"


def grid_record(plan: RunPlan) -> GridRecord:
    """Return the record of the grid of a plan's scene."""
    a, b, c, d, e, f = map(float, plan.scene.geobox.affine[:6])
    return GridRecord(plan.scene.shape, (a, b, c, d, e, f), grid.crs_name(plan.scene.geobox))


def identity_of(plan: RunPlan) -> dict[str, Any]:
    """Return what the values of a product depend on, apart from scene, guide and estimates, as JSON."""
    left_out = {"scene", "guide", "version", *(() if by_tiles(plan) else ("tile",))}
    identity: dict[str, Any] = plain_values({k: v for k, v in plan.identity.items() if k not in left_out})
    return identity


def by_tiles(plan: RunPlan) -> bool:
    """Return whether windows are cut from whole tiles: for a stated tile, and a fine stage that is fitted to each.

    Otherwise windows have tiles of their own, by which the last bits of 32-bit floats differ.
    """
    return plan.options.tile is not None or plan.fine == "finenet-per-tile"


def _recorded(options: Options) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options as JSON, and the names of files among them, which are left out."""
    files = {name: str(value) for name in FILE_OPTIONS if names_file(name, value := getattr(options, name))}
    return {k: v for k, v in options_to_record(options).items() if k not in (*files, *OUTPUT_OPTIONS)}, files


def names_file(option: str, value: object) -> bool:
    """Return whether the value of one of `FILE_OPTIONS` names a file."""
    if not isinstance(value, str):
        return False
    return value not in models() if option == "model" else option == "half_model" or os.path.exists(value)  # noqa: PTH110


def restored(survey: StoredSurvey, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that name files, given again.

    Raises
    ------
    OptionError
        If one of them is missing.
    """
    for name, file in survey.files.items():
        if given.get(name) is None:
            flag_name = f"--{name.replace('_', '-')}"
            raise OptionError(
                f"The survey of {survey.scene.name} was made with {flag_name} {shown(file)}, which is not opened by what a "
                f"survey states. Give {flag_name} again."
            )
    return {name: given[name] for name in survey.files}
