"""Maxar deliveries, of WorldView, GeoEye-1, QuickBird and IKONOS: the multispectral image with its IMD and TIL, guided by the pan image delivered with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, named_bands
from dualsr_geo.io.products.metadata_files import Groups, parse_groups, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.readers.references.local import require_inside
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene

# Names in the sensor registry by satId.
SATELLITES = {
    "WV02": "worldview-2", "WV03": "worldview-3", "WV04": "worldview-4", "GE01": "geoeye-1", "QB02": "quickbird-2",
    "IK01": "ikonos-2", "IK02": "ikonos-2",
}  # fmt: skip
# Short-wave infrared bands of WorldView-3, S1 to S8 in the IMD, are a sensor of their own.
SWIR, SWIR_SENSOR = "S", "worldview-3-swir"
# Satellites whose only infrared band is `nir` in the registry.
FOUR_BANDS = ("worldview-4", "geoeye-1", "quickbird-2", "ikonos-2")
# Names of bands in the registry by their names in the IMD.
BANDS = {
    "C": "coastal", "B": "blue", "G": "green", "Y": "yellow", "R": "red", "RE": "red edge", "N": "nir1", "N2": "nir2",
    "P": "pan",
}  # fmt: skip
# Levels that are not on a map grid.
UNPROJECTED_LEVELS = ("LV1A", "LV1B", "Basic1B", "Stereo1B")
SUFFIXES = (".IMD", ".TIL")
PAN_BAND_ID = "P"
NODATA = 0.0
# Files that a message lists.
MAX_LISTED = 4


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a Maxar delivery: a folder with an IMD file, or an IMD or TIL file."""
    if path.is_dir():
        return bool(_documents(path))
    return path.suffix.upper() in SUFFIXES


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the multispectral image as delivered, guided by the pan image.

    Values are as stored; they are not converted to radiances, for which the IMD has the factor absCalFactor.

    Parameters
    ----------
    path : ProductPath
        A folder (the order, or its ``_MUL``), or the IMD or TIL of an image.
    gsd : float or None
        Pixel size of one of the images, metres; that of the multispectral one by default.
    sensor : str or None
        Not used: the IMD names the satellite.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If a file is missing, the folder holds several products, or they are not on a map grid.
    OptionError
        If there is no image of `gsd`.
    """
    del sensor
    images = [_Image(d, parse_groups(d)) for d in _of_one_product(path)]
    groups = {image.gsd: image for image in images}
    own, sharp = choose_gsd({g: image.band_names for g, image in groups.items()}, gsd, path.name)
    scene = groups[own].open(nodata)
    guides = () if sharp is None else (groups[sharp].open(nodata),)
    no_pan = () if len(images) > 1 else ("No pan image was delivered with it.",)
    notes = ("Values are stored counts, not radiances.", *no_pan)
    return Delivery(scene, guides, groups[own].sensor, groups[own].level, notes)


@dataclass(frozen=True)
class _Image:
    """One image of a delivery, and its IMD file."""

    document: ProductPath
    metadata: Groups

    @property
    def level(self) -> str:
        return self.metadata[""].get("productLevel", "")

    @property
    def satellite(self) -> str:
        """Its name in the IMD."""
        return self.metadata.get("IMAGE_1", {}).get("satId", "")

    @property
    def sensor(self) -> str:
        """Name in the sensor registry; empty for a satellite that it does not have."""
        is_swir = bool(self.band_names) and all(n.startswith(SWIR) for n in self.band_names)
        name = SATELLITES.get(self.satellite, "")
        return SWIR_SENSOR if is_swir and name == "worldview-3" else name

    @property
    def is_pan(self) -> bool:
        return self.metadata[""].get("bandId") == PAN_BAND_ID

    @property
    def band_names(self) -> tuple[str, ...]:
        return tuple(n.removeprefix("BAND_") for n in self.metadata if n.startswith("BAND_"))

    @property
    def gsd(self) -> float:
        """Pixel size on the map, metres."""
        spacing = self.metadata.get("MAP_PROJECTED_PRODUCT", {}).get("productGSD")
        if spacing is None or self.level in UNPROJECTED_LEVELS:
            raise InputError(
                f"{self.document.name} is of level {self.level or 'unknown'}, which is not on a map grid. "
                "Give a product of level LV2A or LV3."
            )
        return to_number(spacing, "productGSD", self.document)

    def open(self, nodata: float | None) -> Scene:
        opened = open_raster(os.fspath(self._raster()), bidx=None, nodata=NODATA if nodata is None else nodata).scene
        names = self.band_names
        if opened.count != len(names):
            raise InputError(
                f"{self.document.name} describes {len(names)} bands ({', '.join(names)}), but its image has "
                f"{opened.count}. Fetch both again."
            )
        image = self.metadata.get("IMAGE_1", {})
        time = image.get("firstLineTime", image.get("TLCTime"))
        tags = {"SENSOR": self.sensor or self.satellite, "PROCESSING_LEVEL": self.level} | (
            {"ACQUISITION": time} if time else {}
        )
        bands = _bands(self.sensor, names)
        return replace(opened, bands=bands, tags={"": tags}, name=self.document.stem)

    def _raster(self) -> ProductPath:
        """Return the list of tiles, or the only tile where there is no list."""
        for suffix in (".TIL", ".til", ".TIF", ".tif", ".NTF", ".ntf"):
            path = self.document.with_suffix(suffix)
            if path.is_file():
                return _complete(path)
        raise InputError(f"{self.document.parent} lacks {self.document.stem}.TIL and .TIF. Fetch the image.")


def _bands(sensor: str, names: Sequence[str]) -> tuple[Band, ...]:
    """Return the bands of the registry; with the name only for satellites that it does not have."""
    if sensor == SWIR_SENSOR:
        return named_bands(sensor, [f"swir{n.removeprefix(SWIR)}" for n in names])
    only_nir = {"N": "nir"} if sensor in FOUR_BANDS else {}
    registry_names = [(BANDS | only_nir).get(n, n) for n in names]
    return named_bands(sensor, registry_names) if sensor else tuple(Band(n) for n in registry_names)


def _complete(path: ProductPath) -> ProductPath:
    """Return the path of an image after a check that no tile of a list is missing: GDAL would read nodata there."""
    if path.suffix.upper() == ".TIL":
        tiles = [group["filename"] for group in parse_groups(path).values() if "filename" in group]
        for tile in tiles:
            require_inside(path.parent / tile, path)
        missing = [t for t in tiles if not (path.parent / t).is_file()]
        if missing:
            raise InputError(
                f"{path.name} lists {len(tiles)} tiles, of which {', '.join(missing)} is missing. Fetch it."
            )
    return path


def _documents(folder: ProductPath) -> list[ProductPath]:
    """Return the IMD files of a folder and of its subfolders."""
    return sorted(f for pattern in ("*", "*/*") for f in folder.glob(pattern) if f.suffix.upper() == ".IMD")


def _of_one_product(path: ProductPath) -> list[ProductPath]:
    """Return the IMD files of a multispectral image and of the pan image delivered with it."""
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path} does not exist. Give the IMD or TIL of an image, or its folder.")
        document = next((f for f in path.parent.iterdir() if f.stem == path.stem and f.suffix.upper() == ".IMD"), None)
        if document is None:
            raise InputError(f"{path.name} has no IMD file in its folder. Fetch {path.stem}.IMD.")
        return [document, *_pan_of(document)]
    documents = _documents(path)
    multispectral = [d for d in documents if not _Image(d, parse_groups(d)).is_pan]
    if len(multispectral) > 1:
        raise InputError(
            f"{path} holds {len(multispectral)} multispectral images "
            f"({', '.join(d.name for d in multispectral[:MAX_LISTED])}). Give the IMD file of one."
        )
    if len(multispectral) == 1:
        return [multispectral[0], *_pan_of(multispectral[0])]
    return documents[:1]


def _pan_of(document: ProductPath) -> list[ProductPath]:
    """Return the IMD file of the pan image of the same order and part: ..-M2AS-<order>_01_P001 and ..-P2AS-..."""
    if _Image(document, parse_groups(document)).is_pan:
        return []
    part = document.stem.split("-", 2)[-1]
    candidates = [*_documents(document.parent), *_documents(document.parent.parent)]
    pans = [
        d for d in dict.fromkeys(candidates) if d.stem.split("-", 2)[-1] == part and _Image(d, parse_groups(d)).is_pan
    ]
    return pans[:1]
