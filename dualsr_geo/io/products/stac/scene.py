"""A STAC item as a scene: an asset a band, the coarse bands guided by the fine ones."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, repacked, stack
from dualsr_geo.io.products.stac.assets import QUALITY, BandAsset, band_assets, can_be_scene, chosen, without_copies
from dualsr_geo.io.products.stac.checks import FieldError, is_local
from dualsr_geo.io.products.stac.documents import opened_href, read_item
from dualsr_geo.io.products.stac.values import ItemValues
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.readers.references.local import require_inside, trusted
from dualsr_geo.io.storage.urls import shown
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene
from dualsr_geo.redaction import remember
from dualsr_geo.sensors.definition import Sensor
from dualsr_geo.sensors.registry import find

if TYPE_CHECKING:
    import pystac

# Largest difference between the wavelength of an item and that of the sensor's band of the same name, nm.
SAME_BAND_NM = 60.0
# Least ratio of the pixel sizes of a scene and its guide.
LEAST_RATIO = 1.5


def open_item(where: str, *, gsd: float | None, sensor: str | None, nodata: float | None) -> Delivery:
    """Open the bands of an item of one pixel size, guided by the finest ones.

    Parameters
    ----------
    where : str
        See `read_item`.
    gsd : float or None
        Pixel size of the bands; by default that of the largest group that is coarser than the finest.
    sensor : str or None
        Not used: the item names the platform.
    nodata : float or None
        Instead of that of the files.

    Raises
    ------
    InputError
        If the item has no bands, two assets are the same band, or one cannot be opened.
    OptionError
        If there are no bands of `gsd`, or a pattern names none.
    """
    del sensor
    listed, patterns = read_item(where)
    product = _Product(listed.item, listed.location.partition("#")[0], patterns)
    try:
        return product.open_delivery(gsd, nodata)
    except FieldError as error:
        raise InputError(
            f"The STAC item {product.name} in {shown(product.document)} is not valid: {error}. Correct it, or fetch it again."
        ) from None


@dataclass(frozen=True)
class _Product:
    """An item, the path or URL of its document, and the patterns of the assets that are chosen."""

    item: pystac.Item
    document: str
    patterns: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.item.id

    def open_delivery(self, gsd: float | None, nodata: float | None) -> Delivery:
        assets = band_assets(self.item)
        if not assets:
            return self._single(gsd, nodata)
        groups: dict[float, list[BandAsset]] = {}
        selected = without_copies(chosen(assets, self.patterns, self.name), self.name)
        if not self.patterns and all(a.wavelength_nm for a in selected):
            selected = tuple(sorted(selected, key=lambda a: a.wavelength_nm or 0.0))
        for asset in selected:
            groups.setdefault(self._gsd(asset), []).append(asset)
        own, sharp = choose_gsd(
            {g: [self.band(a).name or a.key for a in group] for g, group in groups.items()}, gsd, self.name
        )
        scene = self._open(groups[own], nodata)
        guides = () if sharp is None else (self._open(groups[sharp], nodata),)
        notes = self._notes(assets, selected)
        if guides and grid.gsd(scene.geobox) < LEAST_RATIO * grid.gsd(guides[0].geobox):
            # Files next to an item may be overviews or resampled.
            notes = (
                *notes,
                f"{', '.join(b.name or '?' for b in guides[0].bands)}: pixels as large as the others, so no guide.",
            )
            guides = ()
        return Delivery(scene, guides, self._sensor_name, self._level, notes, gsds=tuple(sorted(groups)))

    def _single(self, gsd: float | None, nodata: float | None) -> Delivery:
        """Open the only asset that can be a scene, with all its bands."""
        keys = [k for k, a in self.item.assets.items() if can_be_scene(a) and not QUALITY.search(k)]
        keys = [k for k in self.patterns if k in self.item.assets] or keys
        if len(keys) != 1:
            names = ", ".join(sorted(self.item.assets)) or "none"
            raise InputError(
                f"The STAC item {self.name} has no asset that is a band (with eo:bands, bands, or a band's number in its name) and "
                f"{len(keys)} others that may be a scene; its assets are {names}. Give one, as in item.json#KEY."
            )
        if gsd is not None:
            raise OptionError(
                f"--gsd {gsd:g} selects among the pixel sizes of a product; {self.name} has one. Leave it out."
            )
        asset = BandAsset(keys[0], opened_href(self.item.assets[keys[0]]), keys[0])
        return Delivery(replace(self._raster(asset, nodata), name=self.name), (), "", "", ())

    # ---- opening -------------------------------------------------------------------------

    def _gsd(self, asset: BandAsset) -> float:
        """Return the pixel size of an asset, by its file where the item states none."""
        if asset.gsd is not None and asset.gsd > 0:
            return asset.gsd
        return abs(float(self._raster(asset, None).geobox.affine.a))

    def _open(self, assets: Sequence[BandAsset], nodata: float | None) -> Scene:
        scene = stack([self._band(a, nodata) for a in assets], self.name)
        acquired = self.item.datetime.isoformat().replace("+00:00", "Z") if self.item.datetime else None
        tags = {"SENSOR": self._sensor_name, "PROCESSING_LEVEL": self._level, "ACQUISITION": acquired}
        return replace(scene, tags={"": {k: v for k, v in tags.items() if v}})

    def _band(self, asset: BandAsset, nodata: float | None) -> Scene:
        if nodata is None and self._values.is_landsat:
            # The tags of the files state 255 for bands whose fill is 0.
            nodata = 0.0
        scene = self._raster(asset, nodata)
        if scene.count != 1:
            raise InputError(
                f"The asset {asset.key} of the STAC item {self.name} has {scene.count} bands, and the item states one. Give its "
                "file itself, or correct the item."
            )
        if nodata is None and asset.nodata is not None and scene.packing.nodata is None:
            scene = self._raster(asset, asset.nodata)
        scale, offset, unit = self._values.packing(asset)
        if scale is not None and set(scene.packing.scales) == {1.0} and set(scene.packing.offsets) == {0.0}:
            scene = repacked(scene, (scale,), (offset,), unit or None)
        return replace(scene, bands=(replace(self.band(asset), unit=unit or scene.bands[0].unit),))

    def _raster(self, asset: BandAsset, nodata: float | None) -> Scene:
        location = self.place(asset)
        remember(location)
        if is_local(location) and not Path(location).exists():
            raise InputError(
                f"The asset {asset.key} of the STAC item {self.name} is {location}, which does not exist. Fetch it, or put a file of "
                "its name next to the item."
            )
        try:
            return open_raster(location, bidx=None, nodata=nodata).scene
        except InputError as error:
            next_to = ", and put it next to the item" if is_local(self.document) and not is_local(location) else ""
            way_out = f" Fetch it{next_to}, or choose other assets." if next_to else ""
            raise InputError(
                f"The asset {asset.key} of the STAC item {self.name} cannot be opened: {error}{way_out}"
            ) from error

    def place(self, asset: BandAsset) -> str:
        """Return where the file of an asset is: next to a local item, if a file of its name is there."""
        if not is_local(self.document):
            if is_local(asset.href) and not trusted():
                raise InputError(
                    f"{shown(self.document)} names the local file {asset.href}. Fetch the item, or give --trust-references if you "
                    "trust it."
                )
            return asset.href
        nearby = self._nearby(asset)
        if nearby is not None:
            return nearby
        if is_local(asset.href):
            require_inside(asset.href, self.document)
        return asset.href

    def _nearby(self, asset: BandAsset) -> str | None:
        """Return the file of an asset next to the item, where the asset names another place."""
        path = Path(self.document).parent / asset.file if asset.file else None
        if path is None or not path.is_file() or self._is_own(asset.href):
            return None
        require_inside(path, self.document)
        return os.fspath(path)

    def _is_own(self, href: str) -> bool:
        """Say whether an href is a file that the item may name."""
        if not is_local(href) or not Path(href).is_file():
            return False
        try:
            require_inside(href, self.document)
        except InputError:
            return False
        return True

    # ---- metadata ------------------------------------------------------------------------

    @cached_property
    def _values(self) -> ItemValues:
        return ItemValues(self.item)

    @cached_property
    def _sensor(self) -> Sensor | None:
        try:
            return find(self._values.platform) if self._values.platform else None
        except (InputError, OptionError):
            return None

    @property
    def _sensor_name(self) -> str:
        return self._sensor.name if self._sensor else ""

    @cached_property
    def _level(self) -> str:
        """Return the level in the notation of the provider, by the properties or the id."""
        product = self._values.text("s2:product_type", "product:type", "landsat:correction", "processing:level")
        match = re.search(r"L[12][A-Z]{0,2}", f"{product} {self.name}")
        return match[0] if match else ""

    def band(self, asset: BandAsset) -> Band:
        """Return the band of an asset: the sensor's, if it has one of this name and wavelength."""
        bands = {b.name: b for b in self._sensor.bands} if self._sensor else {}
        for name in _spellings(asset):
            known_band = bands.get(name)
            if known_band is None:
                continue
            centre = asset.wavelength_nm
            if centre is None or abs(centre - known_band.wavelength_nm) <= SAME_BAND_NM:
                return Band(name, centre or known_band.wavelength_nm, asset.fwhm_nm or known_band.fwhm_nm)
        return Band(asset.name, asset.wavelength_nm, asset.fwhm_nm)

    # ---- notes ---------------------------------------------------------------------------

    def _notes(self, assets: Sequence[BandAsset], selected: Sequence[BandAsset]) -> tuple[str, ...]:
        notes = [self._values_note(selected)]
        nearby = [a for a in selected if is_local(self.document) and self._nearby(a) is not None]
        if nearby:
            notes.append(
                f"{len(nearby)} of {len(selected)} assets are read from the folder of the item, not from their hrefs."
            )
        if self._values.offset_applied and any(a.offset for a in selected):
            notes.append("The offset of the item is left out: its files have it already (boa_offset_applied).")
        thermal = [a.key for a in assets if a.is_thermal and a not in selected]
        if thermal and not self.patterns:
            notes.append(f"Left out, since they measure temperature: {', '.join(thermal)}.")
        if len({a.name for a in assets}) < len(assets) and not self.patterns:
            notes.append(
                "Of bands in several files the one of the finest pixels is read, a GeoTIFF rather than a JPEG 2000."
            )
        return tuple(notes)

    def _values_note(self, selected: Sequence[BandAsset]) -> str:
        packings = [self._values.packing(a) for a in selected]
        units = {unit for scale, _, unit in packings if scale is not None and unit}
        if all(scale is None for scale, _, _ in packings):
            mtl = (
                self._values.is_landsat and is_local(self.document) and any(Path(self.document).parent.glob("*_MTL.*"))
            )
            better = " The MTL file next to it does: give the folder for reflectance." if mtl else ""
            return f"Values are as stored: the item states no scale.{better}"
        return f"Values are {' and '.join(sorted(units)) or 'scaled'}, by the scale and offset of each asset."


def _spellings(asset: BandAsset) -> tuple[str, ...]:
    """Return the names that a sensor's table may have for the band of an asset."""
    texts = (asset.name, asset.file.rpartition(".")[0], asset.key)
    numbers = [m[1] for t in texts if (m := re.search(r"(?i)(?:^|[_\W])B0?(\d{1,2}A?)(?=$|[_\W])", t))]
    return tuple(dict.fromkeys([asset.name, *(f"B{f}" for n in numbers for f in (n.zfill(2 + n.endswith("A")), n))]))
