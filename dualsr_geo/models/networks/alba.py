"""Adaptive local block aggregation of SFPN: features of similar neighbouring blocks.

SFPN section III-C, equations (8) and (9). The guide is cut into blocks; of the eight around a block
the three of the largest cosine similarity lend it their features, times that similarity. The
similarities depend on the guide only: they are computed once per tile, and the features of every
band are then fetched by pixel numbers.

Blocks at the edge. A scene whose sides are not a multiple of the block is padded by zeros to whole
blocks, half of them on each side (the smaller half first), as in the published code; pixels beyond
the edge lend zeros. The `lead` of a tile is the part of its first blocks that is before the tile. A
missing neighbour has no weight (the published code fails below 2 x 2 blocks).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Side of a block, lr pixels (section IV-F; the published code multiplies it by the ratio).
BLOCK_LR_PX = 3
# Number of neighbours that lend their features (section IV-E).
LENDERS = 3
# Offsets (y, x) of the neighbours, row-major as in the published code: its choice among equal similarities
# depends on the order.
NEIGHBOUR_OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))

Lead = tuple[int, int]


@dataclass(frozen=True)
class Similar:
    """The most similar neighbours of each block of a guide.

    Attributes
    ----------
    index : Tensor of int64, shape (tile, block, lender)
        Row-major numbers of the neighbours; the block's own for a missing neighbour.
    cosine : Tensor of float32, shape (tile, block, lender)
        Their similarities, largest first; 0 for a missing neighbour.
    source : Tensor of int32, shape (tile, 1 + lender, y, x)
        For each pixel the row-major number, over all tiles, of itself and of the pixels that lend to it.
    weight : Tensor, shape (tile, 1 + lender, y, x)
        1, and the similarities; 0 for a pixel beyond the edge.
    """

    index: Tensor
    cosine: Tensor
    source: Tensor
    weight: Tensor

    def to(self, dtype: torch.dtype) -> Similar:
        """Return the same with weights of another dtype."""
        return Similar(self.index, self.cosine, self.source, self.weight.to(dtype))


def centred(shape: tuple[int, int], size: int) -> Lead:
    """Return the lead of a whole scene of `shape` (y, x) hr pixels: half of the padding to whole blocks."""
    return -shape[0] % size // 2, -shape[1] % size // 2


def lead_at(start: tuple[int, int], scene: Lead, size: int) -> Lead:
    """Return the lead of a tile that starts at hr pixel `start` (y, x) of a scene with that lead."""
    return (scene[0] + start[0]) % size, (scene[1] + start[1]) % size


def similar(guide: Tensor, size: int, lead: Lead | None = None, *, published: bool = False) -> Similar:
    """Find the most similar neighbours of every block.

    Parameters
    ----------
    guide : Tensor of float32, shape (tile, guide band, y, x)
    size : int
        Side of a block in hr pixels.
    lead : (int, int), optional
        hr pixels (y, x) of the first blocks that are before the tile; by default the tile is a
        whole scene, see `centred`.
    published : bool
        Give the neighbour below (number 6) the similarity of the one below left (number 5), an
        error of the published code if a block has all eight.

    Returns
    -------
    Similar
    """
    lead = centred((guide.shape[2], guide.shape[3]), size) if lead is None else lead
    similarity = _similarity(_blocks(guide.float(), size, lead))
    if published:
        has_all = torch.isfinite(similarity).all(-1)
        similarity[..., 6] = torch.where(has_all, similarity[..., 5], similarity[..., 6])
    cosine, chosen = similarity.topk(LENDERS, dim=-1)
    exists = torch.isfinite(cosine)
    cosine = cosine.masked_fill(~exists, 0.0)
    offsets = torch.tensor(NEIGHBOUR_OFFSETS, device=guide.device)[chosen] * exists.unsqueeze(-1)
    rows, columns = cosine.shape[1:3]
    own = torch.arange(rows * columns, device=guide.device).reshape(rows, columns, 1)
    index = own + offsets[..., 0] * columns + offsets[..., 1]
    source, weight = _pixels(offsets * size, cosine, size, lead, (guide.shape[2], guide.shape[3]))
    return Similar(index.flatten(1, 2), cosine.flatten(1, 2), source, weight)


def with_lent_features(features: Tensor, source: Tensor, weight: Tensor) -> Tensor:
    """Return each pixel's features followed by those lent to it.

    Parameters
    ----------
    features : Tensor, shape (tile, feature, y, x)
        Of whole tiles.
    source, weight : Tensor, shape (tile, 1 + lender, y, x)
        Of a window of the tiles, from `Similar`.

    Returns
    -------
    Tensor, shape (tile, (1 + lender) * feature, y, x)
        Of that window.
    """
    tiles, lenders, height, width = source.shape
    pixels = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    fetched = pixels.index_select(0, source.permute(0, 2, 3, 1).reshape(-1))
    fetched.mul_(weight.permute(0, 2, 3, 1).reshape(-1, 1))
    return fetched.view(tiles, height, width, lenders * features.shape[1]).permute(0, 3, 1, 2)


def _blocks(guide: Tensor, size: int, lead: Lead) -> Tensor:
    """Return (tile, block row, block column, value), zeros beyond the edge."""
    tiles, bands, height, width = guide.shape
    after = -(height + lead[0]) % size, -(width + lead[1]) % size
    padded = functional.pad(guide, (lead[1], after[1], lead[0], after[0]))
    blocks = padded.reshape(tiles, bands, padded.shape[2] // size, size, padded.shape[3] // size, size)
    return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3)


def _similarity(blocks: Tensor) -> Tensor:
    """Return the cosine with each neighbour, (tile, block row, block column, 8); -inf for a missing one."""
    rows, columns = blocks.shape[1:3]
    unit = functional.pad(functional.normalize(blocks, dim=-1, eps=1e-8), (0, 0, 1, 1, 1, 1))
    exists = functional.pad(torch.ones(rows, columns, dtype=torch.bool, device=blocks.device), (1, 1, 1, 1))
    cosines = []
    for dy, dx in NEIGHBOUR_OFFSETS:
        y, x = slice(1 + dy, 1 + dy + rows), slice(1 + dx, 1 + dx + columns)
        cosine = (unit[:, 1 : 1 + rows, 1 : 1 + columns] * unit[:, y, x]).sum(-1)
        cosines.append(cosine.masked_fill(~exists[y, x], -torch.inf))
    return torch.stack(cosines, dim=-1)


def _pixels(offsets: Tensor, cosine: Tensor, size: int, lead: Lead, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return source and weight of `Similar` from the offsets of the blocks' neighbours, hr pixels."""
    tiles = cosine.shape[0]
    height, width = shape
    device = cosine.device
    n = torch.arange(tiles, device=device).reshape(-1, 1, 1, 1)
    y = torch.arange(height, device=device).reshape(1, -1, 1, 1)
    x = torch.arange(width, device=device).reshape(1, 1, -1, 1)
    block_y, block_x = (y.flatten() + lead[0]) // size, (x.flatten() + lead[1]) // size
    pixel_offsets = offsets[:, block_y][:, :, block_x]
    from_y, from_x = y + pixel_offsets[..., 0], x + pixel_offsets[..., 1]
    inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    own = ((n * height + y) * width + x).expand(tiles, height, width, 1)
    source = torch.where(inside, (n * height + from_y) * width + from_x, own)
    weight = cosine[:, block_y][:, :, block_x] * inside
    both = torch.cat([own, source], -1).to(torch.int32), torch.cat([torch.ones_like(weight[..., :1]), weight], -1)
    return both[0].permute(0, 3, 1, 2), both[1].permute(0, 3, 1, 2)
