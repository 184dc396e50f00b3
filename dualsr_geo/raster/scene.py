"""A scene: one acquisition, lazy, `(band, y, x)`, physical values, NaN where nothing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.source import Source

# MTF gains that differ by more are worth a word: one is used for all bands.
GAINS_DIFFER = 0.05


@dataclass(frozen=True)
class Scene:
    """Where the pixels of an acquisition come from, and what is known of them; picklable.

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
        Dataset metadata by GDAL domain, ``""`` for the default one; layout and statistics left out.
    attrs : mapping
        CF attributes of the variable; empty for rasters.
    name : str
        The file's stem or the array's name.
    sensor : Sensing or None
        The instrument that took it, where one knows.
    """

    source: Source
    geobox: GeoBox
    bands: tuple[Band, ...]
    packing: Packing
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attrs: Mapping[str, object] = field(default_factory=dict)
    name: str = "scene"
    sensor: Sensing | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.geobox.shape
        return int(height), int(width)

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.bands)

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
    """Return one band cheaply subsampled, to see where valid data lies.

    Parameters
    ----------
    scene : Scene
    band : int
        Zero-based.
    shape : tuple of int
        Rows and columns wanted; no more come than the scene has.

    Returns
    -------
    array, shape (y, x)
        Physical values, NaN where invalid. Overviews are used where a raster has them.
    """
    (height, width), (rows, columns) = scene.shape, shape
    return scene.source.thumbnail(band, (min(rows, height), min(columns, width)))


@dataclass(frozen=True)
class Sensing:
    """The instrument of a scene, and how one knows.

    Attributes
    ----------
    sensor : str
        Its name.
    why : str
        How one knows, e.g. ``"as given"``.
    used : bool
        Whether its numbers are used; a mere resemblance is said, no more.
    mtf_gains : tuple of float
        One a band of the scene; empty where none was measured.
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
    def said(self) -> str:
        """A sentence for the user."""
        if not self.used:
            return f"Sensor: {self.why}"
        return f"Sensor {self.sensor}, {self.why}; {self._said_gain}"

    @property
    def _said_gain(self) -> str:
        if not self.mtf_gains:
            return "nobody measured its MTF, so the scene's own estimate decides"
        least, most = min(self.mtf_gains), max(self.mtf_gains)
        differ = f", the median of {least:g} to {most:g}" if most - least > GAINS_DIFFER else ""
        return f"MTF gain {self.mtf_gain:g}{differ}"

    def select(self, indices: Sequence[int]) -> Sensing:
        """Return what is known of some of the bands."""
        return replace(self, mtf_gains=tuple(self.mtf_gains[i] for i in indices) if self.mtf_gains else ())

    def to_json(self) -> dict[str, Any]:
        """Return it for reports."""
        return {
            "name": self.sensor,
            "why": self.why,
            "used": self.used,
            "mtf_gain": self.mtf_gain,
            "mtf_gains": list(self.mtf_gains),
            "said": self.said,
        }
