"""`.dualsr` of a Dataset."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import xarray as xr
from numpy.typing import DTypeLike

from dualsr_geo.accessor import inspections
from dualsr_geo.accessor.array import ArrayAccessor
from dualsr_geo.accessor.dates import Guide
from dualsr_geo.accessor.pictures import picture
from dualsr_geo.accessor.scores import evaluate_scene
from dualsr_geo.accessor.variables import by_variable
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
    rasters,
    text,
)
from dualsr_geo.engine.option_keywords import EvaluationKeywords, OptionKeywords, Path
from dualsr_geo.engine.option_types import dtype as data_type
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.raster.packing import Nodata

if TYPE_CHECKING:
    from PIL.Image import Image

    from dualsr_geo.surveying.survey import Survey

Method = TypeVar("Method", bound=Callable[..., Any])


def documented_as(original: Callable[..., Any], note: str = "") -> Callable[[Method], Method]:
    """Return a decorator that shows a method with the signature and the docstring of another one.

    Parameters
    ----------
    original : callable
        The method of `ArrayAccessor`.
    note : str
        What is different, a sentence after the first paragraph.
    """

    def decorate(method: Method) -> Method:
        own = inspect.signature(method).return_annotation
        method.__signature__ = inspect.signature(original).replace(return_annotation=own)  # type: ignore[attr-defined]
        first, _, rest = (original.__doc__ or "").partition("\n\n")
        method.__doc__ = "\n\n".join([first, *([f"        {note}"] if note else []), rest])
        return method

    return decorate


@xr.register_dataset_accessor("dualsr")  # type: ignore[no-untyped-call]  # xarray does not type its decorator
class DatasetAccessor:
    """Sharpen a Dataset whose 2-D variables are the bands of a scene, or whose 3-D variables are scenes."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @documented_as(ArrayAccessor.upscale, "Returns a Dataset; the uncertainty of a variable is ``<name>_uncertainty``.")
    @reports_defects
    @checked(rgb=rasters, pan=rasters, guide=rasters)
    def upscale(
        self,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        pan: Guide | Sequence[Guide] | None = None,
        guide: Guide | Sequence[Guide] | None = None,
        options: Options | None = None,
        **keywords: Unpack[OptionKeywords],
    ) -> xr.Dataset:
        """See `ArrayAccessor.upscale`."""
        images = only_guide(rgb=rgb, pan=pan, guide=guide)
        chosen = changed(options, keywords, ArrayAccessor.upscale)

        def sharpen(array: xr.DataArray) -> list[xr.DataArray]:
            result = ArrayAccessor(array).upscale(rgb=images, options=chosen)
            return list(result.data_vars.values()) if isinstance(result, xr.Dataset) else [result]

        product, *deviations = by_variable(self._dataset, sharpen)
        return _with_deviations(product, deviations[0]) if deviations else product

    @documented_as(ArrayAccessor.degrade)
    @reports_defects
    @checked(scale=integer, mtf_gain=number, bidx=text, dtype=data_type, nodata=number_or_auto)
    def degrade(
        self,
        *,
        scale: int,
        mtf_gain: float = 0.3,
        bidx: str | None = None,
        dtype: DTypeLike | None = None,
        nodata: Nodata = None,
    ) -> xr.Dataset:
        """See `ArrayAccessor.degrade`."""

        def degrade(array: xr.DataArray) -> list[xr.DataArray]:
            accessor = ArrayAccessor(array)
            return [accessor.degrade(scale=scale, mtf_gain=mtf_gain, bidx=bidx, dtype=dtype, nodata=nodata)]

        return by_variable(self._dataset, degrade)[0]

    @documented_as(ArrayAccessor.evaluate)
    @reports_defects
    @checked(
        reference=raster,
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
        self,
        reference: Guide | None = None,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        pan: Guide | Sequence[Guide] | None = None,
        guide: Guide | Sequence[Guide] | None = None,
        models: Sequence[Path] | None = None,
        mtf_gain: float | None = None,
        guide_mtf_gain: float | None = None,
        options: Options | None = None,
        report: Path | None = None,
        progress: Callable[[str], None] | None = None,
        **keywords: Unpack[EvaluationKeywords],
    ) -> dict[str, Any]:
        """See `ArrayAccessor.evaluate`."""
        chosen = changed(options, keywords, ArrayAccessor.evaluate)
        images = only_guide(rgb=rgb, pan=pan, guide=guide)
        others = {"models": models, "mtf_gain": mtf_gain, "guide_mtf_gain": guide_mtf_gain, "report": report}
        return evaluate_scene(self._dataset, reference, images, chosen, {**others, "progress": progress})

    @documented_as(ArrayAccessor.guide_check)
    @reports_defects
    @checked(rgb=rasters, pan=rasters, guide=rasters, plot=path)
    def guide_check(
        self,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        pan: Guide | Sequence[Guide] | None = None,
        guide: Guide | Sequence[Guide] | None = None,
        plot: Path | None = None,
        options: Options | None = None,
        **keywords: Unpack[OptionKeywords],
    ) -> dict[str, Any]:
        """See `ArrayAccessor.guide_check`."""
        chosen = changed(options, keywords, ArrayAccessor.guide_check)
        return inspections.guide_check(self._dataset, only_guide(rgb=rgb, pan=pan, guide=guide), chosen, plot)

    @documented_as(ArrayAccessor.survey)
    @reports_defects
    @checked(rgb=rasters, pan=rasters, guide=rasters)
    def survey(
        self,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        pan: Guide | Sequence[Guide] | None = None,
        guide: Guide | Sequence[Guide] | None = None,
        options: Options | None = None,
        **keywords: Unpack[OptionKeywords],
    ) -> Survey:
        """See `ArrayAccessor.survey`."""
        chosen = changed(options, keywords, ArrayAccessor.survey)
        return inspections.survey(self._dataset, only_guide(rgb=rgb, pan=pan, guide=guide), chosen)

    @documented_as(ArrayAccessor.report)
    @reports_defects
    @checked(where=path, rgb=rasters, pan=rasters, guide=rasters)
    def report(
        self,
        where: Path,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        pan: Guide | Sequence[Guide] | None = None,
        guide: Guide | Sequence[Guide] | None = None,
        options: Options | None = None,
        **keywords: Unpack[OptionKeywords],
    ) -> dict[str, Any]:
        """See `ArrayAccessor.report`."""
        chosen = changed(options, keywords, ArrayAccessor.report)
        return inspections.report(self._dataset, where, only_guide(rgb=rgb, pan=pan, guide=guide), chosen)

    @documented_as(ArrayAccessor.quicklook)
    @reports_defects
    @checked(longest=integer)
    def quicklook(self, bands: Sequence[int] | None = None, *, longest: int = 1024) -> Image:
        """See `ArrayAccessor.quicklook`."""
        return picture(self._dataset, bands, longest)


def _with_deviations(product: xr.Dataset, deviations: xr.Dataset) -> xr.Dataset:
    """Return a product with the standard deviations of its variables, which name each other in their attributes."""
    from dualsr_geo.io.writers.output_spec import deviation_attrs  # noqa: PLC0415  # loads rasterio

    variables = {}
    for name, deviation in deviations.data_vars.items():
        product[name].attrs["ancillary_variables"] = f"{name}_uncertainty"
        deviation.attrs |= deviation_attrs(deviation.attrs, str(name))
        variables[f"{name}_uncertainty"] = deviation
    return product.assign(variables)
