"""A run of one scene: read -> align -> survey -> tile -> coarse -> fine -> write.

`prepare` opens the scene, puts its guides on the target grid and plans the run. `run_plan` surveys the
scene once and fits the fine stage. Every tile is then a pure function of its windows and the survey:
the model's coarse stage, then the fine stage. Finished tiles stream into a Zarr store, which is the
product or becomes the GeoTIFF, and from which an interrupted run resumes.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from dualsr_geo import resources
from dualsr_geo.argument_types import checked, cluster_client, function, only_guide, path, raster_or_bands, rasters
from dualsr_geo.engine import dask_cluster, executor
from dualsr_geo.engine.classification import keep_classification, require_room_for_classification
from dualsr_geo.engine.executor import TilePlan
from dualsr_geo.engine.fine_stage.fit import fit_fine_stage_once
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.option_keywords import OptionKeywords, with_option_keywords
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.engine.pixel_sizes import coarse_gsds, each_gsd
from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.preparation import Raster, SceneInput, Where, name_of, prepare
from dualsr_geo.engine.records.provenance import provenance_of, summarise
from dualsr_geo.engine.records.run_log import LogEvent, begin_stage, log_files, scene_log
from dualsr_geo.engine.records.run_summary import RunSummary, TileRecord
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.errors import DualSRError, DualSRWarning, ResumeError
from dualsr_geo.io.readers.blocks.decoded import BLOCKS
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.writers.disk_space import disk_errors
from dualsr_geo.io.writers.output_records import is_same_output, read_provenance
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.models.definition import is_refined
from dualsr_geo.report.results import RunResult
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.threads import one_thread, return_freed

# The fitted fine stage, in the work directory.
FINE_STAGE_FILE = "fine.safetensors"

Progress = Callable[[int, int], None]


@with_option_keywords
@reports_defects
@checked(
    scene=raster_or_bands,
    output=path,
    rgb=rasters,
    pan=rasters,
    guide=rasters,
    client=cluster_client,
    report=path,
    progress=function,
)
def upscale(
    scene: SceneInput,
    output: Where | None = None,
    *,
    rgb: Raster | Sequence[Raster] | None = None,
    pan: Raster | Sequence[Raster] | None = None,
    guide: Raster | Sequence[Raster] | None = None,
    options: Options | None = None,
    client: Any = None,  # distributed.Client is not typed
    report: Where | None = None,
    progress: Progress | None = None,
    **keywords: Unpack[OptionKeywords],
) -> dict[str, Any]:
    """Sharpen a scene to a product on disk.

    Parameters
    ----------
    scene : path, DataArray or Dataset, or a list of paths
        Anything that rasterio, Zarr or xarray opens, or a product as delivered; or the files of its bands, on one grid.
    output : path, optional
        ``scene_x<scale>.tif`` in the directory of the scene if left out; an array or a list needs one.
    rgb, pan, guide : path, DataArray or Dataset, or several
        The guide, by any of these names; if left out, the product's own sharper bands where it has some.
    options : Options, optional
        Options to start from; the keywords replace single ones.
    client : distributed.Client, optional
        Run the tiles there.
    report : path, optional
        An HTML page to write that shows the product and its quality.
    progress : callable, optional
        Called with the numbers of finished tiles and of all tiles.
    **keywords
        Fields of `Options`.

    Returns
    -------
    dict
        output, scale, shape, bands, model, fine, guide, consistency, clipped, seconds, peak_memory_bytes, notes
        and others, as JSON; see `RunSummary`. ``already_finished`` is present and true if an earlier run made the
        product. With ``gsd="all"`` ``products``, a list of these, each with its ``gsd``; the names of the files have it,
        e.g. ``_20m``.

    Raises
    ------
    DualSRError
        For any input or option that cannot be carried out; the message names the way out.
    """
    options = changed(options, keywords, upscale)
    images = only_guide(rgb=rgb, pan=pan, guide=guide)
    if options.gsd != "all":
        return _upscale_one(scene, output, images, options, client=client, report=report, progress=progress)

    def run(own: Options, label: str, place: Where | None, page: Where | None) -> dict[str, Any]:
        return _upscale_one(scene, place, images, own, client=client, report=page, progress=progress, label=label)

    return each_gsd(run, coarse_gsds(scene, options), options, output, report)


def _upscale_one(
    scene: SceneInput,
    output: Where | None,
    images: Raster | Sequence[Raster] | None,
    options: Options,
    *,
    client: Any,  # as in `upscale`
    report: Where | None,
    progress: Progress | None,
    label: str = "",
) -> dict[str, Any]:
    """Sharpen the bands of one pixel size; `label` is for the default name of the product."""
    began = time.monotonic()
    with scene_log(name_of(scene), None if output is None else os.fspath(output)) as log:
        begin_stage(log, "inputs")
        plan, spec = prepare(scene, output, rgb=images, options=options, client=client, label=label)
        summary = run_plan(plan, spec, log, began, client=client, report=report, progress=progress)
        return RunResult(summary.to_json())


def run_plan(
    plan: RunPlan,
    spec: OutputSpec,
    log: LogEvent,
    began: float,
    *,
    client: Any = None,  # as in `upscale`
    report: Where | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Sharpen a scene by a plan of `prepare`, as `upscale` does.

    Parameters
    ----------
    plan, spec
        As returned by `prepare`.
    log : callable
        Logs an event of the scene; see `scene_log`.
    began : float
        `time.monotonic` at the start of the run, which includes the planning, seconds.
    client, report, progress
        As for `upscale`.
    """
    options = plan.options
    if report is not None:
        from dualsr_geo.report.page import require_report  # noqa: PLC0415  # loads jinja2 and PIL

        inputs, outputs = plan.input_files, (spec.path, *log_files())
        require_report(report, overwrite=options.overwrite, resume=options.resume, inputs=inputs, outputs=outputs)
    records: list[TileRecord] | None
    if options.resume and is_same_output(spec, plan.identity):
        records = None
        TileStore(spec).remove_leftovers(plan.identity)
        classes = keep_classification(plan, spec, is_finished=True)
        summary = replace(_read_summary(plan, spec), classification=classes, **_cost(began))
        log("scene was finished", output=spec.path)
    else:
        require_room_for_classification(plan, spec)
        summary, records = _sharpen(plan, spec, log, client, progress)
        classes = keep_classification(plan, spec, is_finished=False)
        summary = replace(summary, classification=classes, **_cost(began))
        log("scene finished", output=spec.path, seconds=summary.seconds, peak_memory_bytes=summary.peak_memory_bytes)
    if report is None:
        return summary
    from dualsr_geo.engine.run_report import report_data_of_run  # noqa: PLC0415  # as above
    from dualsr_geo.report.page import write_report  # noqa: PLC0415

    begin_stage(log, "report")
    write_report(report_data_of_run(plan, spec, summary, records), report, overwrite=True)
    return replace(summary, report=os.fspath(report))


def _sharpen(
    plan: RunPlan,
    spec: OutputSpec,
    log: LogEvent,
    client: Any,  # as in `upscale`
    progress: Progress | None,
) -> tuple[RunSummary, list[TileRecord]]:
    """Survey the scene, sharpen its tiles, and write the product; resume where an interrupted run ended."""
    with spec.destination.locked() as require_held, BLOCKS.limited(plan.sizes.blocks):
        store = TileStore.begin(spec, plan.identity, resume=plan.options.resume, overwrite=plan.options.overwrite)
        store.remember("request", plan.request)
        begin_stage(log, "survey", work=spec.destination.work)
        survey = _survey(plan, store, client)
        notes = list(survey.notes)
        log("scene surveyed", tiles=len(plan.tiling), tile=plan.sizes.tile, model=plan.model.name, notes=notes)
        if is_refined(plan.model, plan.fine):
            begin_stage(log, "fine stage")
        context = _with_fine_stage(plan, store, plan.context_for(survey))
        return_freed()
        records = _run_tiles(TilePlan(plan.inputs, context, store), plan.sizes.jobs, client, progress, log)
        summary = summarise(plan, survey, records, context.fine_stage, output=spec.path)
        require_held()
        begin_stage(log, "output", format=spec.format)
        store.finish(provenance_of(plan, summary), to_json(survey))
    return summary, records


def _cost(began: float) -> dict[str, Any]:
    return {"seconds": round(time.monotonic() - began, 2), "peak_memory_bytes": resources.peak()}


def _read_summary(plan: RunPlan, spec: OutputSpec) -> RunSummary:
    """Return the summary of a finished product from the provenance that it carries."""
    height, width = spec.shape[1:]
    provenance = read_provenance(spec) or {}
    return RunSummary.from_provenance(provenance, output=spec.path, shape=(height, width), bands=plan.scene.count)


def _survey(plan: RunPlan, store: TileStore, client: Any) -> Survey:
    """Survey the scene, here or on the cluster, or take the survey of the interrupted run."""
    stored = store.record().get("survey")
    if stored is not None:
        return _stored_survey(plan, store, stored)
    arguments = plan.inputs, plan.scene.shape, plan.survey_options
    try:
        if client is None:
            survey = survey_scene(*arguments)
        else:
            survey = dask_cluster.run_once(client, f"survey of {plan.scene.name}", survey_scene, *arguments)
    except DualSRError:
        # Without a survey there is no tile yet, so there is nothing to resume.
        store.abandon()
        raise
    for note in survey.notes:
        warnings.warn(note, DualSRWarning, stacklevel=3)
    store.remember("survey", to_json(survey))
    return survey


def _stored_survey(plan: RunPlan, store: TileStore, stored: Any) -> Survey:  # JSON
    try:
        return Survey.from_json(stored, plan.model)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ResumeError(
            f"The survey of the interrupted run in {store.spec.destination.work} is damaged ({error}). Leave --resume out "
            "to start again."
        ) from error


def _with_fine_stage(plan: RunPlan, store: TileStore, context: TileContext) -> TileContext:
    """Fit the fine stage to the scene if the plan has one, or take the fit of the interrupted run."""
    read = partial(read_tile, plan.inputs, context)
    with disk_errors(store.spec), one_thread(), store.file(FINE_STAGE_FILE) as path:
        return replace(context, fine_stage=fit_fine_stage_once(path, context, plan.survey_options, read))


def _run_tiles(
    plan: TilePlan,
    jobs: int,
    client: Any,  # as in `upscale`
    progress: Progress | None,
    log: LogEvent,
) -> list[TileRecord]:
    """Run the tiles that are not done yet; return the records of all in the order of the tiles."""
    records = {index: TileRecord.from_json(mark) for index, mark in plan.store.done().items()}
    total = len(plan.context.tiling)
    remaining = [index for index in range(total) if index not in records]
    tiles = executor.run_here(plan, remaining, jobs) if client is None else executor.run_on(client, plan, remaining)
    begin_stage(log, "tiles", done=len(records), tiles=total)
    if progress is not None:
        progress(len(records), total)
    for tile in tiles:
        records[tile.index] = tile.record
        seconds = round(tile.seconds, 3)
        log("tile done", tile=tile.index, done=len(records), tiles=total, seconds=seconds, worker=tile.worker)
        if progress is not None:
            progress(len(records), total)
    return [records[index] for index in range(total)]
