"""The flow as a paragraph: read -> align -> survey -> tile -> coarse -> fine -> write."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import dualsr_geo
from dualsr_geo import grid, infer, memory
from dualsr_geo.align import Guide, on_grid
from dualsr_geo.degrade import Psf
from dualsr_geo.errors import DualSRWarning, OptionError, OutputError
from dualsr_geo.infer import Plan
from dualsr_geo.layout import Layout, format_of
from dualsr_geo.model import Model, choose_fine, load_model, require_ratio
from dualsr_geo.read import Scene, open_scene
from dualsr_geo.survey import Sample, Survey, Wishes, sample_margin, sample_windows, survey
from dualsr_geo.window import Work, one_thread
from dualsr_geo.write import Store, is_same_product

Where = str | os.PathLike[str]
COREGISTER = ("auto", "off")


@dataclass(frozen=True)
class Options:
    """What a user may decide about a run.

    Attributes
    ----------
    scale : int or None
        Ratio; left out with a guide, the largest integer not above the GSD ratio.
    model, fine : str
        The coarse model and the fine stage; `fine` left out, the model's own.
    coregister : str
        ``"auto"`` moves a displaced guide onto the scene, ``"off"`` leaves it and warns.
    psf : Psf or None
        A known blur; nothing is estimated then.
    mtf_gain : float or None
        The sensor's MTF gain at Nyquist, the fallback where blur cannot be estimated.
    bidx : str or None
        Bands of the scene, ``"1,3..5"``.
    tile : int or None
        Side of a tile's core, lr pixels; left out, `max_memory` decides.
    jobs : int or None
        Tiles at once; left out, one a core.
    max_memory : int or None
        Bytes; left out, half of the machine's memory.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    format, dtype, nodata, creation
        Of the product, as GDAL knows them.
    overwrite, resume : bool
    """

    scale: int | None = None
    model: str = "regression"
    fine: str | None = None
    coregister: str = "auto"
    psf: Psf | None = None
    mtf_gain: float | None = None
    bidx: str | None = None
    tile: int | None = None
    jobs: int | None = None
    max_memory: int | None = None
    device: str = "auto"
    format: str | None = None
    dtype: str | None = None
    nodata: float | None = None
    creation: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    resume: bool = False


@dataclass(frozen=True)
class Job:
    """A run that has been checked, but of which nothing has been computed or written."""

    scene: Scene
    guides: tuple[Scene, ...]
    guide: Guide | None
    ratio: int
    model: Model
    fine: str
    layout: Layout
    sizes: memory.Sizes
    identity: Mapping[str, object]
    options: Options


def upscale(
    scene: Where,
    output: Where | None = None,
    *,
    rgb: Where | Sequence[Where] | None = None,
    options: Options | None = None,
    client: Any = None,  # noqa: ANN401  # distributed.Client is not typed
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,  # noqa: ANN401  # fields of Options, checked by its constructor
) -> dict[str, Any]:
    """Sharpen a scene to a product on disk.

    Parameters
    ----------
    scene : path
        Whatever rasterio or Zarr opens.
    output : path, optional
        ``scene_x<scale>.tif`` beside the scene if left out.
    rgb : path or sequence of paths, optional
        The guide.
    options : Options, optional
    client : distributed.Client, optional
        Run the tiles there.
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
    job = prepare(scene, output, rgb=rgb, options=replace(options or Options(), **changes))
    if job.options.resume and is_same_product(job.layout, job.identity):
        return {"output": job.layout.path, "scale": job.ratio, "already_finished": True}
    store = Store.begin(
        job.layout, job.identity, resume=job.options.resume, overwrite=job.options.overwrite
    )
    known = _survey_of(job, store)
    plan = Plan(job.scene.source, job.guide, _work(job, known), store)
    figures = _run(plan, job.sizes.jobs, client, progress)
    report = _report(job, known, figures)
    store.finish(_lineage(job, known, report), known.to_json())
    seconds = round(time.monotonic() - began, 2)
    return {**report, "seconds": seconds, "peak_memory_bytes": memory.peak()}


def prepare(
    scene: Where, output: Where | None = None, *, rgb: Where | Sequence[Where] | None = None, options: Options
) -> Job:
    """Read what there is and check that it can be done; compute and write nothing."""
    _check(options)
    model = load_model(options.model)
    opened = open_scene(scene, bidx=options.bidx, nodata=options.nodata if options.dtype is None else None)
    paths = [rgb] if isinstance(rgb, str | os.PathLike) else list(rgb or ())
    guides = tuple(_placed(opened, open_scene(p)) for p in paths)
    ratio = _ratio(opened, guides, options.scale)
    require_ratio(model, ratio)
    place = Path(output) if output is not None else _beside(Path(scene), ratio)
    _require_apart(place, [Path(scene), *map(Path, paths)])
    target = grid.refine(opened.geobox, ratio)
    guide = on_grid(guides, target) if guides else None
    packing = opened.packing.cast(options.dtype, options.nodata)
    count = guide.count if guide is not None and model.guided else 0
    sizes = memory.sizes(opened.shape, opened.count, count, ratio, model.halo, options)
    layout = Layout(
        str(place),
        format_of(str(place), options.format),
        target,
        opened.bands,
        packing,
        opened.tags,
        opened.attrs,
        opened.name,
        sizes.tile * ratio,
        options.creation,
    )
    fine = choose_fine(model, options.fine)
    identity = _identity(opened, guide, ratio, model, fine, packing, sizes.tile, layout, options)
    return Job(opened, guides, guide, ratio, model, fine, layout, sizes, identity, options)


def plan_json(job: Job) -> dict[str, Any]:
    """Return what a run would do, for --dry-run."""
    layout, tiling = job.layout, _tiling(job)
    height, width = layout.geobox.shape
    raw = len(layout.bands) * height * width * np.dtype(layout.packing.dtype).itemsize
    return {
        "output": layout.path,
        "format": layout.format,
        "scale": job.ratio,
        "shape": [int(height), int(width)],
        "bands": len(layout.bands),
        "dtype": layout.packing.dtype,
        "crs": None if layout.geobox.crs is None else str(layout.geobox.crs),
        "transform": list(layout.geobox.affine)[:6],
        "model": job.model.name,
        "fine": job.fine,
        "guide_bands": 0 if job.guide is None else job.guide.count,
        "tile": job.sizes.tile,
        "halo": job.model.halo,
        "tiles": len(tiling),
        "jobs": job.sizes.jobs,
        "estimated_memory_bytes": job.sizes.bytes,
        "raw_bytes": int(raw),
    }


# ---- the parts ---------------------------------------------------------------------------


def _check(options: Options) -> None:
    if options.coregister not in COREGISTER:
        raise OptionError(f"--coregister {options.coregister} is not known. Give auto or off.")
    if options.tile is not None and options.tile < memory.SMALLEST_TILE:
        raise OptionError(
            f"--tile {options.tile} is below {memory.SMALLEST_TILE} lr pixels. Give {memory.SMALLEST_TILE} or more."
        )
    if options.jobs is not None and options.jobs < 1:
        raise OptionError(f"--jobs {options.jobs} runs nothing. Give 1 or more.")
    if options.psf is not None and options.scale is not None and options.psf.ratio != options.scale:
        raise OptionError(f"`psf` is for ratio {options.psf.ratio}, but --scale is {options.scale}. Give one of both.")


def _placed(scene: Scene, guide: Scene) -> Scene:
    """Give a guide without any georeference the extent of a scene without any."""
    if grid.is_bare(scene.geobox) and grid.is_bare(guide.geobox):
        return replace(guide, geobox=grid.same_extent(scene.geobox, guide.geobox.shape))
    grid.require_same_world(scene.geobox, guide.geobox)
    return guide


def _ratio(scene: Scene, guides: Sequence[Scene], scale: int | None) -> int:
    """Return the ratio that every guide allows."""
    if not guides:
        return grid.choose_ratio(scale, scene.geobox, None)
    return min(grid.choose_ratio(scale, scene.geobox, g.geobox) for g in guides)


def _beside(scene: Path, ratio: int) -> Path:
    return scene.with_name(f"{scene.stem}_x{ratio}.tif")


def _require_apart(place: Path, inputs: Sequence[Path]) -> None:
    for path in inputs:
        if place.exists() and path.exists() and place.samefile(path):
            raise OutputError(f"The output {place} is the input {path} itself. Give another --output.")


def _identity(
    scene: Scene,
    guide: Guide | None,
    ratio: int,
    model: Model,
    fine: str,
    packing: Any,  # noqa: ANN401  # Packing, by way of its fields
    tile: int,
    layout: Layout,
    options: Options,
) -> dict[str, object]:
    """Return everything that decides the product's bytes."""
    return {
        "version": dualsr_geo.__version__,
        "scene": scene.source.fingerprint(),
        "guide": None if guide is None else guide.fingerprint(),
        "scale": ratio,
        "model": model.name,
        "fine": fine,
        "coregister": options.coregister,
        "psf": None if options.psf is None else options.psf.to_json(),
        "mtf_gain": options.mtf_gain,
        "tile": tile,
        "format": layout.format,
        "dtype": packing.dtype,
        "nodata": None if packing.nodata is None else repr(float(packing.nodata)),
        "creation": [list(pair) for pair in options.creation],
    }


def _survey_of(job: Job, store: Store) -> Survey:
    """Survey the scene, or take the survey of the interrupted run."""
    before = store.record().get("survey")
    if before is not None:
        return Survey.from_json(before)
    with one_thread():
        known = survey(list(_samples(job)), wishes(job.ratio, job.model, job.options))
    for note in known.notes:
        warnings.warn(note, DualSRWarning, stacklevel=3)
    store.remember("survey", known.to_json())
    return known


def wishes(ratio: int, model: Model, options: Options) -> Wishes:
    """Return what the options say about the survey."""
    return Wishes(ratio, options.psf, options.mtf_gain, options.coregister, subspace=model.spectral)


def _samples(job: Job) -> Iterator[Sample]:
    windows = sample_windows(job.scene.shape)
    margin = sample_margin(job.ratio)
    for window in windows:
        guide = None
        if job.guide is not None:
            guide = job.guide.read(window.scaled(job.ratio).grown(margin))
        yield Sample(job.scene.source.read(window), guide)


def _work(job: Job, known: Survey) -> Work:
    return Work(
        job.scene.shape,
        job.scene.count,
        job.ratio,
        job.sizes.tile,
        job.model,
        job.fine,
        job.layout.packing,
        known,
        memory.device(job.options.device),
    )


def _tiling(job: Job) -> Any:  # noqa: ANN401
    from dualsr_geo.tile import Tiling

    return Tiling(job.scene.shape, job.sizes.tile, job.model.halo)


def _run(
    plan: Plan, jobs: int, client: Any, progress: Callable[[int, int], None] | None  # noqa: ANN401
) -> list[dict[str, Any]]:
    """Run the tiles that are not done yet; return the figures of all in tile order."""
    done = plan.store.done()
    total = len(plan.work.tiling)
    left = [i for i in range(total) if i not in done]
    results = infer.run_here(plan, left, jobs) if client is None else infer.run_on(client, plan, left)
    if progress is not None:
        progress(len(done), total)
    for index, figures in results:
        done[index] = figures
        if progress is not None:
            progress(len(done), total)
    return [done[i] for i in range(total)]


def _report(job: Job, known: Survey, figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what the tiles counted."""
    height, width = job.layout.geobox.shape
    square = np.sum([f["square"] for f in figures], axis=0)
    pixels = np.sum([f["pixels"] for f in figures], axis=0)
    angles = sum(f["angles"] for f in figures)
    rmse = float(np.sqrt(square.sum() / pixels.sum())) if pixels.sum() else None
    per_band = np.sqrt(square / np.maximum(pixels, 1))
    guide = None
    if job.guide is not None:
        covered = sum(f["guided"] for f in figures) / (job.scene.shape[0] * job.scene.shape[1])
        guide = {
            "shift_px": [round(v, 3) for v in known.shift_px],
            "moved_px": [round(v, 3) for v in known.moved_px],
            "coverage": round(covered, 4),
            "relevance": _per_band(known.relevance, known.used, job.scene.count),
        }
    return {
        "output": job.layout.path,
        "scale": job.ratio,
        "shape": [int(height), int(width)],
        "bands": job.scene.count,
        "model": job.model.name,
        "fine": job.fine,
        "guide": guide,
        "consistency": {
            "rmse": rmse,
            "sam_deg": sum(f["angle"] for f in figures) / angles if angles else None,
            "rmse_per_band": [float(f"{v:.6g}") if n else None for v, n in zip(per_band, pixels, strict=True)],
        },
        "clipped": {
            "below_minimum": sum(f["cut"] for f in figures),
            "saturated": sum(f["saturated"] for f in figures),
        },
        "psf": {"source": known.psf_source, "sigma_px": [round(s, 3) for s in known.psf.sigma_px]},
        "notes": list(known.notes),
    }


def _per_band(values: Any, used: Sequence[int], count: int) -> list[float | None] | None:  # noqa: ANN401
    if values is None:
        return None
    out: list[float | None] = [None] * count
    for band, value in zip(used, values, strict=True):
        out[band] = round(float(value), 4)
    return out


def _lineage(job: Job, known: Survey, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the product came to be; the same for every run of the same job."""
    kept = ("scale", "model", "fine", "guide", "consistency", "clipped", "psf", "notes")
    return {
        "software": f"dualsr-geo {dualsr_geo.__version__}",
        "weights_sha256": job.model.sha256,
        "inputs": {"scene": job.identity["scene"], "guide": job.identity["guide"]},
        "parameters": {k: v for k, v in job.identity.items() if k not in ("scene", "guide", "version")},
        **{k: report[k] for k in kept},
    }
