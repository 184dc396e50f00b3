"""Make a product again from the record that it carries, and compare the two."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.argument_types import checked, path
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.records.recorded_options import options_from_record, texts_from_record
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.dataset_cache import open_quietly
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.storage.locations import exists
from dualsr_geo.io.storage.names import fits_file_system, require_name
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.io.storage.urls import canonical, gdal_path
from dualsr_geo.io.storage.zarr_groups import is_zarr
from dualsr_geo.io.writers import netcdf
from dualsr_geo.io.writers.output_records import provenance_at, uncertainty_bands
from dualsr_geo.io.writers.output_spec import deviations_path
from dualsr_geo.serialization import differences
from dualsr_geo.version import __version__

# Rows of a Zarr or netCDF product that are compared at once.
ROWS = 256
# Parts of a record that name where and when files were, not what they hold.
NOT_COMPARED = ("request", "fingerprint")


@dataclass(frozen=True)
class Reproduction:
    """A product, and the one that was made from its record.

    Attributes
    ----------
    product : str
    made_by, now : str
        Software and version of the product, and of this run.
    identical : bool
        Whether all stored values are equal.
    values, different : int
        Number of stored values, and of those that differ.
    largest_difference : float or None
        Of stored values; None where all are equal.
    changed : tuple of str
        What differs between the two records, as ``inputs.scene.files.size was 10, is 12``.
    output : str or None
        Where the new product is; None where it was not kept.
    """

    product: str
    made_by: str
    now: str
    identical: bool
    values: int
    different: int
    largest_difference: float | None
    changed: tuple[str, ...]
    output: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return {**self.__dict__, "changed": list(self.changed)}


@reports_defects
@checked(product=path, output=path)
def reproduce(product: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Make a product again from its own record, and compare the stored values.

    Parameters
    ----------
    product : path or URL
        A product of dualsr-geo. Scene, guides and weights must be where they were.
    output : path, optional
        Where the new product is kept; left out, it is deleted.

    Returns
    -------
    dict
        The fields of `Reproduction`.

    Raises
    ------
    InputError
        If the product carries no record from which it can be made again.
    DualSRError
        As `dualsr_geo.upscale`, if an input is missing.

    Examples
    --------
    >>> import dualsr_geo
    >>> dualsr_geo.reproduce("scene_x4.tif")["identical"]  # doctest: +SKIP
    True
    """
    require_name(product, "product")
    where = canonical(product)
    provenance = _record_of(where)
    scene, guides, options = _request_of(where, provenance)
    if output is not None:
        copy = os.fspath(output)
        upscale(scene, copy, rgb=guides or None, options=options)
        return _compared(where, provenance, copy, output=copy).to_json()
    with tempfile.TemporaryDirectory(prefix="dualsr-geo-") as folder:
        copy = str(Path(folder) / PurePosixPath(where).name)
        upscale(scene, copy, rgb=guides or None, options=options)
        return _compared(where, provenance, copy, output=None).to_json()


def _record_of(where: str) -> Mapping[str, Any]:
    require_no_special_file(where)
    if not fits_file_system(where) or not exists(where, InputError):
        raise InputError(f"{where} does not exist. Give the path of a product of dualsr-geo.")
    provenance = provenance_at(where)
    if provenance is None:
        raise InputError(
            f"{where} carries no record of a run: it was not written by dualsr-geo, or by another program since."
        )
    return provenance


def _request_of(where: str, provenance: Mapping[str, Any]) -> tuple[str, tuple[str, ...], Options]:
    """Return scene, guides and options of the run that made a product."""
    request = provenance.get("request") or {}
    scene, guides = request.get("scene"), request.get("rgb")
    if scene is None or guides is None:
        raise InputError(
            f"The record of {where} does not name its inputs: they were arrays or URLs, or it was made by an older version "
            f"({provenance.get('software')}). Run dualsr-geo upscale with the same inputs and options."
        )
    place = f"the record of {where}"
    options = Options(**options_from_record(request.get("options"), place))
    return scene, texts_from_record(guides, place), options


def _compared(where: str, before: Mapping[str, Any], copy: str, *, output: str | None) -> Reproduction:
    count = different = 0
    largest = 0.0
    for old, new in zip(_stored(where), _stored(copy), strict=True):
        unequal = ~((old == new) | (np.isnan(old) & np.isnan(new)))
        count, different = count + old.size, different + int(unequal.sum())
        if unequal.any():
            difference = np.abs(old[unequal].astype(np.float64) - new[unequal].astype(np.float64))
            largest = max(largest, float(np.nan_to_num(difference, nan=np.inf).max()))
    return Reproduction(
        product=where,
        made_by=str(before.get("software")),
        now=f"dualsr-geo {__version__}",
        identical=different == 0,
        values=count,
        different=different,
        largest_difference=largest if different else None,
        changed=_changes(before, provenance_at(copy) or {}),
        output=output,
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what differs between two records, a text each."""
    return tuple(differences(*({k: v for k, v in r.items() if k not in NOT_COMPARED} for r in (before, after))))


def _stored(where: str) -> Iterator[NDArray[Any]]:
    """Yield the stored values of a product, in blocks; also those of its standard deviations."""
    if is_zarr(where) or where.endswith(netcdf.SUFFIX):
        yield from _stored_variables(where)
        return
    deviations = deviations_path(where)
    for path_ in (where, *([deviations] if _has_deviations(where) else [])):
        with open_quietly(gdal_path(path_), (), ("GTiff",)) as dataset:
            for _, window in dataset.block_windows(1):
                yield dataset.read(window=window)


def _has_deviations(where: str) -> bool:
    """Return whether the standard deviations of a TIFF are a second file."""
    parameters = (provenance_at(where) or {}).get("parameters", {})
    return bool(parameters.get("uncertainty")) and not uncertainty_bands(where)


def _stored_variables(where: str) -> Iterator[NDArray[Any]]:
    import xarray as xr  # noqa: PLC0415  # half a second that only Zarr and netCDF need

    engine = "zarr" if is_zarr(where) else "h5netcdf"
    with xr.open_dataset(where, engine=engine, mask_and_scale=False) as dataset:
        for name in sorted(map(str, dataset.data_vars)):
            values = dataset[name]
            for start in range(0, values.sizes.get("y", 0), ROWS):
                yield values.isel(y=slice(start, start + ROWS)).to_numpy()
