"""What reads physical values by window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.windows import Window


class Source(Protocol):
    """Physical values of a scene, readable by window; picklable."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        ...

    @property
    def masked(self) -> bool:
        """Whether values can be missing that no nodata value marks."""
        ...

    def read(self, window: Window, bands: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Return physical values, shape (band, y, x), NaN where invalid; the window lies inside."""
        ...

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid."""
        ...

    def select(self, indices: Sequence[int]) -> Source:
        """Return the source of some of the bands."""
        ...

    def files_read(self) -> tuple[str, ...]:
        """Return the files or the store that it reads; none for an array."""
        ...

    def fingerprint(self) -> dict[str, object]:
        """Return what tells this source from a changed one, fit for JSON."""
        ...
