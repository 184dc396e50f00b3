"""A scene: one acquisition, lazy, `(band, y, x)`, physical values, NaN where nothing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.io.readers.rasterio_source import Source
from dualsr_geo.raster._merge_sensing import Sensing
from dualsr_geo.raster.bands import Band, Packing


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
