"""Pléiades, Pléiades Neo and SPOT 6/7 in the DIMAP format, version 2: the multispectral image, guided by its pan image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, named_bands, repacked
from dualsr_geo.io.products.metadata_files import parse_xml, to_divisor, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.readers.references.local import require_inside
from dualsr_geo.io.readers.references.opening import open_checked
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene

PREFIX, SUFFIX = "DIM_", ".XML"
ROOT = "Dimap_Document"
# Names in the sensor registry by mission, and by mission and its number.
SENSORS = {"PHR": "pleiades", "PNEO": "pleiades-neo", "SPOT 6": "spot-6", "SPOT 7": "spot-6"}
# Names of bands in the registry by their names in the DIM file.
BANDS = {
    "B0": "blue", "B1": "green", "B2": "red", "B3": "nir", "B": "blue", "G": "green", "R": "red", "NIR": "nir",
    "RE": "red edge", "DB": "deep blue", "P": "pan", "PAN": "pan",
}  # fmt: skip
PAN = ("P", "PAN")
CHANNELS = ("RED", "GREEN", "BLUE", "ALPHA", "PAN")
# Levels that are not on a map grid.
UNPROJECTED_LEVELS = ("SENSOR", "PRIMARY")
# Kinds of values: reflectance times 10000, if no gain is stated; counts that a gain makes radiance. Others are stretched.
REFLECTANCE, RADIANCE = ("REFLECTANCE",), ("BASIC", "RADIANCE")
REFLECTANCE_GAIN = 10000.0
RADIANCE_UNIT = "W m-2 sr-1 um-1"
NODATA = 0.0
# Infrared is displayed as alpha, by which GDAL would take it for a mask.
ALL_BANDS = "1.."
METRES_A_DEGREE = 111_320.0
# Images that a message lists.
MAX_LISTED = 4


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a DIM file, or the folder of an order with some."""
    return bool(_documents(path)) if path.is_dir() else _is_document(path)


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the multispectral image, guided by the pan image of the same time.

    Reflectance is ``stored / GAIN + BIAS`` of the DIM file, and so is the radiance of BASIC products; values that were
    stretched for display stay counts.

    Parameters
    ----------
    path : ProductPath
        The folder of the order, that of an image, or the ``DIM_*.XML`` of an image.
    gsd : float or None
        Pixel size of one of the images, metres; that of the multispectral one by default.
    sensor : str or None
        Not used: the DIM file names the satellite.
    nodata : float or None
        Instead of the one of the DIM file, which is 0 if it states none.

    Raises
    ------
    InputError
        If a file is missing, there are several multispectral images, or they are not on a map grid.
    OptionError
        If there is no image of `gsd`.
    """
    del sensor
    images = _of_one_product(path)
    opened = {image.gsd(scene): (image, scene) for image in images for scene in [image.open(nodata)]}
    own, sharp = choose_gsd({g: tuple(b.name or "" for b in s.bands) for g, (_, s) in opened.items()}, gsd, path.name)
    image, scene = opened[own]
    guides = () if sharp is None else (opened[sharp][1],)
    no_pan = () if len(images) > 1 or image.is_pan else ("No pan image of the same time is next to it.",)
    return Delivery(
        scene, guides, image.sensor, image.level, (*image.notes, *no_pan), gsds=tuple(sorted(opened)) if guides else ()
    )


@dataclass(frozen=True)
class _Image:
    """An image of an order, and its DIM file."""

    document: ProductPath
    root: Element

    @classmethod
    def of(cls, document: ProductPath) -> _Image:
        root = parse_xml(document)
        if root.tag != ROOT or root.find(".//Data_Access/Data_Files") is None:
            raise InputError(f"{document} is not a DIMAP document of version 2. Give the DIM_*.XML of an image.")
        return cls(document, root)

    def text(self, name: str) -> str:
        """Return the text of the first element of a name; empty if there is none."""
        return (self.root.findtext(f".//{name}") or "").strip()

    @property
    def level(self) -> str:
        return self.text("PROCESSING_LEVEL")

    @property
    def mission(self) -> str:
        return f"{self.text('MISSION')} {self.text('MISSION_INDEX')}".strip()

    @property
    def sensor(self) -> str:
        """Name in the sensor registry; empty for a satellite that it does not have."""
        return SENSORS.get(self.mission, SENSORS.get(self.text("MISSION"), ""))

    @property
    def time(self) -> str:
        date, time = self.text("IMAGING_DATE"), self.text("IMAGING_TIME")
        return f"{date}T{time}" if date and time else date

    @property
    def band_ids(self) -> tuple[str, ...]:
        """Names of the bands in the order of the image: those of one list of files after those of another."""
        ids: list[str] = []
        for files in self.root.iterfind(".//Data_Access/Data_Files"):
            listed = [
                (
                    to_number(e.findtext("BAND_INDEX") or "", "BAND_INDEX", self.document),
                    (e.findtext("BAND_ID") or "").strip(),
                )
                for e in files.iterfind(".//Raster_Index")
            ]
            ids += [name for _, name in sorted(listed)]
        if ids:
            return tuple(ids)
        if self.text("SPECTRAL_PROCESSING").upper() in PAN:
            return (PAN[0],)
        # Pléiades and SPOT have the bands in the order of their display, and list no indices.
        order = self.root.find(".//Raster_Display/Band_Display_Order")
        channels = [] if order is None else [order.findtext(f"{c}_CHANNEL") or "" for c in CHANNELS]
        return tuple(dict.fromkeys(c.strip() for c in channels if c.strip()))

    @property
    def is_pan(self) -> bool:
        return bool(self.band_ids) and all(name in PAN for name in self.band_ids)

    @property
    def radiometry(self) -> str:
        return self.text("RADIOMETRIC_PROCESSING").upper()

    @property
    def notes(self) -> tuple[str, ...]:
        _, _, unit = self.scaling()
        if unit == "reflectance":
            return ("Values are reflectance.",)
        if unit is not None:
            return ("Values are top-of-atmosphere radiance.",)
        return (f"Values are stored counts ({self.radiometry or 'of unknown radiometry'}), not reflectances.",)

    def gsd(self, scene: Scene) -> float:
        """Return the pixel size, metres; of degrees that along a meridian."""
        size = grid.gsd(scene.geobox)
        return size if grid.unit(scene.geobox) == "m" else size * METRES_A_DEGREE

    def open(self, nodata: float | None) -> Scene:
        if self.level.upper() in UNPROJECTED_LEVELS:
            raise InputError(
                f"{self.document.name} is of level {self.level} (primary), which is not on a map grid. "
                "Order the ORTHO product, or orthorectify it (gdalwarp -rpc)."
            )
        self._require_images()
        value = self._nodata() if nodata is None else nodata
        opened = open_raster(os.fspath(self.document), bidx=ALL_BANDS, nodata=value).scene
        if grid.is_bare(opened.geobox):
            raise InputError(f"{self.document.name} states no map grid that GDAL reads. Order the ORTHO product.")
        if opened.count != len(self.band_ids):
            raise InputError(
                f"{self.document.name} describes {len(self.band_ids)} bands ({', '.join(self.band_ids)}), but its image has "
                f"{opened.count}. Fetch both again."
            )
        scales, offsets, unit = self.scaling()
        scene = repacked(opened, scales, offsets, unit)
        tags = {"SENSOR": self.mission, "PROCESSING_LEVEL": self.level} | (
            {"ACQUISITION": self.time} if self.time else {}
        )
        return replace(scene, bands=self._bands(unit), tags={"": tags}, name=self.document.stem)

    def scaling(self) -> tuple[tuple[float, ...], tuple[float, ...], str | None]:
        """Return scales and offsets of the bands, and the unit of the values; None for counts."""
        ids = self.band_ids
        if self.radiometry in REFLECTANCE:
            pairs, unit = [self._gain("Band_Reflectance", n) or (REFLECTANCE_GAIN, 0.0) for n in ids], "reflectance"
        elif self.radiometry in RADIANCE:
            pairs, unit = [p for n in ids if (p := self._gain("Band_Radiance", n))], RADIANCE_UNIT
        else:
            pairs, unit = [], ""
        if len(pairs) != len(ids):
            return (1.0,) * len(ids), (0.0,) * len(ids), None
        return tuple(1 / gain for gain, _ in pairs), tuple(bias for _, bias in pairs), unit

    def _gain(self, kind: str, band: str) -> tuple[float, float] | None:
        """Return gain and bias of a band; None where the document has none."""
        for element in self.root.iter(kind):
            if (element.findtext("BAND_ID") or "").strip() == band:
                gain = to_divisor(element.findtext("GAIN") or "", f"{kind}/GAIN", self.document)
                return gain, to_number(element.findtext("BIAS") or "0", f"{kind}/BIAS", self.document)
        return None

    def _bands(self, unit: str | None) -> tuple[Band, ...]:
        names = [BANDS.get(n, n) for n in self.band_ids]
        if not self.sensor:
            return tuple(Band(n, unit=unit) for n in names)
        return named_bands(f"{self.sensor}-pan" if self.is_pan else self.sensor, names, unit)

    def _nodata(self) -> float:
        for element in self.root.iter("Special_Value"):
            if (element.findtext("SPECIAL_VALUE_TEXT") or "").strip().upper() == "NODATA":
                return to_number(element.findtext("SPECIAL_VALUE_COUNT") or "", "SPECIAL_VALUE_COUNT", self.document)
        return NODATA

    def _require_images(self) -> None:
        """Check that every tile is there, and in the folder: GDAL would read nodata for a missing one."""
        names = [e.get("href", "") for e in self.root.iterfind(".//Data_Access//DATA_FILE_PATH")]
        for name in names:
            tile = self.document.parent / name
            require_inside(os.fspath(tile), os.fspath(self.document))
            if not tile.is_file():
                raise InputError(
                    f"{self.document.name} lists {len(names)} images, of which {name} is missing. Fetch it."
                )
            # GDAL would open a file of any format for a tile.
            open_checked(os.fspath(tile), str(tile))[0].close()


def _is_document(path: ProductPath) -> bool:
    return path.name.upper().startswith(PREFIX) and path.suffix.upper() == SUFFIX


def _documents(folder: ProductPath) -> list[ProductPath]:
    """Return the DIM files of a folder, of its folders of images, and of those of the products in it."""
    patterns = (f"{PREFIX}*", f"IMG_*/{PREFIX}*", f"*/IMG_*/{PREFIX}*")
    return sorted(f for pattern in patterns for f in folder.glob(pattern) if _is_document(f))


def _of_one_product(path: ProductPath) -> list[_Image]:
    """Return a multispectral image and the pan image of the same time; the only image where there is one."""
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path} does not exist. Give the DIM_*.XML of an image, or its folder.")
        image = _Image.of(path)
        near = [*_documents(path.parent), *path.parent.parent.glob(f"IMG_*/{PREFIX}*")]
        return [image] if image.is_pan else [image, *_pan_of(image, [d for d in near if _is_document(d)])]
    documents = _documents(path)
    images = [_Image.of(d) for d in documents]
    multispectral = [image for image in images if not image.is_pan]
    if len(multispectral) > 1 or (not multispectral and len(images) > 1):
        listed = ", ".join(d.document.name for d in (multispectral or images)[:MAX_LISTED])
        raise InputError(
            f"{path} holds {len(multispectral or images)} images that may be the scene ({listed}). Give the DIM file of one."
        )
    if not multispectral:
        return images
    near = [*documents, *path.parent.glob(f"IMG_*/{PREFIX}*")]
    return [*multispectral, *_pan_of(multispectral[0], [d for d in near if _is_document(d)])]


def _pan_of(image: _Image, documents: Sequence[ProductPath]) -> list[_Image]:
    """Return the pan image of the same satellite and time among some DIM files; none if there is none, or several."""
    others = {os.fspath(d): d for d in documents if d.name != image.document.name}
    pans = [pan for d in others.values() if (pan := _Image.of(d)).is_pan]
    same = [pan for pan in pans if (pan.mission, pan.time) == (image.mission, image.time)]
    return same if len(same) == 1 else []
