"""The accessor `.dualsr` of xarray objects: the functions of the library, evaluated lazily."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dualsr_geo.argument_types import checked, integer, number, raster, rasters, wrong
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.errors import BandError, InputError, OptionError
from dualsr_geo.io.storage.defects import reports_defects

if TYPE_CHECKING:
    from PIL.Image import Image

    from dualsr_geo.raster.scene import Scene

Guide = xr.DataArray | xr.Dataset | str | os.PathLike[str]
TIME = "time"
# Attribute of the packing of one band, of the packing of several bands, and the default value.
PACKED = (("scale_factor", "scales", 1.0), ("add_offset", "offsets", 0.0))


@xr.register_dataarray_accessor("dualsr")  # type: ignore[no-untyped-call]  # xarray does not type its decorator
class ArrayAccessor:
    """Sharpen a DataArray (band, y, x), or (time, band, y, x) date by date."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @reports_defects
    @checked(rgb=rasters)
    def upscale(
        self,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        options: Options | None = None,
        **changes: Any,  # fields of Options
    ) -> Any:  # a DataArray, or a Dataset if `uncertainty` is set; no type expresses that
        """Sharpen the scene; nothing is computed before `.compute()`.

        Parameters
        ----------
        rgb : DataArray, Dataset or path, or several
            The guide. A guide with a time dimension has one image for each date of the scene.
        options : Options, optional
        **changes
            Fields of `dualsr_geo.Options`, e.g. ``scale=4``.

        Returns
        -------
        DataArray
            The product on the target grid, masked or as stored like the scene, lazy. With
            ``uncertainty=True`` a Dataset of the product, under its name, and ``uncertainty``.

        Raises
        ------
        DualSRError
            If an input or an option cannot be used.
        """
        chosen = changed(options, changes)
        guides: list[Guide] = [] if rgb is None else list(rgb)  # type: ignore[arg-type]  # several, as `rasters` returns
        _require_dates(self._array, guides)
        return _by_date(self._array, lambda array, date: _upscale(array, _guides(guides, date), chosen))

    @reports_defects
    @checked(scale=integer, mtf_gain=number)
    def degrade(self, *, scale: int, mtf_gain: float = 0.3) -> xr.DataArray:
        """Blur by a Gaussian MTF and keep every `scale`-th pixel.

        Parameters
        ----------
        scale : int
            Ratio of pixel sizes.
        mtf_gain : float
            MTF gain at the coarse Nyquist frequency, between 0 and 1.
        """
        from dualsr_geo.engine.lazy import degrade  # noqa: PLC0415  # loads torch

        result: xr.DataArray = _by_date(self._array, lambda array, _: degrade(array, scale, mtf_gain))
        return result

    @reports_defects
    @checked(reference=raster, rgb=rasters)
    def evaluate(
        self,
        reference: Guide | None = None,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        scale: int | None = None,
        **keywords: Any,  # of dualsr_geo.evaluation.evaluate
    ) -> dict[str, Any]:
        """Score a product against a reference, or compare models on a scene by the Wald protocol.

        Parameters
        ----------
        reference : DataArray, Dataset or path, optional
            The reference, on the grid of the product. Without it models are compared.
        rgb : DataArray, Dataset or path, or several
            The guide.
        scale : int, optional
            The ratio of pixel sizes; with a reference it is used for ERGAS only.
        **keywords
            Of `dualsr_geo.evaluation.evaluate.evaluate` (``models``, ``mtf_gain``, ``report``, ...), or of
            `dualsr_geo.evaluation.evaluate.score_product`.

        Returns
        -------
        dict
            The scores. Without a reference ``models`` maps names to scores; scale and protocol are further keys.

        Raises
        ------
        DualSRError
            If an input or an option cannot be used.
        """
        return _evaluate(self._array, reference, rgb, scale, keywords)

    @reports_defects
    @checked(longest=integer)
    def quicklook(self, bands: Sequence[int] | None = None, *, longest: int = 1024) -> Image:
        """Return a small picture, in natural colours if the wavelengths are known.

        Parameters
        ----------
        bands : sequence of int, optional
            One band, or three for red, green and blue, counted from 1.
        longest : int
            Largest length of the longer side, pixels.

        Returns
        -------
        PIL.Image.Image
            Stretched from the 2nd to the 98th percentile; transparent where the scene has no value.
        """
        return _quicklook(self._array, bands, longest)


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

        product, *deviations = _by_variable(self._dataset, sharpen)
        return _with_deviations(product, deviations[0]) if deviations else product

    @reports_defects
    @checked(scale=integer, mtf_gain=number)
    def degrade(self, *, scale: int, mtf_gain: float = 0.3) -> xr.Dataset:
        """Blur and decimate; see `ArrayAccessor.degrade`."""

        def degrade(array: xr.DataArray) -> list[xr.DataArray]:
            return [ArrayAccessor(array).degrade(scale=scale, mtf_gain=mtf_gain)]

        return _by_variable(self._dataset, degrade)[0]

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
        return _evaluate(self._dataset, reference, rgb, scale, keywords)

    @reports_defects
    @checked(longest=integer)
    def quicklook(self, bands: Sequence[int] | None = None, *, longest: int = 1024) -> Image:
        """Return a small picture; see `ArrayAccessor.quicklook`."""
        return _quicklook(self._dataset, bands, longest)


def _with_deviations(product: xr.Dataset, deviations: xr.Dataset) -> xr.Dataset:
    """Return a product with the standard deviations of its variables, which name each other in their attributes."""
    from dualsr_geo.io.writers.output_spec import deviation_attrs  # noqa: PLC0415  # loads rasterio

    variables = {}
    for name, deviation in deviations.data_vars.items():
        product[name].attrs["ancillary_variables"] = f"{name}_uncertainty"
        deviation.attrs |= deviation_attrs(deviation.attrs, str(name))
        variables[f"{name}_uncertainty"] = deviation
    return product.assign(variables)


def _evaluate(
    scene: xr.DataArray | xr.Dataset,
    reference: Guide | None,
    rgb: Guide | Sequence[Guide] | None,
    scale: int | None,
    keywords: dict[str, Any],
) -> dict[str, Any]:
    from dualsr_geo.evaluation.evaluate import evaluate, score_product  # noqa: PLC0415  # loads torch

    _require_one_date(scene)
    if reference is None:
        return evaluate(scene, rgb=rgb, scale=scale, **keywords)
    if rgb is not None:
        raise InputError("`reference` scores a finished product, which needs no guide (`rgb`). Give one of the two.")
    return score_product(scene, reference, scale=scale, **keywords)


def _quicklook(scene: xr.DataArray | xr.Dataset, bands: Sequence[int] | None, longest: int) -> Image:
    from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415  # loads rasterio
    from dualsr_geo.report.quicklook import quicklook, visible_bands  # noqa: PLC0415

    _require_one_date(scene)
    if longest < 1:
        raise OptionError(f"`longest` is {longest} pixels. Give 1 or more.")
    opened = open_scene(scene)
    chosen = visible_bands(opened.bands, opened.count) if bands is None else _zero_based(bands, opened.count)
    step = max(1.0, max(opened.shape) / longest)
    height, width = (max(1, round(n / step)) for n in opened.shape)
    cube = np.stack([opened.source.thumbnail(b, (height, width)) for b in chosen])
    return quicklook(cube, tuple(opened.bands[b] for b in chosen), longest=longest)


def _zero_based(bands: Sequence[int], count: int) -> tuple[int, ...]:
    if isinstance(bands, str | bytes) or not isinstance(bands, Iterable):
        raise wrong("bands", bands, "a list of one or three band numbers, e.g. [3, 2, 1]")
    bands = [integer("bands", band) for band in bands]
    if len(bands) not in (1, 3) or not all(1 <= b <= count for b in bands):
        raise BandError(
            f"A picture has one or three bands, and the scene has {count}; the bands are {list(bands)}. "
            f"Give one or three within 1..{count}."
        )
    return tuple(b - 1 for b in bands)


def _require_one_date(scene: xr.DataArray | xr.Dataset) -> None:
    if TIME in scene.dims and scene.sizes[TIME] > 1:
        raise InputError(f"The scene has {scene.sizes[TIME]} dates. Give one, e.g. .isel({TIME}=0).")


def _upscale(array: xr.DataArray, guides: Sequence[Guide], options: Options) -> xr.DataArray | xr.Dataset:
    from dualsr_geo.engine.lazy import as_dataarray, as_dataset  # noqa: PLC0415  # loads torch
    from dualsr_geo.engine.plan import plan_run  # noqa: PLC0415
    from dualsr_geo.engine.preparation import scene_nodata  # noqa: PLC0415
    from dualsr_geo.io.scenes import open_guides, open_scene  # noqa: PLC0415

    scene = open_scene(
        array,
        bidx=options.bidx,
        nodata=scene_nodata(options),
        sensor=options.sensor,
        wavelengths=options.wavelengths,
    )
    plan = plan_run(
        scene,
        [image for guide in guides for image in open_guides(guide, trust_references=options.trust_references)],
        options,
    )
    cube = _array_of(scene)
    return as_dataset(plan, cube) if options.uncertainty else as_dataarray(plan, cube)


def _array_of(scene: Scene) -> xr.DataArray:
    from dualsr_geo.io.readers.array_sources import ArraySource  # noqa: PLC0415

    if not isinstance(scene.source, ArraySource):
        raise TypeError(f"{scene.name} is no xarray object")
    return scene.source.array


# ---- time stacks -------------------------------------------------------------------------


def _guides(guides: Sequence[Guide], date: int | None) -> list[Guide]:
    """Return the guides of a date of the scene."""
    return [_of_date(guide, date) for guide in guides]


def _require_dates(scene: xr.DataArray, guides: Sequence[Guide]) -> None:
    """Check that the scene has dates, if it has a time dimension, and each guide one date or as many as the scene."""
    if TIME in scene.dims and not scene.sizes[TIME]:
        raise InputError(f"The scene has the dimension {TIME} of no date. Give one or more, or drop the dimension.")
    dates = scene.sizes[TIME] if TIME in scene.dims else 1
    for guide in guides:
        if isinstance(guide, xr.DataArray | xr.Dataset) and guide.sizes.get(TIME, dates) != dates:
            raise InputError(
                f"The guide has {guide.sizes[TIME]} dates and the scene {dates}. Give one image for each date of the scene, "
                f"or one without the dimension {TIME} for all, e.g. rgb=guide.isel({TIME}=0)."
            )


def _of_date(guide: Guide, date: int | None) -> Guide:
    if isinstance(guide, xr.DataArray | xr.Dataset) and TIME in guide.dims:
        return guide.isel({TIME: date or 0})
    return guide


def _by_date(array: xr.DataArray, work: Callable[[xr.DataArray, int | None], Any]) -> Any:  # as `work` returns
    """Apply `work` to each date of a scene and its index, and stack the results."""
    if TIME not in array.dims:
        return work(array, None)
    _require_dates(array, ())
    results = [work(array.isel({TIME: i}), i) for i in range(array.sizes[TIME])]
    stack = xr.concat(results, dim=array[TIME] if TIME in array.coords else TIME, join="override")
    stack.encoding = results[0].encoding
    if isinstance(stack, xr.Dataset):
        for name, variable in stack.data_vars.items():
            variable.encoding = results[0][name].encoding
    return stack


# ---- datasets ----------------------------------------------------------------------------


def _by_variable(dataset: xr.Dataset, work: Callable[[xr.DataArray], list[xr.DataArray]]) -> list[xr.Dataset]:
    """Apply `work` to the scenes of a Dataset; return a Dataset for each array that `work` returns.

    A 3-D variable is a scene; without any, the 2-D variables are the bands of one scene.
    """
    names = [n for n, v in dataset.data_vars.items() if v.ndim >= 2]  # grid mappings are scalars
    if not names:
        from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415  # loads rasterio

        # Its error names what is missing.
        open_scene(dataset)
    if cubes := [n for n in names if {d for d in dataset[n].dims if d != TIME} - set(dataset[names[0]].dims[-2:])]:
        results = {n: work(dataset[n]) for n in cubes}
    else:
        scenes = work(_stacked([dataset[n] for n in names]))
        results = {n: [_layer(scene, i, dataset[n]) for scene in scenes] for i, n in enumerate(names)}
    return [
        xr.Dataset(dict(zip(results, arrays, strict=True)), attrs=dataset.attrs)
        for arrays in zip(*results.values(), strict=True)
    ]


def _stacked(layers: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return 2-D variables as the bands of one scene, each with its own scale and offset."""
    _require_one_nodata(layers)
    cube = xr.concat(layers, dim="band", join="override", combine_attrs="override")
    cube = cube.assign_coords(band=("band", np.arange(1, len(layers) + 1)))
    cube.encoding = dict(layers[0].encoding)
    for single, several, default in PACKED:
        for target, sources in ((cube.attrs, [v.attrs for v in layers]), (cube.encoding, [v.encoding for v in layers])):
            values = [_packing_value(single, source.get(single, default)) for source in sources]
            if len(set(values)) > 1:
                target.pop(single, None)
                target[several] = values
    return cube.transpose(TIME, "band", ...) if TIME in cube.dims else cube


def _packing_value(name: str, value: Any) -> float:  # whatever an attribute holds
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"A variable of the Dataset has the attribute {name} = {value!r}. Set a number, or remove it."
        ) from None


def _require_one_nodata(layers: Sequence[xr.DataArray]) -> None:
    values = {str(v.attrs["_FillValue"]) for v in layers if "_FillValue" in v.attrs}
    if len(values) > 1:
        raise InputError(
            f"The variables of the Dataset have the nodata values {' and '.join(sorted(values))}. "
            "Open them masked (mask_and_scale=True), or give those of one value."
        )


def _layer(scene: xr.DataArray, index: int, like: xr.DataArray) -> xr.DataArray:
    """Return a band of a scene as a variable with the attributes of `like` and the packing of the scene."""
    from dualsr_geo.io.to_xarray import PACKING_KEYS  # noqa: PLC0415  # loads dask

    layer = scene.isel(band=index, drop=True)

    def packing(attrs: dict[Any, Any]) -> dict[Any, Any]:
        packed = {k: v for k, v in attrs.items() if k in PACKING_KEYS}
        for single, several, _ in PACKED:
            if several in packed:
                packed[single] = packed.pop(several)[index]
        return packed

    layer.attrs = {k: v for k, v in like.attrs.items() if k not in PACKING_KEYS} | packing(scene.attrs)
    layer.encoding = packing(scene.encoding)
    return layer
