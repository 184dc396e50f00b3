"""Scale, offset and unit of the assets of a STAC item: as it states, else as the provider documents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dualsr_geo.io.products.stac.assets import BandAsset

if TYPE_CHECKING:
    import pystac

# Sentinel-2: reflectance = stored / 10000, from this processing baseline on less 0.1 (Products Specification Document).
SENTINEL_2, OFFSET_BASELINE = (1e-4, -0.1), 4.0
# Landsat Collection 2 Level 2: surface reflectance, and surface temperature in kelvin (USGS, Science Product Guides).
LANDSAT_REFLECTANCE, LANDSAT_TEMPERATURE = (2.75e-5, -0.2), (0.00341802, 149.0)


@dataclass(frozen=True)
class ItemValues:
    """What the stored values of the assets of an item mean.

    Attributes
    ----------
    item : pystac.Item
    """

    item: pystac.Item

    @cached_property
    def platform(self) -> str:
        """Name of the satellite, or of the constellation; empty where the item states none."""
        names = ("platform", "eo:platform", "constellation", "eo:constellation")
        return next((str(v) for n in names if isinstance(v := self.item.properties.get(n), str) and v), "")

    def packing(self, asset: BandAsset) -> tuple[float | None, float, str]:
        """Return scale, offset and unit of an asset: of the item, else of the product; the scale is None for neither."""
        unit = "" if asset.unit in ("", "1", "none") else asset.unit
        if asset.scale is not None:
            is_reflectance = self._is_sentinel_2 or "reflectance" in (self.item.assets[asset.key].roles or ())
            offset = 0.0 if self.offset_applied else asset.offset or 0.0
            return asset.scale, offset, unit or ("reflectance" if is_reflectance and not asset.is_thermal else "")
        if self._is_sentinel_2 and self._baseline is not None:
            scale, offset = SENTINEL_2
            is_shifted = self._baseline >= OFFSET_BASELINE and not self.offset_applied
            return scale, offset if is_shifted else 0.0, "reflectance"
        if re.match(r"L[CETMO]0\d_L2", self.item.id) and "_02_T" in self.item.id + asset.file:
            if re.search(r"(?i)(?:^|_)ST_B\d", asset.file):
                return (*LANDSAT_TEMPERATURE, "K")
            if re.search(r"(?i)_SR_B\d", asset.file):
                return (*LANDSAT_REFLECTANCE, "reflectance")
        return None, 0.0, unit

    @property
    def _is_sentinel_2(self) -> bool:
        return self.platform.lower().startswith("sentinel-2")

    @property
    def is_landsat(self) -> bool:
        """Whether the platform is a Landsat."""
        return self.platform.lower().startswith("landsat")

    @cached_property
    def _baseline(self) -> float | None:
        """Return the processing baseline of a Sentinel-2 product, by the properties or the name of the product."""
        stated = self.text("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
        match = re.fullmatch(r"0?(\d\d?\.\d+)", stated)
        if match:
            return float(match[1])
        match = re.search(r"_N(\d\d)(\d\d)_", f"{self.text('s2:product_uri')} {self.item.id}")
        return None if match is None else float(f"{match[1]}.{match[2]}")

    @property
    def offset_applied(self) -> bool:
        """Whether the files have Sentinel-2's offset already; raster:bands of such items states it all the same."""
        return any(v is True for k, v in self.item.properties.items() if k.endswith(":boa_offset_applied"))

    def text(self, *names: str) -> str:
        """Return the first of some properties that is a text."""
        values: list[Any] = [self.item.properties.get(name) for name in names]
        return next((v for v in values if isinstance(v, str) and v), "")
