"""The values that a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.bands import Band


@dataclass(frozen=True)
class Crop:
    """A window of the scene at full resolution. Its arrays are NaN where there is no value.

    Attributes
    ----------
    name : str
        ``"A"``, ``"B"``, ...
    where : str
        The window, as text.
    ratio : int
    scene : array, shape (band, y, x)
    product : array, shape (band, ratio * y, ratio * x)
    reference : array like `product`, or None
    guide : array, shape (guide band, ratio * y, ratio * x), or None
    consistency : array, shape (y, x), or None
        RMSE over bands of the degraded product against the scene, physical units.
    uncertainty : array, shape (ratio * y, ratio * x), or None
        Standard deviation of the error of the first band that the figures show, physical units.
    """

    name: str
    where: str
    ratio: int
    scene: NDArray[np.float32]
    product: NDArray[np.float32]
    reference: NDArray[np.float32] | None
    guide: NDArray[np.float32] | None
    consistency: NDArray[np.float32] | None
    uncertainty: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Shift:
    """The displacement of the guide at one place.

    Attributes
    ----------
    y, x : float
        The place, 0..1 from the top and from the left of the scene.
    dy_px, dx_px : float
        Displacement down and to the right, hr pixels.
    """

    y: float
    x: float
    dy_px: float
    dx_px: float


@dataclass(frozen=True)
class ReportData:
    """What a report shows of a product, or of the products of several models.

    Attributes
    ----------
    title : str
    facts : mapping of str to str
        Headline facts, in the order of the page.
    bands : tuple of Band
        Of scene and product.
    unit : str or None
        Of the values.
    overview : array, shape (channel, y, x)
        Thumbnail of the scene in the bands to show, physical values.
    crops : tuple of Crop
    scores : mapping
        Model to score to value; empty without a reference.
    per_band : mapping
        Model to score to values, shape (band,).
    model : str
        The model that made the product of the crops; may be empty.
    relevance : array, shape (band,), or None
        Share of a band's variance that the guide explains, 0..1; NaN where unknown.
    shifts : tuple of Shift
    shifts_note : str
        A sentence on how the shifts were measured.
    tile_rmse : array, shape (tile row, tile column), or None
        RMSE of the degraded product against the scene.
    provenance : mapping
        How the product was made, as JSON holds it.
    notes : tuple of str
        Warnings.
    tile_extent : (float, float) or None
        Rows and columns of a tile as shares of the scene's. If None, all tiles are drawn in one size.
    uncertainty : array, shape (band,), or None
        Mean standard deviation of the error, physical units; NaN where unknown.
    detail : mapping
        Kind of the detail assessment (improvement, omission, ...) to shares of the true detail, shape (band,),
        NaN where unknown; empty without an assessment.
    """

    title: str
    facts: Mapping[str, str]
    bands: tuple[Band, ...]
    unit: str | None
    overview: NDArray[np.float32]
    crops: tuple[Crop, ...]
    scores: Mapping[str, Mapping[str, float | None]]
    per_band: Mapping[str, Mapping[str, NDArray[np.float64]]]
    model: str
    relevance: NDArray[np.float32] | None
    shifts: tuple[Shift, ...]
    shifts_note: str
    tile_rmse: NDArray[np.float64] | None
    provenance: Mapping[str, Any]
    notes: tuple[str, ...]
    tile_extent: tuple[float, float] | None = None
    uncertainty: NDArray[np.float64] | None = None
    detail: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
