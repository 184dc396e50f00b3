"""Score a product against a reference, and compare models on a scene by the Wald protocol."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

from dualsr_geo.argument_types import (
    checked,
    function,
    integer,
    number,
    number_or_auto,
    only_guide,
    path,
    paths,
    raster,
    raster_or_bands,
    rasters,
    text,
)
from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN
from dualsr_geo.engine.option_keywords import EvaluationKeywords, with_option_keywords
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.engine.plan import choose_scale, place_guides, plan_run
from dualsr_geo.engine.preparation import Raster, SceneInput, as_list
from dualsr_geo.errors import GridError, InputError, OptionError
from dualsr_geo.evaluation.limits import Limits, measure_limits
from dualsr_geo.evaluation.metrics import score
from dualsr_geo.evaluation.wald_protocol import GDAL, ModelResult, WaldTrial, choose_models, ordered, prepare, run_model
from dualsr_geo.io.products.acquisitions import describe_dates
from dualsr_geo.io.products.delivery import describe_delivery
from dualsr_geo.io.scenes import open_delivered, open_guides, open_scene
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.undeclared_fill import warn_of_fill
from dualsr_geo.io.writers.output_records import read_record
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Nodata
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.spectral_indices import spectral_indices
from dualsr_geo.report.data import ReportData
from dualsr_geo.report.gather import gather_report_data, read_survey
from dualsr_geo.report.page import require_report, write_report
from dualsr_geo.report.results import Comparison, Scores
from dualsr_geo.report.views import ReportInputs

Progress = Callable[[str], None]

# MTF gain of a pan band at the Nyquist frequency of the scene (docs/algorithm.md).
GUIDE_MTF_GAIN = 0.15


@reports_defects
@checked(estimate=raster, reference=raster, scale=integer, bidx=text, nodata=number_or_auto, jobs=integer)
def score_product(
    estimate: Raster,
    reference: Raster,
    *,
    scale: int | None = None,
    bidx: str | None = None,
    nodata: Nodata = None,
    jobs: int | None = None,
    trust_references: bool = False,
) -> dict[str, Any]:
    """Score a product against a reference on the same grid.

    Parameters
    ----------
    estimate, reference : path, DataArray or Dataset
        Of the same size and bands.
    scale : int, optional
        Ratio of pixel sizes in ERGAS; without it ERGAS is None.
    bidx : str, optional
        Bands of both, as rio writes them.
    nodata : float or "auto", optional
        Nodata value of both, instead of the one that each declares.
    jobs : int, optional
        Threads; one a core by default.
    trust_references : bool
        Whether both may refer to files outside their folders; see `Options`.

    Returns
    -------
    dict
        psnr_db, psnr_band_mean_db, ssim, sam_deg, ergas, rmse, cc, q2n, uqi, scc, peak, pixels,
        scale, seconds; None where a score is infinite or not defined. indices, where the reference has bands of
        NDVI, NDWI or NDRE: bias and RMSE of each.

    Raises
    ------
    DualSRError
        If the two do not match in size, bands, extent or units, or share no valid pixel.
    """
    start = time.monotonic()
    product, truth = (
        open_scene(r, bidx=bidx, nodata=nodata, trust_references=trust_references) for r in (estimate, reference)
    )
    warn_of_fill(truth)
    _require_same_grid(product, truth)
    indices = spectral_indices(truth.bands)
    measured = score(product.source, truth.source, ratio=_require_scale(scale) or 1, jobs=jobs, indices=indices)
    scores = measured.to_json()
    if scale is None:
        scores["ergas"] = None
    return Scores({**ordered(scores), "scale": scale, "seconds": round(time.monotonic() - start, 2)})


def _require_scale(scale: int | None) -> int | None:
    if scale is not None and scale < 1:
        raise OptionError(
            f"--scale {scale} is not a ratio of pixel sizes, which is 1 or more. Give the ratio of the product."
        )
    return scale


def _require_same_grid(estimate: Scene, reference: Scene) -> None:
    """Check that two georeferenced rasters of one size cover the same extent."""
    a, b = estimate.geobox, reference.geobox
    if estimate.shape != reference.shape or a.crs is None or b.crs is None:
        return
    offset = grid.offset_px(a, b)
    if offset != (0, 0):
        difference = (
            "in pixel size or CRS" if offset is None else f"by {offset[0]} rows and {offset[1]} columns in position"
        )
        raise GridError(
            f"The grids of estimate and reference differ {difference} "
            f"({_corner(estimate)} against {_corner(reference)}). Give both on one grid, e.g. by gdalwarp."
        )


def _corner(scene: Scene) -> str:
    affine = scene.geobox.affine
    return f"{grid.crs_name(scene.geobox)} {affine.c:.8g}, {affine.f:.8g}, pixels of {grid.gsd(scene.geobox):.4g}"


# ---- the Wald protocol -------------------------------------------------------------------


@with_option_keywords
@reports_defects
@checked(
    scene=raster_or_bands,
    rgb=rasters,
    pan=rasters,
    guide=rasters,
    models=paths,
    mtf_gain=number,
    guide_mtf_gain=number,
    report=path,
    progress=function,
)
def evaluate(
    scene: SceneInput,
    *,
    rgb: Raster | Sequence[Raster] | None = None,
    pan: Raster | Sequence[Raster] | None = None,
    guide: Raster | Sequence[Raster] | None = None,
    models: Sequence[str | os.PathLike[str]] | None = None,
    mtf_gain: float | None = None,
    guide_mtf_gain: float = GUIDE_MTF_GAIN,
    options: Options | None = None,
    report: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **keywords: Unpack[EvaluationKeywords],
) -> dict[str, Any]:
    """Compare models by the Wald protocol: degrade scene and guide, sharpen, score against the scene.

    Parameters
    ----------
    scene : path, DataArray or Dataset, or a list of paths
    rgb, pan, guide : path, DataArray or Dataset, or several
        The guide, by any of these names; by default the sharper bands of the product, if it has any.
    models : sequence of str, optional
        By default all models that can run, and ``"gdal-brovey"`` if the guide has one band.
    mtf_gain, guide_mtf_gain : float
        MTF gains at the coarse Nyquist frequency by which scene and guide are degraded, between 0 and 1. The
        scene's is by default that of its sensor, else 0.3. The models do not know them.
    options : Options, optional
        Options to start from; the keywords replace single ones.
    report : path, optional
        An HTML page to write.
    progress : callable, optional
        Called with the name of a model when it begins.
    **keywords
        Fields of `Options`, e.g. ``scale=4``.

    Returns
    -------
    dict
        scene, scale, opened, protocol, and models: name to psnr_db, psnr_band_mean_db, ssim, sam_deg, ergas, rmse,
        cc, q2n, uqi, scc, peak, pixels, indices, seconds, peak_memory_bytes, notes, share_of_guide. And limits, what
        any product can reach: sentences, noise_ceiling_psnr_db, and guide (None without one): interpolation_psnr_db,
        guide_psnr_db, cross_validated_psnr_db, freedom_share, seconds.

    Raises
    ------
    DualSRError
        For any input or option that cannot be used.
    """
    options = changed(options, keywords, evaluate)
    images = as_list(only_guide(rgb=rgb, pan=pan, guide=guide))
    if report is not None:
        require_report(
            report,
            overwrite=options.overwrite,
            inputs=_paths([*(scene if isinstance(scene, list | tuple) else [scene]), *images]),
        )
    trust = options.trust_references
    delivery = open_delivered(
        scene,
        bidx=options.bidx,
        nodata=options.nodata,
        gsd=options.gsd_m,
        sensor=options.sensor,
        wavelengths=options.wavelengths,
        trust_references=trust,
    )
    opened = delivery.scene
    warn_of_fill(opened)
    given = [g for r in images for g in open_guides(r, trust_references=trust)]
    guides = place_guides(opened, given or delivery.guides)
    if report is not None:
        files = [file for s in (opened, *guides) for file in s.source.files_read()]
        require_report(report, overwrite=options.overwrite, inputs=files)
    scale = choose_scale(opened, guides, options)
    names = choose_models(models, opened.count, guides, scale)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="dualsr-evaluate-")))
        trial = prepare(opened, guides, scale, _scene_mtf_gain(mtf_gain, opened), guide_mtf_gain, directory)
        results = []
        for name in names:
            if progress is not None:
                progress(name)
            results.append(run_model(trial, name, options))
        limits = measure_limits(trial, results, options)
        sensor = [] if opened.sensor is None else [opened.sensor.sentence]
        comparison = {
            "scene": opened.name,
            "scale": scale,
            "opened": [
                *describe_delivery(delivery, has_guide=bool(images)),
                *describe_dates(opened, guides),
                *sensor,
            ],
            "protocol": trial.protocol,
            "limits": limits.to_json(),
            "models": {r.model: {**r.to_json(), **limits.share_of(r)} for r in results},
        }
        if report is not None:
            write_report(_report_data(opened.name, trial, results, limits), report, overwrite=options.overwrite)
            comparison["report"] = os.fspath(report)
    return Comparison(comparison)


def _scene_mtf_gain(mtf_gain: float | None, scene: Scene) -> float:
    sensor_gain = None if scene.sensor is None else scene.sensor.mtf_gain
    return next((gain for gain in (mtf_gain, sensor_gain) if gain is not None), DEFAULT_MTF_GAIN)


def _paths(rasters: Sequence[Raster]) -> list[str]:
    return [os.fspath(r) for r in rasters if isinstance(r, str | os.PathLike)]


# ---- the report --------------------------------------------------------------------------


def _report_data(scene_name: str, trial: WaldTrial, results: Sequence[ModelResult], limits: Limits) -> ReportData:
    """Return what the report shows: crops of the first model, scores of all."""
    scored = [r for r in results if r.scores is not None]
    if not scored:
        raise InputError(f"No model made a product to report: {results[0].error}")
    first, (bands, height, width) = scored[0], trial.reference.shape
    format_ = "GTiff" if first.model == GDAL else "Zarr"
    scene = open_scene(trial.scene)
    guide = plan_run(scene, [open_scene(g) for g in trial.guides], Options(scale=trial.scale)).guide
    inputs = ReportInputs(
        scene,
        open_scene(first.product),
        trial.scale,
        guide=guide,
        survey=read_survey(str(first.product), format_),
        reference=trial.reference,
        provenance={"protocol": trial.protocol, **(read_record(str(first.product), format_, "lineage") or {})},
    )
    facts = {
        "Ratio": str(trial.scale),
        "Size": f"{bands} bands, {height} x {width} pixels",
        "Protocol": "Wald: the scene is degraded by the MTF, sharpened, and compared with itself",
    }
    return gather_report_data(
        inputs,
        f"{scene_name}, evaluated at ratio {trial.scale}",
        facts,
        scores={r.model: {k: v for k, v in r.to_json().items() if k not in ("notes", "indices")} for r in scored},
        per_band={r.model: r.scores.per_band for r in scored if r.scores is not None},
        model=first.model,
        notes=[*limits.sentences, *first.notes, *(f"{r.model}: {r.error}" for r in results if r.error)],
    )
