"""Read: whatever GDAL, xarray or Zarr opens becomes a scene."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from dualsr_geo.arrays import open_array, open_dataset, open_zarr
from dualsr_geo.bands import parse_bidx
from dualsr_geo.rasters import open_raster
from dualsr_geo.scene import Scene, preview
from dualsr_geo.sources import ArraySource, RasterSource, Source, ZarrSource

__all__ = ["ArraySource", "RasterSource", "Scene", "Source", "ZarrSource", "open_scene", "preview"]

# What a Zarr group or array has in its folder, versions 3 and 2.
ZARR_DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


def open_scene(
    where: str | os.PathLike[str] | xr.DataArray | xr.Dataset,
    *,
    bidx: str | None = None,
    nodata: float | None = None,
) -> Scene:
    """Open a scene, lazily: metadata is read, and one block to see that the file is whole.

    Parameters
    ----------
    where : path, URL, DataArray or Dataset
        A raster, a subdataset string, a Zarr group or an array in one, or an xarray object.
    bidx : str, optional
        Bands to take, from 1, as rio writes them: ``"1"``, ``"1,3"``, ``"2..5"``. Naming an alpha
        band takes it as a spectral one.
    nodata : float, optional
        Stored value that means "nothing here", instead of the one that the file states. Masks
        and alpha bands hold besides.

    Returns
    -------
    Scene
        Band, y, x; physical values; NaN where nothing is.

    Raises
    ------
    InputError
        If it is missing, damaged, ambiguous, or holds no real numbers on a grid.
    BandError
        If `bidx` names a band that is not there.
    OptionError
        If `nodata` does not fit the stored type.
    """
    if isinstance(where, xr.DataArray):
        scene = open_array(where, nodata=nodata)
    elif isinstance(where, xr.Dataset):
        scene = open_dataset(where, nodata=nodata)
    elif _is_zarr(os.fspath(where)):
        scene = open_zarr(os.fspath(where), nodata=nodata)
    else:
        return open_raster(os.fspath(where), bidx=bidx, nodata=nodata)
    return scene if bidx is None else scene.select(parse_bidx(bidx, scene.count))


def _is_zarr(where: str) -> bool:
    if where.startswith("ZARR:"):
        return False
    path = Path(where).expanduser()
    if path.exists():
        return any((path / name).exists() for name in ZARR_DOCUMENTS)
    return "://" in where and where.rstrip("/").endswith(".zarr")
