"""Fidelity of spectral indices: those of the product at the scene's pixels, against those of the scene.

They are compared in two ways: the index of the degraded product, and the degraded index of the product. The first is
that of the scene in every product that agrees with the scene. The second differs even for the true image, since the
index of a mixture is not the mean of the indices.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.statistics import ConsistencyCheck, TileStatistics
from dualsr_geo.raster.spectral_indices import LEAST_SHARE, SUMS, SpectralIndex, difference_sums

# A pixel of the scene is compared where the product has an index in at least this share of its blur.
MIN_WEIGHT = 0.5


class IndexCheck:
    """Compares the indices of a tile on the pixels where `ConsistencyCheck` compares its bands.

    Parameters
    ----------
    context : TileContext
    check : ConsistencyCheck
        Of the same tile; it degrades.
    """

    def __init__(self, context: TileContext, check: ConsistencyCheck) -> None:
        self.context, self.check = context, check
        measured = check.has_pixels
        self.indices: tuple[SpectralIndex, ...] = context.indices if measured else ()
        self.needed = {band for index in self.indices for band in (index.first, index.second)}
        self.product: dict[int, torch.Tensor] = {}
        self.scene: dict[int, torch.Tensor] = {}

    def add(self, rows: slice, product: torch.Tensor, scene: torch.Tensor) -> None:
        """Keep the planes that an index needs; the parameters are those of `ConsistencyCheck.add`."""
        for at, band in enumerate(range(rows.start, rows.stop)):
            if band in self.needed:
                # A view would keep all bands that were computed together.
                self.product[band] = product[at].clone()
                self.scene[band] = scene[at]

    def close(self, statistics: TileStatistics) -> None:
        """Add the sums of every index to the statistics, once all bands are added."""
        statistics.indices = np.zeros((len(self.context.indices), *SUMS))
        for i, index in enumerate(self.indices):
            statistics.indices[i] = self._sums(index)

    def _sums(self, index: SpectralIndex) -> NDArray[np.float64]:
        """Return the sums of one index over the tile, of both ways."""
        pair = index.first, index.second
        product = torch.stack([self.product[band] + self.origins[band] for band in pair])
        scene = torch.stack([self.scene[band] + self.origins[band] for band in pair])
        least = LEAST_SHARE * sum(self.means[band] for band in pair)
        fine, fine_valid = _index(product, least)
        covered = torch.isfinite(scene).all(0)
        if not covered.all():
            ratio = self.context.ratio
            fine_valid &= covered.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
        if fine_valid.all():
            averaged = self.check.degrade(fine)
            weight = torch.ones_like(averaged)
        else:
            weight = self.check.degrade(fine_valid.float())
            averaged = self.check.degrade(torch.where(fine_valid, fine, 0.0)) / weight
        degraded = torch.stack([self.degraded[band] + self.origins[band] for band in pair])
        coarse, coarse_valid = _index(degraded, least)
        observed, valid = (self.check.observed(t) for t in _index(scene, least))
        valid = valid & coarse_valid & (weight >= MIN_WEIGHT)
        return np.stack(
            [difference_sums(*(t.numpy(force=True) for t in (t, observed, valid))) for t in (coarse, averaged)]
        )

    @cached_property
    def degraded(self) -> dict[int, torch.Tensor]:
        """The needed bands of the product, degraded to the compared lr pixels."""
        return {band: self.check.degrade(plane) for band, plane in self.product.items()}

    @cached_property
    def origins(self) -> dict[int, float]:
        """What a plane lacks to be proportional to physical values."""
        normalization = self.context.survey.normalization
        if normalization is None:
            return dict.fromkeys(self.needed, 0.0)
        return {band: normalization.origins[band] / normalization.unit for band in self.needed}

    @cached_property
    def means(self) -> dict[int, float]:
        """Mean of the needed bands in the survey's sample; 0 of bands without data."""
        statistics = self.context.survey.statistics
        sampled = dict(zip(statistics.used, statistics.space.mean.tolist(), strict=True))
        return {band: sampled.get(band, 0.0) + self.origins[band] for band in self.needed}


def _index(planes: torch.Tensor, least: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the normalised difference of two planes (2, y, x), and where it is defined."""
    total = planes[0] + planes[1]
    return (planes[0] - planes[1]) / total, (total > 0) & (total >= least)
