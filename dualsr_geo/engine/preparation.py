"""Preparation of a run: open the inputs, plan the run and specify its output; compute and write nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from dualsr_geo.engine import dask_cluster
from dualsr_geo.engine.classification import require_room_for_classification
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan, plan_run
from dualsr_geo.engine.records.recorded_options import options_to_record, recordable
from dualsr_geo.engine.sharpened_guides import describe_steps, open_guide_images
from dualsr_geo.engine.size_limits import free_disk_bytes, require_room
from dualsr_geo.errors import OutputError, ScaleError
from dualsr_geo.io.products.acquisitions import describe_dates
from dualsr_geo.io.products.delivery import Delivery, describe_delivery, missing_guide
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.scenes import open_delivered
from dualsr_geo.io.storage.urls import absolute
from dualsr_geo.io.storage.work_directory.directory import RECORD
from dualsr_geo.io.writers.creation_options import require_options
from dualsr_geo.io.writers.destination import default_output, destination_at
from dualsr_geo.io.writers.geotiff import require_possible
from dualsr_geo.io.writers.output_records import is_same_output, read_provenance
from dualsr_geo.io.writers.output_spec import OutputSpec, format_of
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Nodata
from dualsr_geo.raster.scene import Scene

if TYPE_CHECKING:
    import xarray as xr

Where = str | os.PathLike[str]
Raster: TypeAlias = "Where | xr.DataArray | xr.Dataset"
# A scene may also be several files, of a band each.
SceneInput: TypeAlias = "Raster | Sequence[Where]"


def scene_nodata(options: Options) -> Nodata:
    """Return the nodata value by which the scene is read: with a type of the product, a number is the product's."""
    return options.nodata if options.dtype is None or options.nodata == "auto" else None


def open_inputs(
    scene: SceneInput, rgb: Raster | Sequence[Raster] | None, options: Options
) -> tuple[Delivery, Sequence[Scene]]:
    """Open a scene or a delivered product, and the guides: those of `rgb`, else the product's own."""
    nodata = scene_nodata(options)
    trust = options.trust_references
    delivery = open_delivered(
        scene,
        bidx=options.bidx,
        nodata=nodata,
        gsd=options.gsd_m,
        sensor=options.sensor,
        wavelengths=options.wavelengths,
        trust_references=trust,
    )
    guides = open_guide_images(as_list(rgb), options)
    return delivery, guides or delivery.guides


def as_list(rgb: Raster | Sequence[Raster] | None) -> list[Raster]:
    """Return guides as a list, also a single one or none."""
    if rgb is None:
        return []
    return list(rgb) if isinstance(rgb, Sequence) and not isinstance(rgb, str) else [rgb]


def name_of(scene: SceneInput) -> str:
    """Return the path of a scene, or what an array is called in a log."""
    if isinstance(scene, str | os.PathLike):
        return os.fspath(scene)
    if isinstance(scene, list | tuple):
        return f"{os.fspath(scene[0])} and {len(scene) - 1} more"
    return "Dataset" if hasattr(scene, "data_vars") else str(getattr(scene, "name", None) or "array")


def prepare(
    scene: SceneInput,
    output: Where | Callable[[int], Where] | None = None,
    *,
    rgb: Raster | Sequence[Raster] | None = None,
    options: Options,
    client: Any = None,  # distributed.Client is not typed
    label: str = "",
) -> tuple[RunPlan, OutputSpec]:
    """Open the inputs, once, and plan the run, here or on the workers of a cluster.

    Parameters
    ----------
    scene, rgb, options, client
        As for `upscale`.
    output : path or callable, optional
        The product, or a function that returns its path for a ratio.
    label : str
        What the default name of the product has before the ratio.

    Raises
    ------
    DualSRError
        For any input or option that cannot be carried out; the message names the way out.
    """
    delivery, guides = open_inputs(scene, rgb, options)
    capacity = None if client is None else dask_cluster.worker_capacity(client, options.device)
    try:
        plan = plan_run(delivery.scene, guides, options, capacity)
    except ScaleError as error:
        raise ScaleError(" ".join([*missing_guide(delivery, has_guide=bool(guides)), str(error)])) from error
    if isinstance(delivery.scene.source, ArraySource):
        from dualsr_geo.engine.lazy.products import with_own_nodata  # noqa: PLC0415  # loads xarray

        plan = with_own_nodata(plan, compute=True)
    opened = describe_delivery(delivery, has_guide=bool(as_list(rgb)))
    plan = replace(plan, classification=delivery.classification)
    plan = replace(plan, delivery_notes=(*opened, *describe_steps(guides), *describe_dates(delivery.scene, guides)))
    if output is None:
        if not isinstance(scene, str | os.PathLike):
            kind = "several files" if isinstance(scene, list | tuple) else "an array"
            raise OutputError(f"The scene is {kind}, next to which no file is written. Give --output.")
        output = default_output(scene, delivery.scene, f"{label}_x{plan.ratio}")
    path = os.fspath(output(plan.ratio) if callable(output) else output)
    # A worker may run in another directory.
    spec = specify_output(plan, path if client is None else absolute(path))
    for destination in spec.destinations:
        destination.require_apart([delivery.scene, *guides])
    plan = replace(plan, input_files=_input_files(scene, rgb, [delivery.scene, *guides], options))
    plan = replace(plan, request=_request(scene, rgb, options), level=delivery.level)
    plan = _with_previous_tile(plan, spec)
    spec = specify_output(plan, spec.path)
    if not options.resume:
        require_room(spec)
    return plan, spec


def _request(scene: SceneInput, rgb: Raster | Sequence[Raster] | None, options: Options) -> dict[str, object]:
    """Return inputs and options as the record of a run keeps them; relative paths become absolute, arrays are left out."""
    places, guides = _recordable_paths(_as_images(scene)), _recordable_paths(as_list(rgb))
    return {
        "scene": places[0] if places and len(places) == 1 else None,
        "rgb": guides,
        "options": options_to_record(options),
    }


def _as_images(scene: SceneInput) -> list[Raster]:
    """Return the files of a scene, or a scene that is one image."""
    return list(scene) if isinstance(scene, list | tuple) else [cast("Raster", scene)]


def _recordable_paths(images: Sequence[Raster]) -> list[str] | None:
    """Return paths as a record may keep them; None if one is an array or a URL."""
    paths = [os.fspath(image) for image in images if isinstance(image, str | os.PathLike)]
    if len(paths) < len(images):
        return None
    # A subdataset or a connection string is no path; a name may be too long for Path.
    return recordable([os.path.abspath(p) if os.path.exists(p) else p for p in paths])  # noqa: PTH110


def _input_files(
    scene: SceneInput, rgb: Raster | Sequence[Raster] | None, opened: Sequence[Scene], options: Options
) -> tuple[str, ...]:
    """Return the paths and URLs that a run reads: as given, the files behind them, and weights."""
    given = [*_as_images(scene), *as_list(rgb), options.model, options.half_model]
    files = [file for s in opened for file in s.source.files_read()]
    return tuple(dict.fromkeys([*(os.fspath(path) for path in given if isinstance(path, str | os.PathLike)), *files]))


def specify_output(plan: RunPlan, path: str) -> OutputSpec:
    """Return the specification of the product at a path."""
    return OutputSpec(
        destination=destination_at(path, format_of(path, plan.options.format), plan.options.work_dir),
        geobox=plan.target,
        bands=plan.scene.bands,
        packing=plan.packing,
        tags=plan.scene.tags,
        attrs=plan.scene.attrs,
        name=plan.scene.name,
        tile=plan.sizes.tile * plan.ratio,
        options=plan.options.creation,
        uncertainty=bool(plan.options.uncertainty),
        separate=plan.options.uncertainty == "separate",
    )


def _with_previous_tile(plan: RunPlan, spec: OutputSpec) -> RunPlan:
    """Return a plan with the tile of the run that it resumes; without one, as it is.

    The tile depends on the machine, and the values on the tile, so another machine would not resume the run.
    """
    if not plan.options.resume or plan.options.tile is not None:
        return plan
    work = spec.destination.work_directory
    if work.has(RECORD):
        return _with_tile(plan, work.read(RECORD).get("identity", {}))
    finished = _with_tile(plan, (read_provenance(spec) or {}).get("parameters", {}))
    return finished if is_same_output(specify_output(finished, spec.path), finished.identity) else plan


def _with_tile(plan: RunPlan, parameters: Mapping[str, Any]) -> RunPlan:
    return replace(plan, sizes=replace(plan.sizes, tile=int(parameters.get("tile", plan.sizes.tile))))


def require_output(plan: RunPlan, spec: OutputSpec) -> None:
    """Check that the product of a plan can be written, unless the plan resumes a finished one.

    Raises
    ------
    DualSRError
        If it cannot.
    """
    if plan.options.resume and is_same_output(spec, plan.identity):
        return
    for destination in spec.destinations:
        destination.require_free(overwrite=plan.options.overwrite)
    require_room_for_classification(plan, spec)
    require_options(spec)
    require_possible(spec)


def dry_run(
    scene: SceneInput,
    output: Where | None = None,
    *,
    rgb: Raster | Sequence[Raster] | None = None,
    options: Options,
    label: str = "",
) -> dict[str, Any]:
    """Return what a run would do, and raise what it would raise before its first tile.

    Parameters
    ----------
    scene, output, rgb, options
        As for `upscale`.
    label : str
        See `prepare`.
    """
    plan, spec = prepare(scene, output, rgb=rgb, options=options, label=label)
    require_output(plan, spec)
    return plan_json(plan, spec)


def plan_json(plan: RunPlan, spec: OutputSpec) -> dict[str, Any]:
    """Return what a run would do, as JSON, for ``--dry-run``."""
    height, width = spec.geobox.shape
    return {
        "output": spec.path,
        "format": spec.format,
        "scale": plan.ratio,
        "shape": [int(height), int(width)],
        "bands": len(spec.bands),
        "dtype": spec.packing.dtype,
        "crs": grid.crs_name(spec.geobox),
        "transform": list(spec.geobox.affine)[:6],
        "model": plan.model.name,
        "fine": plan.fine,
        "guide_bands": 0 if plan.guide is None else plan.guide.count,
        "opened": list(plan.delivery_notes),
        "sensor": None if plan.scene.sensor is None else plan.scene.sensor.to_json(),
        "tile": plan.sizes.tile,
        "halo": plan.model.halo,
        "tiles": len(plan.tiling),
        "jobs": plan.sizes.jobs,
        "estimated_memory_bytes": plan.sizes.bytes,
        "raw_bytes": int(len(spec.variables) * spec.raw_bytes),
        "work": spec.destination.work,
        "largest_disk_bytes": spec.largest_disk_bytes,
        "free_disk_bytes": free_disk_bytes(spec),
    }
