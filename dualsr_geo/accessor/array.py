"""`.dualsr` of a DataArray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

import xarray as xr
from numpy.typing import DTypeLike

from dualsr_geo.accessor import inspections
from dualsr_geo.accessor.dates import Guide, by_date
from dualsr_geo.accessor.pictures import picture
from dualsr_geo.accessor.products import degraded, sharpen
from dualsr_geo.accessor.scores import evaluate_scene
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
from dualsr_geo.engine.option_keywords import EvaluationKeywords, OptionKeywords, Path, with_option_keywords
from dualsr_geo.engine.option_types import dtype as data_type
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.raster.packing import Nodata

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from dualsr_geo.surveying.survey import Survey


@xr.register_dataarray_accessor("dualsr")  # type: ignore[no-untyped-call]  # xarray does not type its decorator
class ArrayAccessor:
    """Sharpen a DataArray (band, y, x), or (time, band, y, x) date by date."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @with_option_keywords
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
    ) -> Any:  # a DataArray, or a Dataset if `uncertainty` is set; no type expresses that
        """Sharpen the scene; nothing is computed before `.compute()`.

        Parameters
        ----------
        rgb, pan, guide : DataArray, Dataset or path, or several
            The guide, by any of these names. Its images are paired with the dates of the scene by the coordinate
            ``time``; one image, or one date, serves all dates.
        options : Options, optional
            Options to start from; the keywords replace single ones.
        **keywords
            Fields of `dualsr_geo.Options`.

        Returns
        -------
        DataArray
            The product on the target grid, masked or as stored like the scene, lazy. With
            ``uncertainty=True`` a Dataset of the product, under its name, and ``uncertainty``. Its attributes
            ``dualsr_version``, ``dualsr_model`` and ``dualsr_parameters`` state how it is made; ``dualsr_shift``,
            ``dualsr_consistency`` and ``dualsr_warnings`` are measured when it is computed.

        Raises
        ------
        DualSRError
            If an input or an option cannot be used.
        """
        chosen = changed(options, keywords, ArrayAccessor.upscale)
        return sharpen(self._array, only_guide(rgb=rgb, pan=pan, guide=guide) or [], chosen)

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
    ) -> xr.DataArray:
        """Blur by a Gaussian MTF and keep every `scale`-th pixel; nothing is computed before `.compute()`.

        Parameters
        ----------
        scale : int
            Ratio of pixel sizes; rows and columns beyond a multiple of the ratio are left out.
        mtf_gain : float
            MTF gain at the coarse Nyquist frequency, between 0 and 1.
        bidx : str, optional
            Bands to use, from 1, as in rio: ``"1,3..5"``.
        dtype : data type, optional
            Of the product; that of the scene if left out.
        nodata : float or "auto", optional
            Nodata value of the scene or, with a `dtype`, of the product.
        """
        product: xr.DataArray = by_date(
            self._array, lambda array, _: degraded(array, scale, mtf_gain, bidx=bidx, dtype=dtype, nodata=nodata)
        )
        return product

    @with_option_keywords
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
        """Score a product against a reference, or compare models on a scene by the Wald protocol.

        Parameters
        ----------
        reference : DataArray, Dataset or path, optional
            The reference, on the grid of the product. Without it models are compared.
        rgb, pan, guide : DataArray, Dataset or path, or several
            The guide, by any of these names.
        models : sequence of str, optional
            By default all models that can run.
        mtf_gain : float, optional
            MTF gain by which the scene is degraded; by default that of its sensor, else 0.3.
        guide_mtf_gain : float, optional
            MTF gain by which the guide is degraded; 0.15 by default.
        options : Options, optional
            Options to start from; the keywords replace single ones.
        report : path, optional
            An HTML page to write.
        progress : callable, optional
            Called with the name of a model when it begins.
        **keywords
            Fields of `dualsr_geo.Options`. With a reference `scale` (for ERGAS), `bidx`, `nodata`, `jobs` and
            `trust_references` apply.

        Returns
        -------
        dict
            The scores. Without a reference ``models`` maps names to scores; scale and protocol are further keys.

        Raises
        ------
        DualSRError
            If an input or an option cannot be used.
        """
        chosen = changed(options, keywords, ArrayAccessor.evaluate)
        images = only_guide(rgb=rgb, pan=pan, guide=guide)
        others = {"models": models, "mtf_gain": mtf_gain, "guide_mtf_gain": guide_mtf_gain, "report": report}
        return evaluate_scene(self._array, reference, images, chosen, {**others, "progress": progress})

    @with_option_keywords
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
        """Return how a guide fits the scene, and what to do where it does not.

        Parameters
        ----------
        rgb, pan, guide : DataArray, Dataset or path, or several
            The guide, by any of these names.
        plot : path, optional
            An image to write (.png); see `dualsr_geo.check_guide`.
        options : Options, optional
            Options to start from; the keywords replace single ones.
        **keywords
            Fields of `dualsr_geo.Options`.

        Returns
        -------
        dict
            As of `dualsr_geo.check_guide`.
        """
        chosen = changed(options, keywords, ArrayAccessor.guide_check)
        return inspections.guide_check(self._array, only_guide(rgb=rgb, pan=pan, guide=guide), chosen, plot)

    @with_option_keywords
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
        """Return what `upscale` measures before the first tile: blur, shift, noise, and how the guide explains bands.

        Parameters
        ----------
        rgb, pan, guide : DataArray, Dataset or path, or several
            The guide, by any of these names.
        options : Options, optional
            Options to start from; the keywords replace single ones.
        **keywords
            Fields of `dualsr_geo.Options`.
        """
        chosen = changed(options, keywords, ArrayAccessor.survey)
        return inspections.survey(self._array, only_guide(rgb=rgb, pan=pan, guide=guide), chosen)

    @with_option_keywords
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
        """Sharpen the scene and write an HTML page that shows the product and its quality.

        The product itself is made in a temporary folder and removed.

        Parameters
        ----------
        where : path
            Of the page, ``.html``; with ``overwrite=True`` an existing one is replaced.
        rgb, pan, guide : DataArray, Dataset or path, or several
            The guide, by any of these names.
        options : Options, optional
            Options to start from; the keywords replace single ones.
        **keywords
            Fields of `dualsr_geo.Options`.

        Returns
        -------
        dict
            As of `dualsr_geo.upscale`; ``report`` is the page.
        """
        chosen = changed(options, keywords, ArrayAccessor.report)
        return inspections.report(self._array, where, only_guide(rgb=rgb, pan=pan, guide=guide), chosen)

    @reports_defects
    def with_wavelengths(self, wavelengths: Path | Sequence[float] | None = None) -> xr.DataArray:
        """Return the scene with the coordinates ``wavelength`` and ``fwhm`` along its bands, nanometres.

        rioxarray keeps no wavelengths of single bands; they are read from the file that the array was opened from.

        Parameters
        ----------
        wavelengths : path, str or sequence of float, optional
            Wavelengths to use instead, as for `Options.wavelengths`: numbers, ``"400:2500"``, or a file.

        Raises
        ------
        InputError
            If none are known.
        """
        return inspections.with_wavelengths(self._array, wavelengths)

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
