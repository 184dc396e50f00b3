"""Inspections of a scene of xarray: its guide, its survey, the report of its product, its wavelengths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import xarray as xr

from dualsr_geo.accessor.dates import Guide, require_one_date
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import InputError

if TYPE_CHECKING:
    from dualsr_geo.surveying.survey import Survey

Scene = xr.DataArray | xr.Dataset
Location = str | os.PathLike[str]


def guide_check(
    scene: Scene, guides: Sequence[Guide] | None, options: Options, plot: Location | None
) -> dict[str, Any]:
    """Return how a guide fits a scene; see `ArrayAccessor.guide_check`."""
    from dualsr_geo.evaluation.guide_check import check_guide  # noqa: PLC0415  # loads torch

    require_one_date(scene)
    return check_guide(scene, rgb=guides, plot=plot, options=options)


def survey(scene: Scene, guides: Sequence[Guide] | None, options: Options) -> Survey:
    """Return the survey of a scene; see `ArrayAccessor.survey`."""
    from dualsr_geo.engine.plan import plan_run  # noqa: PLC0415  # loads torch
    from dualsr_geo.engine.preparation import open_inputs  # noqa: PLC0415
    from dualsr_geo.engine.scene_survey import survey_scene  # noqa: PLC0415

    require_one_date(scene)
    delivery, images = open_inputs(scene, guides, options)
    plan = plan_run(delivery.scene, images, options)
    return survey_scene(plan.inputs, plan.scene.shape, plan.survey_options)


def report(scene: Scene, where: Location, guides: Sequence[Guide] | None, options: Options) -> dict[str, Any]:
    """Write the report of a product; see `ArrayAccessor.report`."""
    from dualsr_geo.engine.upscale import upscale  # noqa: PLC0415  # loads torch
    from dualsr_geo.report.page import require_report  # noqa: PLC0415

    require_one_date(scene)
    require_report(where, overwrite=options.overwrite, inputs=())
    with TemporaryDirectory(prefix="dualsr-report-") as folder:
        product = Path(folder) / "product.zarr"
        own = replace(options, format=None, creation=(), resume=False, work_dir=None, overwrite=options.overwrite)
        result = upscale(scene, product, rgb=guides, options=own, report=where)
    result.pop("output", None)
    return result


def with_wavelengths(array: xr.DataArray, wavelengths: Location | Sequence[float] | None) -> xr.DataArray:
    """Return an array with its wavelengths as coordinates; see `ArrayAccessor.with_wavelengths`."""
    from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415  # loads rasterio
    from dualsr_geo.io.to_xarray import with_band_coordinates  # noqa: PLC0415

    given = os.fspath(wavelengths) if isinstance(wavelengths, os.PathLike) else wavelengths
    bands = open_scene(array, wavelengths=given).bands
    source = array.encoding.get("source")
    if wavelengths is None and all(b.wavelength_nm is None for b in bands) and source is not None:
        file = open_scene(str(source)).bands
        numbers = array["band"].to_numpy() if "band" in array.coords else range(1, len(bands) + 1)
        # After a selection of bands rioxarray keeps their numbers.
        bands = tuple(file[int(n) - 1] for n in numbers) if all(1 <= n <= len(file) for n in numbers) else bands
    if all(b.wavelength_nm is None for b in bands):
        raise InputError(
            "The wavelengths of the bands are not known: neither the array nor its file states them. "
            "Give --wavelengths, e.g. --wavelengths 400:2500, numbers in nm or a file."
        )
    return with_band_coordinates(array, bands)
