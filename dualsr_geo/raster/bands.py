"""Bands: name, wavelength and tags of each spectral channel of a scene, and how a user selects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dualsr_geo.errors import BandError

# Tag of a band of standard deviations in a TIFF: the band that they belong to, counted from 1.
DEVIATION_OF = "STANDARD_DEVIATION_OF"


@dataclass(frozen=True)
class Band:
    """One spectral channel of a scene.

    Attributes
    ----------
    name : str or None
        As the file names it.
    wavelength_nm, fwhm_nm : float or None
        Centre and full width at half maximum.
    good : bool
        False where the provider marks the band as bad (ENVI `bbl`).
    unit : str or None
        Physical unit of the values after scale and offset.
    color : str
        GDAL colour interpretation in lower case, e.g. ``"red"``, ``"gray"``, ``"undefined"``.
    tags : mapping
        The band's own metadata (GDAL's default domain), carried along untouched.
    """

    name: str | None = None
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None
    good: bool = True
    unit: str | None = None
    color: str = "undefined"
    tags: Mapping[str, str] = field(default_factory=dict)


def parse_bidx(text: str, count: int) -> tuple[int, ...]:
    """Read a band selection as rio does: ``"1"``, ``"1,3"``, ``"2..5"``, ``"..3"``, ``"4.."``.

    Parameters
    ----------
    text : str
        One-based indices and inclusive ranges, separated by commas.
    count : int
        Bands that the scene has.

    Returns
    -------
    tuple of int
        Zero-based indices in the order given.

    Raises
    ------
    BandError
        If an index is outside 1..count, or nothing is selected.
    """
    chosen: list[int] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        first, dots, last = part.partition("..")
        try:
            low = int(first or 1)
            high = int(last or count) if dots else low
        except ValueError:
            raise BandError(f"`{part}` is no band index. Give --bidx as 1, 1,3 or 2..5.") from None
        for index in (low, high):
            if not 1 <= index <= count:
                raise BandError(
                    f"--bidx names band {index}, but the scene has bands 1 to {count}. Give --bidx within 1..{count}."
                )
        chosen.extend(range(low - 1, high))
    if not chosen:
        raise BandError(f"--bidx selects none of the {count} bands of the scene. Leave it out for all.")
    return tuple(chosen)
