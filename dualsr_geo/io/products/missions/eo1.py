"""Earth Observing-1, level 1T and 1Gst: Hyperion, and ALI guided by its pan band."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, named_bands, repacked, stack
from dualsr_geo.io.products.metadata_files import Groups, parse_groups, to_divisor, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.scene import Scene

DOCUMENT = re.compile(r"(?P<scene>EO1(?P<instrument>[AH])\w+)_MTL_(?P<level>L1\w+)\.TXT", re.IGNORECASE)
PREFIXES = ("EO1A", "EO1H")
SCALING = "RADIANCE_SCALING"
UNIT = "W m-2 sr-1 um-1"
NODATA = 0.0
# USGS, EO-1 User Guide: Hyperion's calibrated bands; the others are all zero. Up to LAST_VNIR the first detector measures.
CALIBRATED = (*range(8, 58), *range(77, 225))
LAST_VNIR = 70
# ALI: band 1 is the pan band.
ALI_PAN, ALI_BANDS = 1, tuple(range(2, 11))
GSD_M, PAN_GSD_M = 30.0, 10.0


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is the folder of an EO-1 scene, or its MTL file."""
    if path.is_dir():
        return path.name.upper().startswith(PREFIXES) or bool(_documents(path))
    return DOCUMENT.fullmatch(path.name) is not None


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the bands as radiance; those of ALI guided by its pan band, where it is delivered.

    Hyperion stores radiance times 40 (VNIR) and times 80 (SWIR), ALI counts with a factor and an offset of each band; the
    numbers are in the MTL file. Hyperion's bands that are not calibrated are left out.

    Parameters
    ----------
    path : ProductPath
        The folder, or its ``_MTL_L1T.TXT`` or ``_MTL_L1GST.TXT``.
    gsd : float or None
        30 m; of ALI also 10 m.
    sensor : str or None
        Not used: the name of the scene gives the instrument.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If the MTL file or a band is missing.
    OptionError
        If there are no bands of `gsd`.
    """
    del sensor
    product = _read(path)
    own, sharp = choose_gsd(
        {g: [product.name_of(n) for n in numbers] for g, numbers in product.groups.items()}, gsd, path.name
    )
    scene = product.open(product.groups[own], nodata)
    gsds = tuple(sorted(product.groups)) if len(product.groups) > 1 else ()
    guides = () if sharp is None else (product.open(product.groups[sharp], nodata),)
    return Delivery(scene, guides, product.sensor, product.level, product.notes, gsds=gsds)


@dataclass(frozen=True)
class _Product:
    """The MTL file of a scene, and its folder."""

    folder: ProductPath
    scene: str
    level: str
    is_hyperion: bool
    metadata: Groups

    @property
    def sensor(self) -> str:
        return "hyperion" if self.is_hyperion else "eo-1-ali"

    @property
    def groups(self) -> dict[float, tuple[int, ...]]:
        """Numbers of the bands by GSD, metres."""
        if self.is_hyperion:
            return {GSD_M: CALIBRATED}
        pan = {PAN_GSD_M: (ALI_PAN,)} if self.path(ALI_PAN).is_file() else {}
        return {GSD_M: ALI_BANDS, **pan}

    @property
    def notes(self) -> tuple[str, ...]:
        if self.is_hyperion:
            left_out = "1 to 7, 58 to 76 and 225 to 242"
            return ("Values are radiance.", f"Bands {left_out} are not calibrated and are left out.")
        no_pan = () if PAN_GSD_M in self.groups else ("Band 1, the pan band, was not delivered with it.",)
        return ("Values are radiance.", *no_pan)

    def name_of(self, number: int) -> str:
        """Return the name of a band in the sensor registry."""
        return str(number) if self.is_hyperion else f"B{number:02d}"

    def path(self, number: int) -> ProductPath:
        """Return the file of a band; its level is written as in the name of the MTL file."""
        digits = f"{number:03d}" if self.is_hyperion else f"{number:02d}"
        return self.folder / f"{self.scene}_B{digits}_{self.level}.TIF"

    def open(self, numbers: Sequence[int], nodata: float | None) -> Scene:
        scene = stack([self._band(n, nodata) for n in numbers], self.scene)
        sensor = self.sensor if self.is_hyperion or ALI_PAN not in numbers else f"{self.sensor}-pan"
        bands = named_bands(sensor, [self.name_of(n) for n in numbers], UNIT)
        tags = {"SENSOR": "Hyperion" if self.is_hyperion else "ALI", "PROCESSING_LEVEL": self.level}
        date = self._find("ACQUISITION_DATE")
        return replace(scene, bands=bands, tags={"": tags | ({"ACQUISITION": date} if date else {})})

    def _band(self, number: int, nodata: float | None) -> Scene:
        path = self.path(number)
        if not path.is_file():
            raise InputError(f"{self.folder} lacks band {number}: there is no {path.name}. Fetch it.")
        opened = open_raster(os.fspath(path), bidx="1", nodata=NODATA if nodata is None else nodata).scene
        scale, offset = self._scaling(number)
        return repacked(opened, (scale,), (offset,), UNIT)

    def _scaling(self, number: int) -> tuple[float, float]:
        if self.is_hyperion:
            name = f"SCALING_FACTOR_{'VNIR' if number <= LAST_VNIR else 'SWIR'}"
            return 1 / to_divisor(self._require(name), name, self.folder), 0.0
        scale, offset = f"BAND{number}_SCALING_FACTOR", f"BAND{number}_OFFSET"
        return to_number(self._require(scale), scale, self.folder), to_number(
            self._require(offset), offset, self.folder
        )

    def _find(self, name: str) -> str | None:
        return next((group[name] for group in self.metadata.values() if name in group), None)

    def _require(self, name: str) -> str:
        value = self.metadata.get(SCALING, {}).get(name)
        if value is None:
            raise InputError(f"The MTL file of {self.folder.name} has no {name} in {SCALING}. Fetch it again.")
        return value


def _documents(folder: ProductPath) -> list[ProductPath]:
    return sorted(f for f in folder.glob("EO1*") if DOCUMENT.fullmatch(f.name))


def _read(path: ProductPath) -> _Product:
    documents = _documents(path) if path.is_dir() else [path]
    if len(documents) != 1:
        raise InputError(
            f"{path} holds {len(documents)} files *_MTL_L1T.TXT, not one. Fetch the MTL file of the scene."
        )
    match = DOCUMENT.fullmatch(documents[0].name)
    if match is None:
        raise InputError(f"{documents[0].name} is not the MTL file of an EO-1 scene. Give it as delivered.")
    is_hyperion = match["instrument"].upper() == "H"
    return _Product(documents[0].parent, match["scene"], match["level"], is_hyperion, parse_groups(documents[0]))
