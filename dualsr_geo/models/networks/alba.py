"""Adaptive local block aggregation: which neighbouring blocks of the guide resemble a block.

SFPN section III-C, equations (8) and (9). The guide is cut in blocks; of the eight around a block
the three of the largest cosine similarity lend it their features, times that similarity. The
similarities depend on the guide alone: they are computed once a tile, and every band's features
are then fetched by pixel numbers.

Blocks at the edge. A scene whose sides are no multiple of the block is bordered by zeros to whole
blocks, half of them on each side (the smaller half first), as the published code does; what lies
beyond the edge lends zeros. A tile says by `lead` how much of its first blocks lies before it. A
neighbour that is not there weighs nothing (the published code stops with an error below 2 x 2
blocks).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Side of a block in lr pixels (section IV-F; the published code multiplies it by the ratio).
BLOCK_LR = 3
# How many of the eight neighbours lend (section IV-E).
LENDERS = 3
# Row-major, as the published code lists them: its answer to equal similarities depends on it.
AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))

Lead = tuple[int, int]


@dataclass(frozen=True)
class Similar:
    """The blocks that resemble each block of a guide.

    Attributes
    ----------
    index : Tensor of int64, shape (tile, block, lender)
        Their row-major numbers; a block's own where there is no such neighbour.
    cosine : Tensor of float32, shape (tile, block, lender)
        Their similarities, largest first; 0 where there is no such neighbour.
    source : Tensor of int32, shape (tile, 1 + lender, y, x)
        For each pixel the row-major number, over all tiles, of itself and of the pixels lent to it.
    weight : Tensor, shape (tile, 1 + lender, y, x)
        1, and the similarities; 0 for a pixel beyond the edge.
    """

    index: Tensor
    cosine: Tensor
    source: Tensor
    weight: Tensor

    def to(self, dtype: torch.dtype) -> Similar:
        """Return it with weights of another type."""
        return Similar(self.index, self.cosine, self.source, self.weight.to(dtype))


def centred(shape: tuple[int, int], size: int) -> Lead:
    """Return the lead of a whole scene of `shape` (y, x) hr pixels: half of what is missing to whole blocks."""
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
        hr pixels (y, x) of the first blocks that lie before the tile; by default the tile is a
        whole scene, see `centred`.
    published : bool
        Give the neighbour below (number 6) the similarity of the one below left (number 5), as the
        published code does by a slip where a block has all eight.

    Returns
    -------
    Similar
    """
    lead = centred((guide.shape[2], guide.shape[3]), size) if lead is None else lead
    likeness = _likeness(_blocks(guide.float(), size, lead))
    if published:
        whole = torch.isfinite(likeness).all(-1)
        likeness[..., 6] = torch.where(whole, likeness[..., 5], likeness[..., 6])
    cosine, chosen = likeness.topk(LENDERS, dim=-1)
    there = torch.isfinite(cosine)
    cosine = cosine.masked_fill(~there, 0.0)
    moves = torch.tensor(AROUND, device=guide.device)[chosen] * there.unsqueeze(-1)
    rows, columns = cosine.shape[1:3]
    own = torch.arange(rows * columns, device=guide.device).reshape(rows, columns, 1)
    index = own + moves[..., 0] * columns + moves[..., 1]
    source, weight = _pixels(moves * size, cosine, size, lead, (guide.shape[2], guide.shape[3]))
    return Similar(index.flatten(1, 2), cosine.flatten(1, 2), source, weight)


def lent(features: Tensor, source: Tensor, weight: Tensor) -> Tensor:
    """Return each pixel's features followed by those lent to it.

    Parameters
    ----------
    features : Tensor, shape (tile, feature, y, x)
        Of whole tiles.
    source, weight : Tensor, shape (tile, 1 + lender, y, x)
        Of the part wanted, from `Similar`.

    Returns
    -------
    Tensor, shape (tile, (1 + lender) * feature, y, x)
        Of the part wanted.
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
    bordered = functional.pad(guide, (lead[1], after[1], lead[0], after[0]))
    cut = bordered.reshape(tiles, bands, bordered.shape[2] // size, size, bordered.shape[3] // size, size)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3)


def _likeness(blocks: Tensor) -> Tensor:
    """Return the cosine with each of the neighbours, (tile, block row, block column, 8); -inf where there is none."""
    rows, columns = blocks.shape[1:3]
    unit = functional.pad(functional.normalize(blocks, dim=-1, eps=1e-8), (0, 0, 1, 1, 1, 1))
    there = functional.pad(torch.ones(rows, columns, dtype=torch.bool, device=blocks.device), (1, 1, 1, 1))
    made = []
    for dy, dx in AROUND:
        y, x = slice(1 + dy, 1 + dy + rows), slice(1 + dx, 1 + dx + columns)
        cosine = (unit[:, 1 : 1 + rows, 1 : 1 + columns] * unit[:, y, x]).sum(-1)
        made.append(cosine.masked_fill(~there[y, x], -torch.inf))
    return torch.stack(made, dim=-1)


def _pixels(moves: Tensor, cosine: Tensor, size: int, lead: Lead, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Spread the blocks' choice over their pixels: source and weight of `Similar`."""
    tiles = cosine.shape[0]
    height, width = shape
    device = cosine.device
    n = torch.arange(tiles, device=device).reshape(-1, 1, 1, 1)
    y = torch.arange(height, device=device).reshape(1, -1, 1, 1)
    x = torch.arange(width, device=device).reshape(1, 1, -1, 1)
    block_y, block_x = (y.flatten() + lead[0]) // size, (x.flatten() + lead[1]) // size
    spread = moves[:, block_y][:, :, block_x]
    from_y, from_x = y + spread[..., 0], x + spread[..., 1]
    inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    own = ((n * height + y) * width + x).expand(tiles, height, width, 1)
    source = torch.where(inside, (n * height + from_y) * width + from_x, own)
    weight = cosine[:, block_y][:, :, block_x] * inside
    both = torch.cat([own, source], -1).to(torch.int32), torch.cat([torch.ones_like(weight[..., :1]), weight], -1)
    return both[0].permute(0, 3, 1, 2), both[1].permute(0, 3, 1, 2)
