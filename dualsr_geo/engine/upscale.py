"""The flow as a paragraph: read -> align -> survey -> tile -> coarse -> fine -> write."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dualsr_geo import resources
from dualsr_geo.engine import dask_cluster, executor, fine_stage_fit
from dualsr_geo.engine.executor import TilePlan
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan, plan_run
from dualsr_geo.engine.provenance import REPORTED, provenance_of, summarise
from dualsr_geo.engine.run_log import LogEvent, scene_log
from dualsr_geo.engine.run_report import report_data_of_run
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.errors import DualSRError, DualSRWarning
from dualsr_geo.io.products.delivery import describe_delivery
from dualsr_geo.io.scenes import open_delivered, open_guides
from dualsr_geo.io.storage.urls import absolute
from dualsr_geo.io.storage.work_directory import RECORD
from dualsr_geo.io.writers.creation_options import require_options
from dualsr_geo.io.writers.destination import default_output, destination_at
from dualsr_geo.io.writers.disk_space import disk_full_errors
from dualsr_geo.io.writers.output_records import is_same_output, read_provenance
from dualsr_geo.io.writers.output_spec import OutputSpec, format_of
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.raster import grid
from dualsr_geo.report.page import require_report, write_report
from dualsr_geo.serialization import to_json
from dualsr_geo.survey.survey import Survey
from dualsr_geo.threads import one_thread

# The fitted fine stage, in the work folder.
FINE_FILE = "fine.safetensors"

Where = str | os.PathLike[str]
Progress = Callable[[int, int], None]


def upscale(
    scene: Where,
    output: Where | None = None,
    *,
    rgb: Where | Sequence[Where] | None = None,
    options: Options | None = None,
    client: Any = None,  # distributed.Client is not typed
    report: Where | None = None,
    progress: Progress | None = None,
    **changes: Any,  # fields of Options, checked by its constructor
) -> dict[str, Any]:
    """Sharpen a scene to a product on disk.

    Parameters
    ----------
    scene : path
        Whatever rasterio or Zarr opens, or a product as delivered.
    output : path, optional
        ``scene_x<scale>.tif`` beside the scene if left out.
    rgb : path or sequence of paths, optional
        The guide; if left out, the product's own sharper bands where it has some.
    options : Options, optional
    client : distributed.Client, optional
        Run the tiles there.
    report : path, optional
        An HTML page to write beside the product: what it looks like, and how far to believe it.
    progress : callable, optional
        Called with (tiles done, tiles in all).
    **changes
        Fields of `Options`.

    Returns
    -------
    dict
        output, scale, shape, bands, model, fine, guide, consistency, clipped, seconds,
        peak_memory_bytes, notes, and whether the product was already finished.

    Raises
    ------
    DualSRError
        For any input or option that cannot be carried out; the message names the way out.
    """
    began = time.monotonic()
    wanted = replace(options or Options(), **changes)
    with scene_log(os.fspath(scene), None if output is None else os.fspath(output)) as tell:
        job, layout = prepare(scene, output, rgb=rgb, options=wanted, client=client)
        return run_plan(job, layout, tell, began, client=client, report=report, progress=progress)


def run_plan(
    job: RunPlan,
    layout: OutputSpec,
    tell: LogEvent,
    began: float,
    *,
    client: Any = None,  # as in `upscale`
    report: Where | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Sharpen a scene by a plan of `prepare`, as `upscale` does.

    Parameters
    ----------
    job, layout
        As returned by `prepare`.
    tell : callable
        Logs an event of the scene; see `scene_log`.
    began : float
        `time.monotonic` at the start of the run, which includes the planning, seconds.
    client, report, progress
        As for `upscale`.
    """
    options = job.options
    if report is not None:
        require_report(report, overwrite=options.overwrite or options.resume)
    if options.resume and is_same_output(layout, job.identity):
        tell("scene was finished", output=layout.path)
        said = {**_finished(job, layout), **_cost(began), "already_finished": True}
        return said if report is None else _reported(job, layout, said, None, report)
    store = TileStore.begin(layout, job.identity, resume=options.resume, overwrite=options.overwrite)
    known = _survey_of(job, store, client)
    tell("scene surveyed", tiles=len(job.tiling), tile=job.sizes.tile, model=job.model.name, notes=list(known.notes))
    work = _with_fine(job, store, job.work(known))
    figures = _run(TilePlan(job.inputs, work, store), job.sizes.jobs, client, progress, tell)
    found = {"output": layout.path, **summarise(job, known, figures, work.fine_stage)}
    store.finish(provenance_of(job, found), to_json(known))
    said = {**found, **_cost(began)}
    tell("scene finished", output=layout.path, **_cost(began))
    return said if report is None else _reported(job, layout, said, figures, report)


def _reported(
    job: RunPlan, layout: OutputSpec, said: dict[str, Any], figures: list[dict[str, Any]] | None, report: Where
) -> dict[str, Any]:
    """Write the report of a finished product."""
    write_report(report_data_of_run(job, layout, said, figures), report, overwrite=True)
    return {**said, "report": os.fspath(report)}


def _cost(began: float) -> dict[str, Any]:
    return {"seconds": round(time.monotonic() - began, 2), "peak_memory_bytes": resources.peak()}


def _finished(job: RunPlan, layout: OutputSpec) -> dict[str, Any]:
    """Return what was reported of a product when it was made."""
    carried = read_provenance(layout) or {}
    size = {"shape": list(layout.shape[1:]), "bands": job.scene.count}
    return {"output": layout.path, **size, **{k: carried[k] for k in REPORTED if k in carried}}


def prepare(
    scene: Where,
    output: Where | Callable[[int], Where] | None = None,
    *,
    rgb: Where | Sequence[Where] | None = None,
    options: Options,
    client: Any = None,  # as in `upscale`
) -> tuple[RunPlan, OutputSpec]:
    """Open the inputs, once, and plan the run, here or on the workers; compute and write nothing.

    Parameters
    ----------
    scene, rgb, options, client
        As for `upscale`.
    output : path or callable, optional
        The product, or a function that returns its path for a ratio.
    """
    nodata = options.nodata if options.dtype is None else None
    delivered = open_delivered(scene, bidx=options.bidx, nodata=nodata, gsd=options.gsd, sensor=options.sensor)
    paths = [rgb] if isinstance(rgb, str | os.PathLike) else list(rgb or ())
    guides = [g for p in paths for g in open_guides(p)] or list(delivered.guides)
    opened = delivered.scene
    room = None if client is None else dask_cluster.worker_capacity(client, options.device)
    job = replace(plan_run(opened, guides, options, room), opening=describe_delivery(delivered, has_guide=bool(paths)))
    if output is None:
        output = default_output(scene, opened, f"_x{job.ratio}")
    place = os.fspath(output(job.ratio) if callable(output) else output)
    # A worker may run in another folder.
    layout = output_spec_of(job, place if client is None else absolute(place))
    layout.destination.require_apart([opened, *guides])
    job = _as_before(job, layout)
    return job, output_spec_of(job, layout.path)


def output_spec_of(job: RunPlan, place: str) -> OutputSpec:
    """Return what the product will be."""
    return OutputSpec(
        destination=destination_at(place, format_of(place, job.options.format), job.options.work_dir),
        geobox=job.target,
        bands=job.scene.bands,
        packing=job.packing,
        tags=job.scene.tags,
        attrs=job.scene.attrs,
        name=job.scene.name,
        tile=job.sizes.tile * job.ratio,
        options=job.options.creation,
        uncertainty=job.options.uncertainty,
    )


def _as_before(job: RunPlan, layout: OutputSpec) -> RunPlan:
    """Take the tile of the run to resume, where none is asked for: another machine chooses another."""
    if not job.options.resume or job.options.tile is not None:
        return job
    work = layout.destination.work_directory
    if work.has(RECORD):
        return _with_tile(job, work.read(RECORD).get("identity", {}))
    finished = _with_tile(job, (read_provenance(layout) or {}).get("parameters", {}))
    return finished if is_same_output(output_spec_of(finished, layout.path), finished.identity) else job


def _with_tile(job: RunPlan, made: Mapping[str, Any]) -> RunPlan:
    """Return a job with the tile of what was made before."""
    return replace(job, sizes=replace(job.sizes, tile=int(made.get("tile", job.sizes.tile))))


def dry_run(
    scene: Where, output: Where | None = None, *, rgb: Where | Sequence[Where] | None = None, options: Options
) -> dict[str, Any]:
    """Return what a run would do, and raise what it would raise before its first tile."""
    job, layout = prepare(scene, output, rgb=rgb, options=options)
    require_output(job, layout)
    return plan_json(job, layout)


def require_output(job: RunPlan, layout: OutputSpec) -> None:
    """Check that the product of a plan can be written, unless it is finished and to be resumed.

    Raises
    ------
    DualSRError
        If it cannot.
    """
    if job.options.resume and is_same_output(layout, job.identity):
        return
    layout.destination.require_free(overwrite=job.options.overwrite)
    require_options(layout)


def plan_json(job: RunPlan, layout: OutputSpec) -> dict[str, Any]:
    """Return what a run would do, for --dry-run."""
    height, width = layout.geobox.shape
    raw = len(layout.variables) * layout.raw_bytes
    return {
        "output": layout.path,
        "format": layout.format,
        "scale": job.ratio,
        "shape": [int(height), int(width)],
        "bands": len(layout.bands),
        "dtype": layout.packing.dtype,
        "crs": grid.crs_name(layout.geobox),
        "transform": list(layout.geobox.affine)[:6],
        "model": job.model.name,
        "fine": job.fine,
        "guide_bands": 0 if job.guide is None else job.guide.count,
        "opened": list(job.opening),
        "sensor": None if job.scene.sensor is None else job.scene.sensor.to_json(),
        "tile": job.sizes.tile,
        "halo": job.model.halo,
        "tiles": len(job.tiling),
        "jobs": job.sizes.jobs,
        "estimated_memory_bytes": job.sizes.bytes,
        "raw_bytes": int(raw),
        "work": layout.destination.work,
        "largest_disk_bytes": layout.largest_disk_bytes,
    }


def _survey_of(job: RunPlan, store: TileStore, client: Any) -> Survey:
    """Survey the scene, here or on the cluster, or take the survey of the interrupted run."""
    before = store.record().get("survey")
    if before is not None:
        return Survey.from_json(before, job.model)
    try:
        inputs = job.inputs, job.scene.shape, job.wishes
        known = (
            survey_scene(*inputs)
            if client is None
            else dask_cluster.run_once(client, f"survey of {job.scene.name}", survey_scene, *inputs)
        )
    except DualSRError:
        # Without a survey there is no tile yet, so there is nothing to resume.
        store.abandon()
        raise
    for note in known.notes:
        warnings.warn(note, DualSRWarning, stacklevel=3)
    store.remember("survey", to_json(known))
    return known


def _with_fine(job: RunPlan, store: TileStore, work: TileContext) -> TileContext:
    """Fit the fine stage to the scene where it wants that, or take the fit of the interrupted run."""
    read = partial(read_tile, job.inputs, work)
    with disk_full_errors(store.spec.destination), one_thread(), store.file(FINE_FILE) as path:
        return replace(work, fine_stage=fine_stage_fit.fit_once(path, work, job.wishes, read))


def _run(
    plan: TilePlan,
    jobs: int,
    client: Any,  # as in `upscale`
    progress: Progress | None,
    tell: LogEvent,
) -> list[dict[str, Any]]:
    """Run the tiles that are not done yet; return the figures of all in tile order."""
    done = plan.store.done()
    total = len(plan.work.tiling)
    left = [i for i in range(total) if i not in done]
    finished = executor.run_here(plan, left, jobs) if client is None else executor.run_on(client, plan, left)
    if progress is not None:
        progress(len(done), total)
    for tile in finished:
        done[tile.index] = tile.figures
        tell(
            "tile done",
            tile=tile.index,
            done=len(done),
            tiles=total,
            seconds=round(tile.seconds, 3),
            worker=tile.worker,
        )
        if progress is not None:
            progress(len(done), total)
    return [done[i] for i in range(total)]
