"""A source of bands from several files or cubes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.source import BaseSource, Source
from dualsr_geo.raster.windows import Window


@dataclass(frozen=True)
class BandStack(BaseSource):
    """Bands of several sources of one size, in any order.

    Attributes
    ----------
    parts : tuple of Source
    order : tuple of (int, int)
        Part of each band, and its index there.
    """

    parts: tuple[Source, ...]
    order: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, parts: Sequence[Source]) -> BandStack:
        """Return the source of all bands of the parts, one part after another."""
        return cls(tuple(parts), tuple((p, i) for p, part in enumerate(parts) for i in range(part.shape[0])))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        _, height, width = self.parts[0].shape
        return len(self.order), height, width

    @property
    def masked(self) -> bool:
        """Whether values of any part can be missing that no nodata value marks."""
        return any(part.masked for part in self.parts)

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid."""
        part, index = self.order[band]
        return self.parts[part].thumbnail(index, shape)

    def select(self, indices: Sequence[int]) -> BandStack:
        """Return the source of some of the bands, without the parts that have none of them."""
        chosen = [self.order[i] for i in indices]
        used = sorted({part for part, _ in chosen})
        order = tuple((used.index(part), index) for part, index in chosen)
        return BandStack(tuple(self.parts[part] for part in used), order)

    def normalized(self, normalization: Normalization) -> BandStack:
        """Return the source whose values are shifted and scaled."""
        origins = dict(zip(self.order, normalization.origins, strict=True))
        parts = []
        for at, part in enumerate(self.parts):
            own = tuple(origins.get((at, i), 0.0) for i in range(part.shape[0]))
            parts.append(part.normalized(replace(normalization, origins=own)))
        return replace(self, parts=tuple(parts))

    def files_read(self) -> tuple[str, ...]:
        """Return the files of all parts, each once."""
        return tuple(dict.fromkeys(f for part in self.parts for f in part.files_read()))

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of every part, and the order of the bands."""
        return {"parts": [part.fingerprint() for part in self.parts], "order": [list(o) for o in self.order]}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        # Each part is read once for all of its bands.
        chosen = [self.order[b] for b in bands]
        out: NDArray[np.float32] | None = None
        for part, source in enumerate(self.parts):
            rows = [row for row, (p, _) in enumerate(chosen) if p == part]
            if rows:
                values = source.read(window, [chosen[row][1] for row in rows])
                out = np.empty((len(chosen), *window.shape), values.dtype) if out is None else out
                out[rows] = values
        return np.empty((0, *window.shape), np.float32) if out is None else out
