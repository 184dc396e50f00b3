"""One window of a product, from the survey of its scene."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dualsr_geo.argument_types import checked, flag, only_guide, path, raster, rasters, text, text_or_numbers, wrong
from dualsr_geo.engine.on_the_fly.opening import open_windows
from dualsr_geo.engine.on_the_fly.product_window import product_window
from dualsr_geo.engine.on_the_fly.stored_survey import StoredSurvey, read_survey
from dualsr_geo.engine.on_the_fly.window_sharpener import WindowSharpener
from dualsr_geo.engine.option_keywords import Path
from dualsr_geo.engine.options import Device
from dualsr_geo.engine.preparation import Raster, as_list
from dualsr_geo.io.readers.rasterio_source import file_stamp
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.raster.bands import parse_bidx

if TYPE_CHECKING:
    import xarray as xr

# Scenes that are kept open for the next window; each takes a few MB, and the datasets of a thread are bounded apart.
MAX_OPEN = 32


def _survey_or_path(name: str, value: Any) -> Any:
    """Return a survey or a path; raises KeywordError for anything else."""
    if isinstance(value, StoredSurvey):
        return value
    if isinstance(value, str | os.PathLike):
        return path(name, value)
    raise wrong(name, value, "the path of a survey.json, or what dualsr_geo.survey returns")


@reports_defects
@checked(
    survey=_survey_or_path,
    scene=raster,
    rgb=rasters,
    pan=rasters,
    guide=rasters,
    bidx=text,
    device=text,
    trust_references=flag,
    model=path,
    half_model=path,
    wavelengths=text_or_numbers,
)
def sharpen_window(
    survey: StoredSurvey | str | os.PathLike[str],
    scene: Raster,
    window: Any,
    *,
    rgb: Raster | Sequence[Raster] | None = None,
    pan: Raster | Sequence[Raster] | None = None,
    guide: Raster | Sequence[Raster] | None = None,
    crs: Any = None,
    bidx: str | None = None,
    device: Device = "auto",
    trust_references: bool = False,
    model: Path | None = None,
    half_model: Path | None = None,
    wavelengths: Path | Sequence[float] | None = None,
) -> xr.DataArray:
    """Compute one window of a product; its values are those of the product on disk.

    Only the window and a margin around it are read. Threads may call it at once, and another process, on another machine,
    gets the same values.

    Parameters
    ----------
    survey : StoredSurvey or path
        What `dualsr_geo.survey` returned or wrote.
    scene, rgb, pan, guide
        The scene and the guide of the survey, or copies; nothing is opened by what a survey states.
    window : rasterio.windows.Window, or sequence of float
        In pixels of the product, or bounds (left, bottom, right, top), which give the pixels that they touch.
    crs : CRS, str or int, optional
        Of the bounds; by default that of the product.
    bidx : str, optional
        Bands of the product to return, from 1, as in rio: ``"1,3..5"``. Standard deviations follow the bands.
    device, trust_references
        As in `Options`.
    model, half_model, wavelengths
        Given again where they named files when the survey was made.

    Returns
    -------
    DataArray, dims (band, y, x)
        The values as stored, with scale, offset and nodata value as attributes, as rioxarray opens the product.

    Raises
    ------
    InputError
        If the survey is damaged, or of another scene, guide or options, or the window is not inside the product.
    """
    guides = only_guide(rgb=rgb, pan=pan, guide=guide)
    files = {"model": model, "half_model": half_model, "wavelengths": wavelengths}
    sharpener = open_sharpener(survey, scene, guides, device=device, trust_references=trust_references, **files)
    return window_array(sharpener, product_window(window, sharpener.target, crs), bidx)


def window_array(sharpener: WindowSharpener, window: Any, bidx: str | None = None) -> xr.DataArray:
    """Return a window of the product, a `dualsr_geo.raster.windows.Window`, as an array with its coordinates."""
    from dualsr_geo.io.to_xarray import stored_window  # noqa: PLC0415  # loads xarray

    bands = list(range(sharpener.count)) if bidx is None else parse_bidx(bidx, sharpener.count)
    values, packing = sharpener.read(window, bands), sharpener.context.packing
    return stored_window(values, packing, sharpener.scene, sharpener.target[window.slices], bands)


def open_sharpener(
    survey: StoredSurvey | str | os.PathLike[str],
    scene: Raster,
    guides: Raster | Sequence[Raster] | None = None,
    **options: Any,
) -> WindowSharpener:
    """Open a scene for windows of its product; paths are opened once, until a file changes.

    Parameters
    ----------
    survey : StoredSurvey or path
    scene, guides, **options
        As for `open_windows`.
    """
    images = as_list(guides)
    named = [survey, scene, *images]
    texts = tuple(os.fspath(item) for item in named if isinstance(item, str | os.PathLike))
    if len(texts) < len(named):
        return open_windows(_read(survey), scene, images or None, **options)
    chosen = tuple(sorted((name, _hashable(value)) for name, value in options.items() if value is not None))
    return _opened(texts, tuple(map(_stamp, texts)), chosen)


def _read(survey: StoredSurvey | str | os.PathLike[str]) -> StoredSurvey:
    return survey if isinstance(survey, StoredSurvey) else read_survey(survey)


def _hashable(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _stamp(path_or_url: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in file_stamp(path_or_url).items())


@lru_cache(maxsize=MAX_OPEN)
def _opened(
    texts: tuple[str, ...],
    stamps: tuple[object, ...],  # noqa: ARG001  # only part of the key of the cache
    options: tuple[tuple[str, Any], ...],
) -> WindowSharpener:
    survey, scene, *guides = texts
    return open_windows(read_survey(survey), scene, guides or None, **dict(options))
