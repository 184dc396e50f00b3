"""`.dualsr` on xarray objects: the library's functions, lazily."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from dualsr_geo.errors import BandError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from dualsr_geo.engine.options import Options
    from dualsr_geo.raster.scene import Scene

Guide = xr.DataArray | xr.Dataset | str | os.PathLike[str]
TIME = "time"
# Where a scale is kept for one band and for each of several, and what it is where nothing is said.
PACKED = (("scale_factor", "scales", 1.0), ("add_offset", "offsets", 0.0))


@xr.register_dataarray_accessor("dualsr")  # type: ignore[no-untyped-call]  # xarray does not type its decorator
class ArrayAccessor:
    """Sharpen a DataArray (band, y, x), or (time, band, y, x) scene by scene."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def upscale(
        self,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        options: Options | None = None,
        **changes: Any,  # fields of Options
    ) -> Any:  # a DataArray; a Dataset with uncertainty, which no type says without saying all options
        """Sharpen the scene; nothing is computed before `.compute()`.

        Parameters
        ----------
        rgb : DataArray, Dataset or path, or several
            The guide; with a time dimension of its own, one a scene.
        options : Options, optional
        **changes
            Fields of `dualsr_geo.Options`, e.g. ``scale=4``.

        Returns
        -------
        DataArray
            On the target grid, in the scene's own form (masked or as stored), lazy. With
            ``uncertainty=True`` a Dataset: the product under its name, and ``uncertainty``.

        Raises
        ------
        DualSRError
            For any input or option that cannot be carried out.
        """
        wanted = _options(options, changes)
        return _each(self._array, lambda array, at: _upscale(array, _guides(rgb, at), wanted))

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

        made: xr.DataArray = _each(self._array, lambda array, _: degrade(array, scale, mtf_gain))
        return made

    def evaluate(
        self,
        reference: Guide | None = None,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        scale: int | None = None,
        **wishes: Any,  # of dualsr_geo.evaluation.evaluate
    ) -> dict[str, Any]:
        """Score a product against a reference, or compare models on a scene by the Wald protocol.

        Parameters
        ----------
        reference : DataArray, Dataset or path, optional
            The truth, on the same grid. Without it the models are compared.
        rgb : DataArray, Dataset or path, or several
            The guide.
        scale : int, optional
            The ratio; with a reference, the one that ERGAS speaks of.
        **wishes
            Of `dualsr_geo.evaluation.evaluate.evaluate` (``models``, ``mtf_gain``, ``report``, ...), or of
            `dualsr_geo.evaluation.evaluate.score_product`.

        Returns
        -------
        dict
            The scores; without a reference ``models``, name to scores, beside scale and protocol.

        Raises
        ------
        DualSRError
            For any input or option that cannot be carried out.
        """
        return _evaluated(self._array, reference, rgb, scale, wishes)

    def quicklook(self, bands: Sequence[int] | None = None, *, longest: int = 1024) -> Image:
        """Return a picture to look at, natural colours where there are wavelengths.

        Parameters
        ----------
        bands : sequence of int, optional
            Three bands, or one, from 1, for red, green and blue.
        longest : int
            Pixels along the longer side at most.

        Returns
        -------
        PIL.Image.Image
            Stretched from the 2nd to the 98th percentile; transparent where nothing is.
        """
        return _pictured(self._array, bands, longest)


@xr.register_dataset_accessor("dualsr")  # type: ignore[no-untyped-call]
class DatasetAccessor:
    """Sharpen a Dataset of one variable a band, or of one (band, y, x) variable."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def upscale(self, **wishes: Any) -> xr.Dataset:  # see ArrayAccessor.upscale
        """Sharpen the scene; see `ArrayAccessor.upscale`. ``<name>_uncertainty`` is the uncertainty of a variable."""
        own = {k: v for k, v in wishes.items() if k not in ("rgb", "options")}
        if not _options(wishes.get("options"), own).uncertainty:
            return _by_variable(self._dataset, lambda array: ArrayAccessor(array).upscale(**wishes))
        product, sigma = (_part(self._dataset, wishes, place) for place in (0, 1))
        return product.assign({_uncertainty_of(product, n): _doubting(v, n) for n, v in sigma.data_vars.items()})

    def degrade(self, *, scale: int, mtf_gain: float = 0.3) -> xr.Dataset:
        """Blur and decimate; see `ArrayAccessor.degrade`."""
        return _by_variable(self._dataset, lambda array: ArrayAccessor(array).degrade(scale=scale, mtf_gain=mtf_gain))

    def evaluate(
        self,
        reference: Guide | None = None,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        scale: int | None = None,
        **wishes: Any,  # see ArrayAccessor.evaluate
    ) -> dict[str, Any]:
        """Score or compare; see `ArrayAccessor.evaluate`."""
        return _evaluated(self._dataset, reference, rgb, scale, wishes)

    def quicklook(self, bands: Sequence[int] | None = None, *, longest: int = 1024) -> Image:
        """Return a picture; see `ArrayAccessor.quicklook`."""
        return _pictured(self._dataset, bands, longest)


def _part(dataset: xr.Dataset, wishes: dict[str, Any], place: int) -> xr.Dataset:
    """Return the product (0) or its standard deviations (1); both are one dask graph."""

    def work(array: xr.DataArray) -> xr.DataArray:
        both = ArrayAccessor(array).upscale(**wishes)
        return cast("xr.DataArray", both[list(both.data_vars)[place]])

    return _by_variable(dataset, work)


def _uncertainty_of(product: xr.Dataset, name: Any) -> str:
    """Return the name of a variable's uncertainty, and say it there."""
    product[name].attrs["ancillary_variables"] = f"{name}_uncertainty"
    return f"{name}_uncertainty"


def _doubting(sigma: xr.DataArray, name: Any) -> xr.DataArray:
    from dualsr_geo.io.writers.output_spec import deviation_attrs  # noqa: PLC0415  # loads rasterio

    sigma.attrs |= deviation_attrs(sigma.attrs, str(name))
    return sigma


def _evaluated(
    scene: xr.DataArray | xr.Dataset,
    reference: Guide | None,
    rgb: Guide | Sequence[Guide] | None,
    scale: int | None,
    wishes: dict[str, Any],
) -> dict[str, Any]:
    from dualsr_geo.evaluation.evaluate import evaluate, score_product  # noqa: PLC0415  # loads torch

    _require_one_date(scene)
    if reference is None:
        return evaluate(scene, rgb=rgb, scale=scale, **wishes)
    if rgb is not None:
        raise InputError("With `reference` a finished product is scored, which needs no `rgb`. Leave one of them out.")
    return score_product(scene, reference, scale=scale, **wishes)


def _pictured(scene: xr.DataArray | xr.Dataset, bands: Sequence[int] | None, longest: int) -> Image:
    from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415
    from dualsr_geo.report.quicklook import quicklook, visible_bands  # noqa: PLC0415

    _require_one_date(scene)
    opened = open_scene(scene)
    chosen = visible_bands(opened.bands, opened.count) if bands is None else _from_one(bands, opened.count)
    step = max(1.0, max(opened.shape) / longest)
    shape = tuple(max(1, round(n / step)) for n in opened.shape)
    cube = np.stack([opened.source.thumbnail(b, (shape[0], shape[1])) for b in chosen])
    return quicklook(cube, tuple(opened.bands[b] for b in chosen), longest=longest)


def _from_one(bands: Sequence[int], count: int) -> tuple[int, ...]:
    if len(bands) not in (1, 3) or not all(1 <= b <= count for b in bands):
        raise BandError(
            f"The bands {list(bands)} make no picture of a scene with {count}. Give one or three within 1..{count}."
        )
    return tuple(b - 1 for b in bands)


def _require_one_date(scene: xr.DataArray | xr.Dataset) -> None:
    if TIME in scene.dims and scene.sizes[TIME] > 1:
        raise InputError(f"The scene has {scene.sizes[TIME]} dates. Give one, e.g. .isel({TIME}=0).")


def _options(options: Options | None, changes: dict[str, Any]) -> Options:
    from dualsr_geo.engine.options import Options as Made  # noqa: PLC0415  # loads torch

    return replace(options or Made(), **changes)


def _upscale(array: xr.DataArray, guides: Sequence[Guide], options: Options) -> xr.DataArray | xr.Dataset:
    from dualsr_geo.engine.lazy import as_dataarray, as_dataset  # noqa: PLC0415  # loads torch
    from dualsr_geo.engine.plan import plan_run  # noqa: PLC0415
    from dualsr_geo.io.scenes import open_guides, open_scene  # noqa: PLC0415

    nodata = options.nodata if options.dtype is None else None
    scene = open_scene(array, bidx=options.bidx, nodata=nodata, sensor=options.sensor)
    job = plan_run(scene, [o for g in guides for o in open_guides(g)], options)
    return as_dataset(job, _cube(scene)) if options.uncertainty else as_dataarray(job, _cube(scene))


def _cube(scene: Scene) -> xr.DataArray:
    from dualsr_geo.io.readers.array_sources import ArraySource  # noqa: PLC0415

    if not isinstance(scene.source, ArraySource):
        raise TypeError(f"{scene.name} is no xarray object")
    return scene.source.array


def _guides(rgb: Guide | Sequence[Guide] | None, at: int | None) -> list[Guide]:
    one = isinstance(rgb, xr.DataArray | xr.Dataset | str | os.PathLike)
    several = [] if rgb is None else [cast("Guide", rgb)] if one else list(cast("Sequence[Guide]", rgb))
    return [_now(g, at) for g in several]


def _now(guide: Guide, at: int | None) -> Guide:
    """Return the guide of a scene's own date, where it has dates."""
    if at is not None and isinstance(guide, xr.DataArray | xr.Dataset) and TIME in guide.dims:
        return guide.isel({TIME: at})
    return guide


def _each(array: xr.DataArray, work: Callable[[xr.DataArray, int | None], Any]) -> Any:  # as `work` returns
    """Do a stack of dates scene by scene."""
    if TIME not in array.dims:
        return work(array, None)
    made = [work(array.isel({TIME: i}), i) for i in range(array.sizes[TIME])]
    out = xr.concat(made, dim=array[TIME] if TIME in array.coords else TIME, join="override")
    out.encoding = made[0].encoding
    if isinstance(out, xr.Dataset):
        for name, variable in out.data_vars.items():
            variable.encoding = made[0][name].encoding
    return out


def _by_variable(dataset: xr.Dataset, work: Callable[[xr.DataArray], xr.DataArray]) -> xr.Dataset:
    """Work on a Dataset: its 2-D variables are the bands of one scene, a 3-D one is a scene."""
    names = [n for n, v in dataset.data_vars.items() if v.ndim >= 2]  # grid mappings are scalars
    if not names:
        from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415  # says what is missing

        open_scene(dataset)
    deep = [n for n in names if {d for d in dataset[n].dims if d != TIME} - set(dataset[names[0]].dims[-2:])]
    if deep:
        made = {n: work(dataset[n]) for n in deep}
        return xr.Dataset(made, attrs=dataset.attrs)
    layers = [dataset[n] for n in names]
    sharp = work(_stacked(layers))
    return xr.Dataset({n: _layer(sharp, i, dataset[n]) for i, n in enumerate(names)}, attrs=dataset.attrs)


def _stacked(layers: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return 2-D variables as the bands of one scene, each with its own scale and offset."""
    _require_one_nodata(layers)
    cube = xr.concat(layers, dim="band", join="override", combine_attrs="override")
    cube = cube.assign_coords(band=("band", np.arange(1, len(layers) + 1)))
    cube.encoding = dict(layers[0].encoding)
    for one, each, nothing in PACKED:
        for said, own in ((cube.attrs, [v.attrs for v in layers]), (cube.encoding, [v.encoding for v in layers])):
            values = [float(o.get(one, nothing)) for o in own]
            if len(set(values)) > 1:
                said.pop(one, None)
                said[each] = values
    return cube.transpose(TIME, "band", ...) if TIME in cube.dims else cube


def _require_one_nodata(layers: Sequence[xr.DataArray]) -> None:
    values = {str(v.attrs["_FillValue"]) for v in layers if "_FillValue" in v.attrs}
    if len(values) > 1:
        raise InputError(
            f"The variables of the Dataset have the nodata values {' and '.join(sorted(values))}. "
            "Open them masked (mask_and_scale=True), or give those of one value."
        )


def _layer(sharp: xr.DataArray, index: int, like: xr.DataArray) -> xr.DataArray:
    """Return a band of the product as the variable that it was: its own attributes, the product's packing."""
    from dualsr_geo.io.to_xarray import PACKING_KEYS  # noqa: PLC0415  # loads dask

    out = sharp.isel(band=index, drop=True)
    found = []
    for said, own in ((sharp.attrs, like.attrs), (sharp.encoding, {})):
        packed = {k: v for k, v in said.items() if k in PACKING_KEYS}
        for one, each, _ in PACKED:
            if each in packed:
                packed[one] = packed.pop(each)[index]
        found.append({k: v for k, v in own.items() if k not in PACKING_KEYS} | packed)
    out.attrs, out.encoding = found
    return out
