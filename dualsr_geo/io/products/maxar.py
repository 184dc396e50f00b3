"""Maxar deliveries: the multispectral image by its IMD and TIL, guided by the pan image delivered with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, named_bands
from dualsr_geo.io.products.metadata_files import Groups, parse_groups, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene

# satId to the sensor registry; others go by their own name.
SATELLITES = {"WV02": "worldview-2", "WV03": "worldview-3"}
# Bands as the IMD names them, and as the registry does.
BANDS = {
    "C": "coastal", "B": "blue", "G": "green", "Y": "yellow", "R": "red", "RE": "red edge", "N": "nir1", "N2": "nir2",
    "P": "pan",
}  # fmt: skip
# Levels without a map grid.
UNPROJECTED = ("LV1A", "LV1B", "Basic1B", "Stereo1B")
SUFFIXES = (".IMD", ".TIL")
PAN = ("P",)
NODATA = 0.0


def looks_like(path: Path) -> bool:
    """Say whether a path is a Maxar delivery: a folder with an IMD file, or an IMD or TIL file."""
    if path.is_dir():
        return bool(_documents(path))
    return path.suffix.upper() in SUFFIXES


def open_delivery(
    path: Path, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the multispectral image as delivered, guided by the pan image.

    Stored values stay as they are: the IMD's absCalFactor makes radiances of them, which is left to the user.

    Parameters
    ----------
    path : Path
        A folder (the order, or its ``_MUL``), or an image's IMD or TIL.
    gsd : float or None
        Metres, one of the images'; the multispectral one's if left out.
    sensor : str or None
        Not needed: the IMD names the satellite.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If a file is missing, several products lie there, or they do not lie on a map.
    OptionError
        If there is no image of `gsd`.
    """
    del sensor
    images = [_Image(d, parse_groups(d)) for d in _of_one_product(path)]
    groups = {image.gsd: image for image in images}
    own, sharp = choose_gsd({g: image.band_names for g, image in groups.items()}, gsd, path.name)
    scene = groups[own].open(nodata)
    guides = () if sharp is None else (groups[sharp].open(nodata),)
    lacks = () if len(images) > 1 else ("No pan image was delivered beside it.",)
    notes = ("Values are stored counts, not radiances.", *lacks)
    return Delivery(scene, guides, groups[own].sensor, groups[own].level, notes)


@dataclass(frozen=True)
class _Image:
    """One image of a delivery, by its IMD file."""

    document: Path
    said: Groups

    @property
    def level(self) -> str:
        return self.said[""].get("productLevel", "")

    @property
    def sensor(self) -> str:
        name = self.said.get("IMAGE_1", {}).get("satId", "")
        return SATELLITES.get(name, name.lower())

    @property
    def is_pan(self) -> bool:
        return self.said[""].get("bandId") in PAN

    @property
    def band_names(self) -> tuple[str, ...]:
        return tuple(n.removeprefix("BAND_") for n in self.said if n.startswith("BAND_"))

    @property
    def gsd(self) -> float:
        """Pixel size on the map, metres."""
        spacing = self.said.get("MAP_PROJECTED_PRODUCT", {}).get("productGSD")
        if spacing is None or self.level in UNPROJECTED:
            raise InputError(
                f"{self.document.name} is of level {self.level or 'unknown'}, which does not lie on a map. "
                "Give a product of level LV2A or LV3."
            )
        return to_number(spacing, "productGSD", self.document)

    def open(self, nodata: float | None) -> Scene:
        opened = open_raster(str(self._raster()), bidx=None, nodata=NODATA if nodata is None else nodata).scene
        names = self.band_names
        if opened.count != len(names):
            raise InputError(
                f"{self.document.name} describes {len(names)} bands ({', '.join(names)}), but its image has "
                f"{opened.count}. Fetch both again."
            )
        taken = self.said.get("IMAGE_1", {}).get("firstLineTime", self.said.get("IMAGE_1", {}).get("TLCTime"))
        tags = {"SENSOR": self.sensor, "PROCESSING_LEVEL": self.level} | ({"ACQUISITION": taken} if taken else {})
        bands = _described(self.sensor, names)
        return replace(opened, bands=bands, tags={"": tags}, name=self.document.stem)

    def _raster(self) -> Path:
        """Return the list of tiles, or the only tile where there is no list."""
        for suffix in (".TIL", ".til", ".TIF", ".tif", ".NTF", ".ntf"):
            path = self.document.with_suffix(suffix)
            if path.is_file():
                return _whole(path)
        raise InputError(f"{self.document.parent} lacks {self.document.stem}.TIL and .TIF. Fetch the image.")


def _described(sensor: str, names: Sequence[str]) -> tuple[Band, ...]:
    """Return bands as the registry has them; of satellites that it has not, their names."""
    registered = [BANDS.get(n, n) for n in names]
    return named_bands(sensor, registered) if sensor in SATELLITES.values() else tuple(Band(n) for n in registered)


def _whole(path: Path) -> Path:
    """Check that every tile of a list is there, which GDAL would read as holes."""
    if path.suffix.upper() == ".TIL":
        tiles = [group["filename"] for group in parse_groups(path).values() if "filename" in group]
        lacking = [t for t in tiles if not (path.parent / t).is_file()]
        if lacking:
            raise InputError(
                f"{path.name} lists {len(tiles)} tiles, of which {', '.join(lacking)} is missing. Fetch it."
            )
    return path


def _documents(folder: Path) -> list[Path]:
    """Return the IMD files of a folder and of those in it."""
    return sorted(f for pattern in ("*", "*/*") for f in folder.glob(pattern) if f.suffix.upper() == ".IMD")


def _of_one_product(path: Path) -> list[Path]:
    """Return the IMD files of a multispectral image and of the pan image delivered with it."""
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path} does not exist. Give an image's IMD or TIL, or its folder.")
        document = next((f for f in path.parent.iterdir() if f.stem == path.stem and f.suffix.upper() == ".IMD"), None)
        if document is None:
            raise InputError(f"{path.name} has no IMD file beside it. Fetch {path.stem}.IMD.")
        return [document, *_pan_beside(document)]
    found = _documents(path)
    coloured = [d for d in found if not _Image(d, parse_groups(d)).is_pan]
    if len(coloured) > 1:
        raise InputError(
            f"{path} holds {len(coloured)} multispectral images ({', '.join(d.name for d in coloured[:4])}). "
            "Give the IMD file of one."
        )
    if len(coloured) == 1:
        return [coloured[0], *_pan_beside(coloured[0])]
    return found[:1]


def _pan_beside(document: Path) -> list[Path]:
    """Return the pan image's IMD file of the same order and part: ..-M2AS-<order>_01_P001 and ..-P2AS-..."""
    if _Image(document, parse_groups(document)).is_pan:
        return []
    part = document.stem.split("-", 2)[-1]
    near = [*_documents(document.parent), *_documents(document.parent.parent)]
    pans = [d for d in dict.fromkeys(near) if d.stem.split("-", 2)[-1] == part and _Image(d, parse_groups(d)).is_pan]
    return pans[:1]
