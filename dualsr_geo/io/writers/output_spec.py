"""Specification of an output: its destination and form, its grid, its bands, and how they are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox

from dualsr_geo.errors import OptionError
from dualsr_geo.io.writers.destination import Destination
from dualsr_geo.raster.bands import DEVIATION_OF, Band
from dualsr_geo.raster.packing import Packing

TIFF_FORMATS = ("COG", "GTiff")
FORMATS = ("COG", "GTiff", "netCDF", "Zarr")
# Names that GDAL's programs read as standard output.
STANDARD_OUTPUT = ("-", "/vsistdout/", "/vsistdout_redirect/")
SUFFIXES = {".tif": "COG", ".tiff": "COG", ".nc": "netCDF", ".zarr": "Zarr"}

# Ending of the stem of a file of standard deviations.
DEVIATIONS = "_sigma"

# Of four depths tried, this one read both a band (0.03 s) and a spectrum (0.012 s) fast.
BANDS_PER_CHUNK = 16
# Sides of chunks in pixels: the range aimed at, and the range accepted if the tile has no divisor in it.
CHUNK_SIDES_PX = (192, 256)
ACCEPTED_CHUNK_SIDES_PX = (64, 512)


@dataclass(frozen=True)
class OutputSpec:
    """All of an output but its values.

    Attributes
    ----------
    destination : Destination
        Where the output goes, and its format.
    geobox : GeoBox
        The target grid; its CRS may be None.
    bands : tuple of Band
    packing : Packing
        How values are stored.
    tags : mapping of str to mapping
        Dataset metadata by GDAL domain; ``""`` is the default domain.
    attrs : mapping
        CF attributes of the variable.
    name : str
        Name of the variable in Zarr.
    tile : int
        Side of a tile on the target grid in pixels.
    options : tuple of (str, str)
        Creation options, ``--co NAME=VALUE``; they override the defaults.
    uncertainty : bool
        Whether the standard deviation of the error of every value is stored, too.
    separate : bool
        Whether the standard deviations of a TIFF are a second file, not further bands.
    resumable : bool
        Whether the command that writes it has ``--resume``.
    """

    destination: Destination
    geobox: GeoBox
    bands: tuple[Band, ...]
    packing: Packing
    tags: Mapping[str, Mapping[str, str]]
    attrs: Mapping[str, object]
    name: str
    tile: int
    options: tuple[tuple[str, str], ...] = ()
    uncertainty: bool = False
    separate: bool = False
    resumable: bool = True

    @property
    def path(self) -> str:
        """Path or URL of the output."""
        return self.destination.path

    @property
    def format(self) -> str:
        """``"COG"``, ``"GTiff"``, ``"netCDF"`` or ``"Zarr"``."""
        return self.destination.format

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """Where the output goes, and its standard deviations if they are a second file."""
        return (self.destination, *(d for d in [self.deviations_destination] if d is not None))

    @property
    def deviations_destination(self) -> Destination | None:
        """Where the file of the standard deviations goes; None where they are bands or a variable."""
        if not (self.uncertainty and self.separate and self.format in TIFF_FORMATS):
            return None
        return replace(self.destination, path=deviations_path(self.path))  # type: ignore[type-var]  # both destinations are dataclasses

    @property
    def variables(self) -> tuple[OutputSpec, ...]:
        """The values, and their standard deviations where they are stored: variables on one grid."""
        if not self.uncertainty:
            return (self,)
        name = "uncertainty" if self.name != "uncertainty" else "standard_error"
        deviations = replace(
            self,
            name=name,
            bands=tuple(deviation_of(b) for b in self.bands),
            attrs=deviation_attrs(self.attrs, self.name),
            packing=self.packing.deviations,
            uncertainty=False,
        )
        return replace(self, attrs={**self.attrs, "ancillary_variables": name}, uncertainty=False), deviations

    @property
    def stacked(self) -> OutputSpec:
        """The single variable of a TIFF: all bands, followed by their standard deviations unless they are a second file."""
        if not self.uncertainty or self.deviations_destination is not None:
            return replace(self, uncertainty=False)
        return replace(
            self, bands=self.bands + self.deviation_bands, packing=with_deviations(self.packing), uncertainty=False
        )

    @property
    def deviation_bands(self) -> tuple[Band, ...]:
        """The bands of standard deviations of a TIFF, which name the bands that they belong to."""
        return deviation_bands(self.bands)

    @property
    def largest_disk_bytes(self) -> int:
        """Upper bound of what a run takes on disk, uncompressed: the values, and a TIFF twice while it is written."""
        raw = len(self.variables) * self.raw_bytes
        if self.format == "Zarr":
            # The only options that Zarr takes are those of overviews.
            overviews = raw // 3 if self.options else 0
            return raw + overviews if self.destination.keeps_values_on_disk else 0
        if self.format == "netCDF":
            return 2 * raw
        overviews = raw // 3 if self.format == "COG" else 0
        return raw + 2 * (raw + overviews)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        height, width = self.geobox.shape
        return len(self.bands), int(height), int(width)

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Bands, rows and columns of a chunk of the stored values."""
        count, height, width = self.shape
        side = chunk_side(self.tile)
        return min(count, BANDS_PER_CHUNK), min(height, side), min(width, side)

    @property
    def tiles(self) -> int:
        """Number of tiles of the output."""
        _, height, width = self.shape
        return -(-height // self.tile) * -(-width // self.tile)

    @property
    def fill(self) -> float | int:
        """Stored value where no tile was written."""
        nodata = self.packing.nodata
        if nodata is None:
            return 0
        return float(nodata) if self.packing.is_float else int(nodata)

    @property
    def raw_bytes(self) -> int:
        """Size of the values of one variable, uncompressed."""
        return math.prod(self.shape) * np.dtype(self.packing.dtype).itemsize


def deviations_path(path: str) -> str:
    """Return the path of the file of standard deviations of a TIFF: its stem ends in `DEVIATIONS`."""
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}{DEVIATIONS}.{suffix}" if dot and "/" not in suffix else f"{path}{DEVIATIONS}"


def band_title(band: Band, index: int) -> str | None:
    """Return the name of a band, else one made of its wavelength; None if it has neither."""
    if band.name is not None or band.wavelength_nm is None:
        return band.name
    return f"Band {index} ({band.wavelength_nm:.1f} nm)"


def deviation_of(band: Band) -> Band:
    """Return the band of the standard deviations of a band: of the same unit, but no colour."""
    return replace(band, color="undefined", tags={})


def deviation_bands(bands: Sequence[Band]) -> tuple[Band, ...]:
    """Return the bands of standard deviations of a TIFF, which name the bands that they belong to."""
    return tuple(
        replace(deviation_of(b), name=f"{band_title(b, i) or f'Band {i}'} sigma", tags={DEVIATION_OF: str(i)})
        for i, b in enumerate(bands, 1)
    )


def with_deviations(packing: Packing) -> Packing:
    """Return the packing of the bands of a TIFF that are followed by their standard deviations."""
    own = packing.deviations
    return replace(packing, scales=packing.scales + own.scales, offsets=packing.offsets + own.offsets)


def deviation_attrs(attrs: Mapping[str, object], name: str) -> dict[str, object]:
    """Return the CF attributes of the standard deviations of a variable; `standard_error` is a CF modifier."""
    deviations: dict[str, object] = {"long_name": f"standard deviation of the error of {name}"}
    if "standard_name" in attrs:
        deviations["standard_name"] = f"{attrs['standard_name']} standard_error"
    return deviations


def chunk_side(tile: int) -> int:
    """Return the side of a chunk in pixels: a divisor of the tile's of about 256, at most 512 if possible.

    A tile whose divisors are all tiny or huge (2018 = 2 x 1009) gets the smallest huge one: files of a few
    pixels would cost more than the memory of a large chunk.
    """
    for low, high in (CHUNK_SIDES_PX, ACCEPTED_CHUNK_SIDES_PX):
        fitting = [d for d in range(low, high + 1) if tile % d == 0]
        if fitting:
            return max(fitting)
    # Divisors come in pairs, one of each at most the root.
    small = [d for d in range(1, math.isqrt(tile) + 1) if tile % d == 0]
    return min(d for n in small for d in (n, tile // n) if d > ACCEPTED_CHUNK_SIDES_PX[1] or d == tile)


def format_of(path: str, requested: str | None) -> str:
    """Return the format to write: the requested one, else that of the suffix.

    Raises
    ------
    OptionError
        If the format is unknown, or there is neither.
    """
    if path in STANDARD_OUTPUT:
        raise OptionError(
            f"The output {path} is a pipe, and a product is written in pieces that are not in order. Give the path of a file."
        )
    if requested is not None:
        formats = {name.lower(): name for name in FORMATS}
        if requested.lower() not in formats:
            raise OptionError(f"--format {requested} cannot be written. Give --format COG, GTiff, netCDF or Zarr.")
        return formats[requested.lower()]
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise OptionError(
            f"The suffix `{suffix}` of {path} is not that of a format. "
            "Give --format COG, GTiff, netCDF or Zarr, or a name that ends in .tif, .nc or .zarr."
        )
    return SUFFIXES[suffix]
