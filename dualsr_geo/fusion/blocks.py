"""Blocks of the survey's sample, their stacked pixels and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.fusion.subspace import Subspace

# Scenes of at most so many lr pixels are sampled whole; larger ones by blocks.
MAX_WHOLE_PX = 65536
# A band, or an estimate, needs at least so many valid lr pixels.
MIN_VALID_PX = 16
# A pixel of at least this weight has no hole near: degraded weights are 1 but for rounding.
WHOLE_WEIGHT = 0.999

# A filled cube (band, y, x), and how valid its pixels are (y, x), 0..1.
Filled = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Block:
    """A window of the sample and its guide, both filled.

    Attributes
    ----------
    cube : Tensor, shape (band, y, x)
    weight : Tensor, shape (y, x)
        0..1, how valid a pixel is.
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
    """

    cube: torch.Tensor
    weight: torch.Tensor
    guide: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns on the lr grid."""
        return int(self.cube.shape[1]), int(self.cube.shape[2])

    @property
    def holes(self) -> torch.Tensor | None:
        """How valid pixels are, (y, x), 1 where nothing is missing but for rounding; None where nothing is missing."""
        rounded = torch.where(self.weight > WHOLE_WEIGHT, 1.0, self.weight)
        return None if bool((rounded == 1).all()) else rounded


def stack(planes: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    """Return the planes (..., y, x) of several blocks as one array (..., pixel)."""
    return torch.cat([p.flatten(-2) for p in planes], -1).cpu().numpy()


def components(space: Subspace, cube: torch.Tensor) -> torch.Tensor:
    """Return the spectral coefficients (component, y, x) of a cube (band, y, x)."""
    flat = space.components(cube.flatten(1).cpu().numpy())
    return torch.from_numpy(flat).view(-1, *cube.shape[1:])


def guided_pixels(
    blocks: Sequence[Block], blur: Psf
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return spectra (band, pixel), the degraded guide (guide band, pixel), and weights (pixel,) of blocks."""
    guide = stack([operator(blur, b.shape).degrade(b.guide) for b in blocks])
    return stack([b.cube for b in blocks]), guide, stack([b.weight for b in blocks])


def high_pass(planes: torch.Tensor, ratio: int) -> torch.Tensor:
    """Return planes (..., y, x) less what the usual blur of a ratio keeps of them, interpolated.

    Rows and columns beyond a multiple of the ratio are completed by the last ones.
    """
    height, width = planes.shape[-2:]
    padding = 0, -width % ratio, 0, -height % ratio
    whole = torch.nn.functional.pad(planes, padding, mode="replicate")
    op = operator(Psf.from_mtf(ratio), (whole.shape[-2] // ratio, whole.shape[-1] // ratio))
    return planes - op.upsample(op.degrade(whole))[..., :height, :width]


def high_pass_pixels(
    blocks: Sequence[Block], blur: Psf, space: Subspace
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the high frequencies of components (component, pixel) and degraded guide (guide band, pixel) of blocks."""
    cubes = [high_pass(components(space, b.cube), blur.ratio) for b in blocks]
    guides = [high_pass(operator(blur, b.shape).degrade(b.guide), blur.ratio) for b in blocks]
    return stack(cubes), stack(guides)


def central_block(block: Block, ratio: int, side: int) -> Block:
    """Return the middle of a block, at most `side` lr pixels a side, as a copy that does not keep the rest.

    Parameters
    ----------
    block : Block
    ratio : int
        Of the block's guide.
    side : int
        lr pixels.
    """
    rows, columns = (slice(max(0, (n - side) // 2), (n + side) // 2) for n in block.shape)
    hr_rows, hr_columns = (slice(ratio * s.start, ratio * s.stop) for s in (rows, columns))
    parts = block.cube[:, rows, columns], block.weight[rows, columns], block.guide[:, hr_rows, hr_columns]
    return Block(*(p.contiguous() for p in parts))


def bands_with_data(cubes: Sequence[torch.Tensor]) -> tuple[int, ...]:
    """Return the indices of the bands that have at least `MIN_VALID_PX` valid pixels.

    Parameters
    ----------
    cubes : sequence of Tensor, shape (band, y, x)
        The sample, NaN where invalid.

    Raises
    ------
    InputError
        If there is none.
    """
    counts = sum(torch.isfinite(c).sum((1, 2)) for c in cubes)
    used = tuple(int(i) for i in torch.nonzero(torch.as_tensor(counts) >= MIN_VALID_PX).flatten())
    most = int(torch.as_tensor(counts).max())
    if not used and most:
        raise InputError(
            f"The scene has {most} valid pixel{'s' * (most > 1)} among {sum(c[0].numel() for c in cubes)} sampled ones, and its noise and "
            f"blur are estimated from at least {MIN_VALID_PX}. Give a larger part of the scene, or check its nodata value."
        )
    if not used:
        raise InputError(
            f"The scene holds no valid pixel in {sum(c[0].numel() for c in cubes)} sampled ones: all nodata. "
            "Check its nodata value, or give another as --nodata."
        )
    return used


def band_means(cubes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean of the valid pixels of each band of several cubes (band, y, x), shape (band,)."""
    total = sum(torch.nansum(c.double(), (1, 2)) for c in cubes)
    count = sum(torch.isfinite(c).sum((1, 2)) for c in cubes)
    return (torch.as_tensor(total) / torch.as_tensor(count).clamp_min(1)).float()
