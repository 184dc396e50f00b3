"""Sentinel-2 in EOPF Zarr, ESA's format of 2025: groups of 10, 20 and 60 m in ``measurements/reflectance``.

The layout is that of the samples of ESA's EOPF Sentinel Zarr Samples Service: arrays ``b02`` (y, x) of uint16 in
``measurements/reflectance/r10m``, ``r20m`` and ``r60m``, with the coordinates x and y of pixel centres and the attributes
scale_factor, add_offset and _FillValue; finer bands are repeated in coarser groups. The CRS is in the attributes of each
array (``proj:wkt2``, ``proj:code``, ``proj:epsg``), or in those of the root: ``other_metadata.horizontal_CRS_code``, or
``proj:code`` and ``proj:epsg`` of ``stac_discovery.properties``, which is a STAC item.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, named_bands, stack
from dualsr_geo.io.products.sentinel2.bands import (
    NODATA,
    bands_of_level,
    choose_group,
    guide_note,
    present_groups,
    value_note,
)
from dualsr_geo.io.products.sentinel2.documents import Documents, stated_by
from dualsr_geo.io.storage.names import expanded, fits_file_system
from dualsr_geo.io.storage.urls import is_url, shown
from dualsr_geo.io.storage.zarr_groups import has_group, is_zarr
from dualsr_geo.raster.scene import Scene

if TYPE_CHECKING:
    import xarray as xr

REFLECTANCE = "measurements/reflectance"
CLASSIFICATION = "conditions/mask/l2a_classification/r20m"
PACKING_ATTRS = ("scale_factor", "add_offset", "_FillValue")


def looks_like(where: str) -> bool:
    """Say whether a path or URL is a product in EOPF Zarr; one that is no Zarr costs no request."""
    if not is_zarr(where):
        return False
    if not is_url(where):
        return fits_file_system(where) and (expanded(where) / REFLECTANCE).is_dir()
    where = where.rstrip("/")
    return where.endswith(".zarr") and has_group(f"{where}/{REFLECTANCE}", InputError)


def open_delivery(
    where: str, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the bands of one GSD, guided by the 10 m bands.

    Parameters
    ----------
    where : str
        Path or URL of the product.
    gsd : float or None
        10, 20 or 60 m; 20 by default.
    sensor : str or None
        The satellite, where the product does not state it.
    nodata : float or None
        Instead of the _FillValue.

    Raises
    ------
    InputError
        If a band, or the scale of one, is missing.
    OptionError
        If there are no bands of `gsd`.
    """
    product = _Product(where.rstrip("/") if is_url(where) else os.path.abspath(expanded(where)), sensor)
    expected, available = product.expected, product.groups
    own, sharp = choose_group(expected, available, gsd, product.name)
    scene = product.open(available[own], own, nodata)
    guides = () if sharp is None else (product.open(available[sharp], sharp, nodata),)
    notes = product.notes(scene, available)
    gsds = tuple(sorted(available))
    return Delivery(
        scene, guides, product.sensor, product.documents.level, notes, gsds=gsds, classification=product.classification
    )


@dataclass(frozen=True)
class _Product:
    """The location of a product, and the satellite that the user names."""

    uri: str
    given: str | None

    @property
    def name(self) -> str:
        return self.uri.rpartition("/")[2].removesuffix(".zarr")

    @cached_property
    def root(self) -> Mapping[str, Any]:
        """Attributes of the root."""
        return self._open("").attrs

    @cached_property
    def documents(self) -> Documents:
        item = self.root.get("stac_discovery")
        return stated_by(
            [("the name", self.name)], ("stac_discovery", item if isinstance(item, Mapping) else {}), self.name
        )

    @cached_property
    def datasets(self) -> dict[float, xr.Dataset]:
        """The groups by GSD, metres; without those that are missing."""
        names = {g: f"{REFLECTANCE}/r{g:g}m" for g in self.expected}
        return {g: self._open(name) for g, name in names.items() if self._has(name)}

    @property
    def expected(self) -> dict[float, tuple[str, ...]]:
        """Names of the bands by GSD, metres."""
        return bands_of_level(self.documents.level)

    @property
    def groups(self) -> dict[float, tuple[str, ...]]:
        present = {g: [str(v).upper() for v in d.data_vars] for g, d in self.datasets.items()}
        expected = self.expected
        if "B10" not in present.get(60, ()):
            expected = bands_of_level("L2A")
        return present_groups(expected, present, f"{shown(self.uri)}/{REFLECTANCE}")

    @property
    def sensor(self) -> str:
        return self.documents.satellite or self.given or "sentinel-2a"

    def notes(self, scene: Scene, available: Mapping[float, tuple[str, ...]]) -> tuple[str, ...]:
        documents = self.documents
        offsets = [round(o / s, 6) for s, o in zip(scene.packing.scales, scene.packing.offsets, strict=True)]
        values = value_note(documents.level, documents.baseline, offsets)
        assumed = () if documents.satellite or self.given else ("Nothing names the satellite; taken for Sentinel-2A.",)
        return (values, *assumed, *guide_note(self.expected, available))

    def open(self, names: tuple[str, ...], gsd: float, nodata: float | None) -> Scene:
        bands = named_bands(self.sensor, names, "reflectance")
        scene = stack([self._band(n, gsd, nodata) for n in names], self.name)
        documents = self.documents
        tags = {"SENSOR": self.sensor, "PROCESSING_LEVEL": documents.level, "ACQUISITION": documents.acquired}
        tags["PROCESSING_BASELINE"] = documents.baseline or ""
        return replace(scene, bands=bands, tags={"": {k: v for k, v in tags.items() if v}}, attrs={})

    @property
    def classification(self) -> Scene | None:
        """The scene classification of L2A; None where it is not there."""
        from dualsr_geo.io.readers.zarr import scene_of_variable  # noqa: PLC0415  # loads xarray

        if not self._has(CLASSIFICATION):
            return None
        dataset = self._open(CLASSIFICATION)
        if "scl" not in dataset:
            return None
        crs = self._crs(dataset["scl"].attrs)
        attrs = {} if crs is None else {"proj:code": crs}
        path = f"{CLASSIFICATION}/scl"
        return scene_of_variable(dataset, "scl", self.uri, path, nodata=None, where=f"{self.uri}/{path}", attrs=attrs)

    def _band(self, name: str, gsd: float, nodata: float | None) -> Scene:
        from dualsr_geo.io.readers.zarr import scene_of_variable  # noqa: PLC0415  # loads xarray

        dataset, variable = self.datasets[gsd], name.lower()
        group = f"{REFLECTANCE}/r{gsd:g}m"
        where = f"{shown(self.uri)}/{group}/{variable}"
        if variable not in dataset:
            raise InputError(f"{where} is missing. Fetch the product again, or choose other bands with --gsd.")
        array = dataset[variable]
        inner = array.attrs.get("_eopf_attrs")
        array.attrs.update(
            {
                k: v
                for k, v in (inner if isinstance(inner, Mapping) else {}).items()
                if k in PACKING_ATTRS and k not in array.attrs
            }
        )
        if array.dtype.kind in "iu" and "scale_factor" not in array.attrs:
            raise InputError(f"{where} has no scale_factor, so its reflectance is not known. Fetch the product again.")
        if nodata is None and array.attrs.get("_FillValue") is None and array.dtype.kind in "iu":
            nodata = NODATA
        crs = self._crs(array.attrs)
        attrs = {} if crs is None else {"proj:code": crs}
        return scene_of_variable(
            dataset, variable, self.uri, f"{group}/{variable}", nodata=nodata, where=where, attrs=attrs
        )

    def _crs(self, attrs: Mapping[Any, Any]) -> str | None:
        """Return the CRS that an array or the root states, where the array has no proj:wkt2 or proj:code of its own."""
        other, item = (self.root.get(key) for key in ("other_metadata", "stac_discovery"))
        other = other if isinstance(other, Mapping) else {}
        properties = item.get("properties") if isinstance(item, Mapping) else None
        properties = properties if isinstance(properties, Mapping) else {}
        code = (
            attrs.get("proj:epsg")
            or other.get("horizontal_CRS_code")
            or properties.get("proj:code")
            or properties.get("proj:epsg")
        )
        return None if code is None else re.sub(r"^(\d+)$", r"EPSG:\1", str(code))

    def _has(self, group: str) -> bool:
        if is_url(self.uri):
            return has_group(f"{self.uri}/{group}", InputError)
        return (expanded(self.uri) / group).is_dir()

    def _open(self, group: str) -> xr.Dataset:
        from dualsr_geo.io.readers.zarr import open_group  # noqa: PLC0415  # loads xarray

        return open_group(self.uri, f"{self.uri}/{group}".rstrip("/"), group or None)
