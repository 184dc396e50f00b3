"""Synthetic scenes and guides as GeoTIFFs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.transform import from_origin
from rasterio.windows import Window

from dualsr_geo.argument_types import checked, path
from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.defects import describe, reports_defects
from dualsr_geo.io.storage.names import require_name
from dualsr_geo.synthetic.scene import CORNER, CRS, Sample, make

Array = NDArray[np.float32]

# Reflectance is stored in steps of this size.
SCALE = 1e-4
NODATA = 65535
# Domain of the tag by which a sample is recognised.
NAMESPACE = "DUALSR_GEO"
# Rows of a scene that are computed at once.
BLOCK_ROWS = 256


@reports_defects
@checked(folder=path)
def write(folder: str | Path, **options: Any) -> tuple[Path, Path]:
    """Write a synthetic scene and its guide as GeoTIFFs.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    **options
        As for `make`.

    Returns
    -------
    (Path, Path)
        ``scene.tif`` (uint16, scale 1e-4, wavelengths) and ``pan.tif`` or ``rgb.tif``.

    Raises
    ------
    OutputError
        If they cannot be written, or would replace files that are no samples.
    OptionError
        As `make`.
    """
    place = Path(require_name(folder, "folder", OutputError))
    scene, guide = place / "scene.tif", place / f"{options.get('guide', 'rgb')}.tif"
    for file in (scene, guide):
        _require_free(file)
    sample = make(**options)
    try:
        place.mkdir(parents=True, exist_ok=True)
        _write(scene, sample, _write_scene)
        _write(guide, sample, _write_guide)
    except (OSError, RasterioError) as error:
        raise OutputError(
            f"The sample cannot be written to {place} ({describe(error)}). Give another folder, or free some space."
        ) from error
    return scene, guide


def _require_free(path: Path) -> None:
    """Check that nothing but an earlier sample would be replaced."""
    if not path.exists() or _is_sample(path):
        return
    raise OutputError(f"{path} exists and is no sample of dualsr-geo. Give another folder.")


def _is_sample(path: Path) -> bool:
    try:
        with rasterio.open(path) as raster:
            return bool(raster.tags(ns=NAMESPACE))
    except RasterioError:
        return False


def _write(path: Path, sample: Sample, write_values: Callable[[Path, Sample], None]) -> None:
    """Write a file under another name and rename it when it is whole."""
    partial = path.with_suffix(".tif.part")
    try:
        write_values(partial, sample)
        _require_whole(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _require_whole(path: Path) -> None:
    """Read the last block, which a full disk may have cut off without an error."""
    with rasterio.open(path) as raster:
        _, window = list(raster.block_windows(raster.count))[-1]
        raster.read(raster.count, window=window)


def _profile(count: int, shape: tuple[int, ...], gsd_m: float) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "count": count,
        "height": shape[0],
        "width": shape[1],
        "dtype": "uint16",
        "crs": CRS,
        "transform": from_origin(*CORNER, gsd_m, gsd_m),
        "nodata": NODATA,
        "compress": "deflate",
        "predictor": 2,
        "tiled": True,
        "interleave": "band",
        "photometric": "MINISBLACK",
    }


def _stored(values: Array) -> NDArray[np.uint16]:
    return np.asarray(np.clip(np.rint(values / SCALE), 0, NODATA - 1), np.uint16)


def _write_scene(path: Path, sample: Sample) -> None:
    height, width = sample.abundances_lr.shape[1:]
    count = len(sample.wavelengths_nm)
    with rasterio.open(path, "w", **_profile(count, (height, width), sample.gsd_m)) as target:
        for first in range(0, height, BLOCK_ROWS):
            last = min(first + BLOCK_ROWS, height)
            target.write(_stored(sample.scene_rows(first, last)), window=Window(0, first, width, last - first))
        target.update_tags(ns=NAMESPACE, SAMPLE="scene")
        # Of the dataset: rioxarray makes a tuple of the units of bands, which plots do not take.
        target.update_tags(units="reflectance")
        target.scales = (SCALE,) * count
        for i, (nm, fwhm) in enumerate(zip(sample.wavelengths_nm, sample.fwhm_nm, strict=True), 1):
            target.set_band_description(i, f"band {i} ({nm:.1f} nm)")
            target.update_tags(i, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"{nm / 1000:.6g}", FWHM_UM=f"{fwhm / 1000:.4g}")
            target.update_tags(i, wavelength=f"{nm:.6g}", wavelength_units="nanometers", fwhm=f"{fwhm:.4g}")


def _write_guide(path: Path, sample: Sample) -> None:
    shape = sample.guide.shape[1:]
    profile = _profile(len(sample.guide), shape, sample.gsd_m / sample.ratio)
    with rasterio.open(path, "w", **profile) as target:
        target.update_tags(ns=NAMESPACE, SAMPLE="guide")
        target.write(_stored(sample.guide))
        target.scales = (SCALE,) * len(sample.guide)
