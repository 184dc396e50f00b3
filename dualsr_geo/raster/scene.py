"""Scenes: one acquisition, lazy, `(band, y, x)`, physical values, NaN where they are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.html_tables import two_columns
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.source import Source

# Range of the MTF gains of the bands above which it is reported: their median is used for all bands.
REPORTED_GAIN_RANGE = 0.05


@dataclass(frozen=True)
class Scene:
    """The pixels of an acquisition and their metadata; picklable.

    Attributes
    ----------
    source : Source
        Reads physical values by window.
    geobox : GeoBox
        Its grid; without CRS where the file has none.
    bands : tuple of Band
    packing : Packing
        How the file stores the values.
    tags : mapping of str to mapping
        Dataset metadata by GDAL domain, ``""`` for the default one; without layout and statistics.
    attrs : mapping
        CF attributes of the variable; empty for rasters.
    name : str
        The file's stem or the array's name.
    sensor : SceneSensor or None
        The instrument, where it is identified.
    """

    source: Source
    geobox: GeoBox
    bands: tuple[Band, ...]
    packing: Packing
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attrs: Mapping[str, object] = field(default_factory=dict)
    name: str = "scene"
    sensor: SceneSensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.geobox.shape
        return int(height), int(width)

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.bands)

    def __repr__(self) -> str:
        return f"<Scene {self.name}: {', '.join(value for _, value in self._facts)}>"

    def _repr_html_(self) -> str:
        return two_columns(f"Scene {self.name}", self._facts)

    @property
    def _facts(self) -> list[tuple[str, str]]:
        """What a person needs of a scene at a glance: names and values."""
        (height, width), packing = self.shape, self.packing
        nodata = "no nodata value" if packing.nodata is None else f"nodata {packing.nodata:g}"
        centres = [b.wavelength_nm for b in self.bands if b.wavelength_nm is not None]
        facts = [
            ("Bands", f"{self.count} band{'s' * (self.count != 1)}"),
            ("Size", f"{height} x {width} pixels of {grid.gsd(self.geobox):.4g} {grid.unit(self.geobox)}"),
            ("CRS", grid.crs_name(self.geobox) or "no CRS"),
            ("Stored as", f"{packing.dtype}, {nodata}"),
        ]
        if centres:
            facts.append(("Wavelengths", f"{min(centres):.4g} to {max(centres):.4g} nm"))
        if self.sensor is not None:
            facts.append(("Sensor", self.sensor.sentence))
        return facts

    def select(self, indices: Sequence[int]) -> Scene:
        """Return the scene of some of its bands, zero-based, in the order given."""
        chosen = tuple(indices)
        return replace(
            self,
            source=self.source.select(chosen),
            bands=tuple(self.bands[i] for i in chosen),
            packing=self.packing.select(chosen),
            sensor=None if self.sensor is None else self.sensor.select(chosen),
        )


def preview(scene: Scene, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return one band subsampled at low cost, which shows where data are valid.

    Parameters
    ----------
    scene : Scene
    band : int
        Zero-based.
    shape : tuple of int
        Rows and columns; no more are returned than the scene has.

    Returns
    -------
    array, shape (y, x)
        Physical values, NaN where invalid. Overviews are used where a raster has them.
    """
    (height, width), (rows, columns) = scene.shape, shape
    return scene.source.thumbnail(band, (min(rows, height), min(columns, width)))


@dataclass(frozen=True)
class SceneSensor:
    """The instrument of a scene, and how it is identified.

    Attributes
    ----------
    sensor : str
        Its name.
    why : str
        How it is identified, e.g. ``"as given"``.
    used : bool
        Whether its numbers are used; a resemblance is only reported.
    mtf_gains : tuple of float
        One per band of the scene; empty where none was measured.
    """

    sensor: str
    why: str
    used: bool
    mtf_gains: tuple[float, ...] = ()

    @property
    def mtf_gain(self) -> float | None:
        """One gain for all bands, their median; None where none was measured."""
        return round(float(np.median(self.mtf_gains)), 4) if self.mtf_gains else None

    @property
    def sentence(self) -> str:
        """The sensor in a sentence for the user."""
        if not self.used:
            return f"Sensor: {self.why}"
        return f"Sensor {self.sensor}, {self.why}; {self._gain_text}"

    @property
    def _gain_text(self) -> str:
        if not self.mtf_gains:
            return "its MTF was not measured, so the estimate from the scene is used"
        low, high = min(self.mtf_gains), max(self.mtf_gains)
        median = f", the median of {low:g} to {high:g}" if high - low > REPORTED_GAIN_RANGE else ""
        return f"MTF gain {self.mtf_gain:g}{median}"

    def select(self, indices: Sequence[int]) -> SceneSensor:
        """Return the sensor of some of the bands."""
        return replace(self, mtf_gains=tuple(self.mtf_gains[i] for i in indices) if self.mtf_gains else ())

    def to_json(self) -> dict[str, Any]:
        """Return the values that reports and `--json` show."""
        return {
            "name": self.sensor,
            "why": self.why,
            "used": self.used,
            "mtf_gain": self.mtf_gain,
            "mtf_gains": list(self.mtf_gains),
            "said": self.sentence,
        }
