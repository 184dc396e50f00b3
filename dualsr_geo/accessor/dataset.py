"""`.dualsr` of a Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from dualsr_geo.accessor.array import ArrayAccessor
from dualsr_geo.accessor.dates import Guide
from dualsr_geo.accessor.pictures import picture
from dualsr_geo.accessor.scores import evaluate_scene
from dualsr_geo.accessor.variables import by_variable
from dualsr_geo.argument_types import checked, integer, number, raster, rasters
from dualsr_geo.engine.options import Options
from dualsr_geo.io.storage.defects import reports_defects

if TYPE_CHECKING:
    from PIL.Image import Image


@xr.register_dataset_accessor("dualsr")  # type: ignore[no-untyped-call]
class DatasetAccessor:
    """Sharpen a Dataset whose 2-D variables are the bands of a scene, or whose 3-D variables are scenes."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @reports_defects
    def upscale(self, *, options: Options | None = None, **keywords: Any) -> xr.Dataset:  # see ArrayAccessor.upscale
        """Sharpen the scene; see `ArrayAccessor.upscale`. The uncertainty of a variable is ``<name>_uncertainty``."""

        def sharpen(array: xr.DataArray) -> list[xr.DataArray]:
            result = ArrayAccessor(array).upscale(options=options, **keywords)
            return list(result.data_vars.values()) if isinstance(result, xr.Dataset) else [result]

        product, *deviations = by_variable(self._dataset, sharpen)
        return _with_deviations(product, deviations[0]) if deviations else product

    @reports_defects
    @checked(scale=integer, mtf_gain=number)
    def degrade(self, *, scale: int, mtf_gain: float = 0.3) -> xr.Dataset:
        """Blur and decimate; see `ArrayAccessor.degrade`."""

        def degrade(array: xr.DataArray) -> list[xr.DataArray]:
            return [ArrayAccessor(array).degrade(scale=scale, mtf_gain=mtf_gain)]

        return by_variable(self._dataset, degrade)[0]

    @reports_defects
    @checked(reference=raster, rgb=rasters)
    def evaluate(
        self,
        reference: Guide | None = None,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        scale: int | None = None,
        **keywords: Any,  # see ArrayAccessor.evaluate
    ) -> dict[str, Any]:
        """Score a product or compare models; see `ArrayAccessor.evaluate`."""
        return evaluate_scene(self._dataset, reference, rgb, scale, keywords)

    @reports_defects
    @checked(longest=integer)
    def quicklook(self, bands: Sequence[int] | None = None, *, longest: int = 1024) -> Image:
        """Return a small picture; see `ArrayAccessor.quicklook`."""
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
