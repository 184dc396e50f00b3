"""What a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.bands import Band


@dataclass(frozen=True)
class Crop:
    """A piece of the scene at full resolution; its arrays are NaN where nothing is.

    Attributes
    ----------
    name : str
        ``"A"``, ``"B"``, ...
    where : str
        Its place, in words.
    ratio : int
    scene : array, shape (band, y, x)
    product : array, shape (band, ratio * y, ratio * x)
    reference : array like `product`, or None
    guide : array, shape (guide band, ratio * y, ratio * x), or None
    consistency : array, shape (y, x), or None
        RMSE over bands of the degraded product against the scene, physical units.
    uncertainty : array, shape (ratio * y, ratio * x), or None
        Standard deviation of the error of the first band that is shown.
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
    """How far the guide lies off at a place (0..1 from the top and the left): hr pixels down and right."""

    y: float
    x: float
    dy_px: float
    dx_px: float


@dataclass(frozen=True)
class ReportData:
    """What a page shows.

    Attributes
    ----------
    title : str
    facts : mapping of str to str
        Headline facts in order.
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
    shown : str
        The model of the crops; may be empty.
    relevance : array, shape (band,), or None
        How well the guide explains a band, 0..1; NaN where unknown.
    shifts : tuple of Shift
    shift_scale : str
        A sentence on how the shifts were measured.
    consistency_tiles : array, shape (tile row, tile column), or None
        RMSE of the degraded product against the scene.
    lineage : mapping
        What JSON can say.
    notes : tuple of str
        Warnings.
    tile_extent : tuple of float or None
        Rows and columns of a tile as a share of the scene's; without it tiles are drawn in one size.
    uncertainty : array, shape (band,), or None
        Mean standard deviation of the error; NaN where unknown.
    detail : mapping
        Kind (improvement, omission, ...) to shares of the true detail, shape (band,), NaN where unknown;
        empty where nobody knows.
    """

    title: str
    facts: Mapping[str, str]
    bands: tuple[Band, ...]
    unit: str | None
    overview: NDArray[np.float32]
    crops: tuple[Crop, ...]
    scores: Mapping[str, Mapping[str, float | None]]
    per_band: Mapping[str, Mapping[str, NDArray[np.float64]]]
    shown: str
    relevance: NDArray[np.float32] | None
    shifts: tuple[Shift, ...]
    shift_scale: str
    consistency_tiles: NDArray[np.float64] | None
    lineage: Mapping[str, Any]
    notes: tuple[str, ...]
    tile_extent: tuple[float, float] | None = None
    uncertainty: NDArray[np.float64] | None = None
    detail: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
