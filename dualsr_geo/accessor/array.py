"""`.dualsr` of a DataArray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from dualsr_geo.accessor.dates import Guide, by_date
from dualsr_geo.accessor.pictures import picture
from dualsr_geo.accessor.products import sharpen
from dualsr_geo.accessor.scores import evaluate_scene
from dualsr_geo.argument_types import checked, integer, number, raster, rasters
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.io.storage.defects import reports_defects

if TYPE_CHECKING:
    from PIL.Image import Image


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
            The guide. Its images are paired with the dates of the scene by the coordinate ``time``; one image, or one date,
            serves all dates.
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
        return sharpen(self._array, guides, chosen)

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
        from dualsr_geo.engine.lazy.products import degrade  # noqa: PLC0415  # loads torch

        result: xr.DataArray = by_date(self._array, lambda array, _: degrade(array, scale, mtf_gain))
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
        return evaluate_scene(self._array, reference, rgb, scale, keywords)

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
        return picture(self._array, bands, longest)
