"""Small pictures of a scene of xarray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from dualsr_geo.accessor.dates import require_one_date
from dualsr_geo.argument_types import integer, wrong
from dualsr_geo.errors import BandError, OptionError

if TYPE_CHECKING:
    from PIL.Image import Image


def picture(scene: xr.DataArray | xr.Dataset, bands: Sequence[int] | None, longest: int) -> Image:
    """Return a small picture; see `ArrayAccessor.quicklook`."""
    from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415  # loads rasterio
    from dualsr_geo.report.quicklook import quicklook, visible_bands  # noqa: PLC0415

    require_one_date(scene)
    if longest < 1:
        raise OptionError(f"`longest` is {longest} pixels. Give 1 or more.")
    opened = open_scene(scene)
    chosen = visible_bands(opened.bands, opened.count) if bands is None else _zero_based(bands, opened.count)
    step = max(1.0, max(opened.shape) / longest)
    height, width = (max(1, round(n / step)) for n in opened.shape)
    cube = np.stack([opened.source.thumbnail(b, (height, width)) for b in chosen])
    return quicklook(cube, tuple(opened.bands[b] for b in chosen), longest=longest)


def _zero_based(bands: Sequence[int], count: int) -> tuple[int, ...]:
    if isinstance(bands, str | bytes) or not isinstance(bands, Iterable):
        raise wrong("bands", bands, "a list of one or three band numbers, e.g. [3, 2, 1]")
    bands = [integer("bands", band) for band in bands]
    if len(bands) not in (1, 3) or not all(1 <= b <= count for b in bands):
        raise BandError(
            f"A picture has one or three bands, and the scene has {count}; the bands are {list(bands)}. "
            f"Give one or three within 1..{count}."
        )
    return tuple(b - 1 for b in bands)
