"""The judge: products scored against a reference, and models against each other by the Wald protocol."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import xarray as xr

from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import choose_scale, place_guide, plan_run
from dualsr_geo.errors import GridError, InputError, OptionError
from dualsr_geo.evaluation.metrics import score
from dualsr_geo.evaluation.wald_protocol import GDAL, Outcome, WaldTrial, contenders, ordered, prepare, run
from dualsr_geo.io.products.delivery import describe_delivery
from dualsr_geo.io.scenes import open_delivered, open_guides, open_scene
from dualsr_geo.io.writers.output_spec import read_record
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.report import gather, views
from dualsr_geo.report.data import ReportData
from dualsr_geo.report.page import require_report, write_report

Raster = str | os.PathLike[str] | xr.DataArray | xr.Dataset
Progress = Callable[[str], None]

# A pan band is blurred more than the bands of a scene (research/state-of-the-art.md section 4).
GUIDE_MTF_GAIN = 0.15


def score_product(
    estimate: Raster,
    reference: Raster,
    *,
    scale: int | None = None,
    bidx: str | None = None,
    nodata: float | None = None,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Score a product against a reference on the same grid.

    Parameters
    ----------
    estimate, reference : path, DataArray or Dataset
        Of the same size and bands.
    scale : int, optional
        The ratio that ERGAS speaks of; without it ERGAS is None.
    bidx : str, optional
        Bands of both, as rio writes them.
    nodata : float, optional
        Stored value of both that means "nothing here", instead of the one that each states.
    jobs : int, optional
        Threads; one a core if left out.

    Returns
    -------
    dict
        psnr_db, psnr_band_mean_db, ssim, sam_deg, ergas, rmse, cc, q2n, uqi, scc, peak, pixels,
        scale, seconds; None where a figure is infinite or not defined.

    Raises
    ------
    DualSRError
        If the two do not match in size, bands, place or units, or share no valid pixel.
    """
    began = time.monotonic()
    made, truth = (open_scene(r, bidx=bidx, nodata=nodata) for r in (estimate, reference))
    _require_same_place(made, truth)
    found = score(made.source, truth.source, ratio=_require_scale(scale) or 1, jobs=jobs).to_json()
    if scale is None:
        found["ergas"] = None
    return {**ordered(found), "scale": scale, "seconds": round(time.monotonic() - began, 2)}


def _require_scale(scale: int | None) -> int | None:
    if scale is not None and scale < 1:
        raise OptionError(f"--scale {scale} is no ratio of pixel sizes. Give the ratio that the product was made with.")
    return scale


def _require_same_place(estimate: Scene, reference: Scene) -> None:
    """Check that two georeferenced rasters of one size also lie on each other."""
    a, b = estimate.geobox, reference.geobox
    if estimate.shape != reference.shape or a.crs is None or b.crs is None:
        return
    off = grid.offset_px(a, b)
    if off != (0, 0):
        where = "in other pixels or another CRS" if off is None else f"{off[0]} rows and {off[1]} columns away"
        raise GridError(
            f"The estimate does not lie on the reference: its first pixel is {where} "
            f"({_corner(estimate)} against {_corner(reference)}). Give both on one grid, e.g. by gdalwarp."
        )


def _corner(scene: Scene) -> str:
    at = scene.geobox.affine
    return f"{grid.crs_name(scene.geobox)} {at.c:.8g}, {at.f:.8g}, pixels of {grid.gsd(scene.geobox):.4g}"


# ---- the Wald protocol -------------------------------------------------------------------


def evaluate(
    scene: Raster,
    *,
    rgb: Raster | Sequence[Raster] | None = None,
    models: Sequence[str | os.PathLike[str]] | None = None,
    mtf_gain: float | None = None,
    guide_mtf_gain: float = GUIDE_MTF_GAIN,
    options: Options | None = None,
    report: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **changes: Any,  # fields of Options
) -> dict[str, Any]:
    """Compare models by the Wald protocol: degrade scene and guide, sharpen, score against the scene.

    Parameters
    ----------
    scene : path, DataArray or Dataset
    rgb : path, DataArray or Dataset, or several
        The guide.
    models : sequence of str, optional
        All that can run are compared if left out, ``"gdal-brovey"`` among them where the guide is one band.
    mtf_gain, guide_mtf_gain : float
        MTF gains at the coarse Nyquist frequency by which scene and guide are degraded, between 0 and 1;
        the scene's left out, its instrument's, else 0.3. The models are not told.
    options : Options, optional
    report : path, optional
        An HTML page to write.
    progress : callable, optional
        Called with a model's name when it begins.
    **changes
        Fields of `Options`, e.g. ``scale=4``.

    Returns
    -------
    dict
        scene, scale, opened, protocol, and models: name to psnr_db, psnr_band_mean_db, ssim, sam_deg, ergas, rmse,
        cc, q2n, uqi, scc, peak, pixels, seconds, peak_memory_bytes, notes.

    Raises
    ------
    DualSRError
        For any input or option that cannot be carried out.
    """
    wanted = replace(options or Options(), **changes)
    if report is not None:
        require_report(report, overwrite=wanted.overwrite)
    delivered = open_delivered(scene, bidx=wanted.bidx, nodata=wanted.nodata, gsd=wanted.gsd, sensor=wanted.sensor)
    opened = delivered.scene
    given = [g for r in _several(rgb) for g in open_guides(r)] or delivered.guides
    guides = [place_guide(opened, g) for g in given]
    scale = choose_scale(opened, guides, wanted)
    names = contenders(models, opened.count, guides, scale)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="dualsr-evaluate-")))
        trial = prepare(opened, guides, scale, _gain(mtf_gain, opened), guide_mtf_gain, folder)
        outcomes = []
        for name in names:
            if progress is not None:
                progress(name)
            outcomes.append(run(trial, name, wanted))
        found = {
            "scene": opened.name,
            "scale": scale,
            "opened": [*describe_delivery(delivered, lent=bool(_several(rgb))), *_said(opened)],
            "protocol": trial.protocol,
            "models": {o.model: o.to_json() for o in outcomes},
        }
        if report is not None:
            write_report(_page(trial, outcomes, found), report, overwrite=wanted.overwrite)
            found["report"] = os.fspath(report)
    return found


def _gain(given: float | None, scene: Scene) -> float:
    known = None if scene.sensor is None else scene.sensor.mtf_gain
    return next((gain for gain in (given, known) if gain is not None), DEFAULT_MTF_GAIN)


def _said(scene: Scene) -> list[str]:
    return [] if scene.sensor is None else [scene.sensor.sentence]


def _several(rgb: Raster | Sequence[Raster] | None) -> list[Raster]:
    if rgb is None:
        return []
    return [rgb] if isinstance(rgb, str | os.PathLike | xr.DataArray | xr.Dataset) else list(rgb)


# ---- the report --------------------------------------------------------------------------


def _page(trial: WaldTrial, outcomes: Sequence[Outcome], found: dict[str, Any]) -> ReportData:
    """Return what the report shows: crops of the first model, scores of all."""
    scored = [o for o in outcomes if o.scores is not None]
    if not scored:
        raise InputError(f"No model made anything to report: {outcomes[0].error}")
    best, (bands, height, width) = scored[0], trial.reference.shape
    kind = "GTiff" if best.model == GDAL else "Zarr"
    scene = open_scene(trial.scene)
    guides = [open_scene(g) for g in trial.guides]
    guided = plan_run(scene, guides, Options(scale=trial.scale)).guide
    material = views.Material(
        scene,
        open_scene(best.product),
        trial.scale,
        guided,
        gather.carried_survey(str(best.product), kind),
        trial.reference,
        None,
        {"protocol": trial.protocol, **(read_record(str(best.product), kind, "lineage") or {})},
    )
    facts = {
        "Ratio": str(trial.scale),
        "Size": f"{bands} bands, {height} x {width} pixels",
        "Protocol": "Wald: degraded by the MTF, sharpened back, compared with the scene as it was",
    }
    return gather.gather_report_data(
        material,
        f"{found['scene']}, evaluated at ratio {trial.scale}",
        facts,
        scores={o.model: {k: v for k, v in o.to_json().items() if k != "notes"} for o in scored},
        per_band={o.model: o.scores.per_band for o in scored if o.scores is not None},
        shown=best.model,
        notes=[*best.notes, *(f"{o.model}: {o.error}" for o in outcomes if o.error)],
    )
