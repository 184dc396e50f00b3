"""Detail assessment on the Wald pair: improved, omitted and hallucinated detail per band.

The sample is degraded once more by the ratio, or by a smaller one if too few pixels would remain, and
restored by the run's model; `detail` compares the result with the truth.

The scene itself has no truth, but it contradicts a part of the detail: from the detail A of a coarse
start S of the scene L, consistency removes B, and the removed share of A is

    contradicted = sum sign(A B) min(|A|, |B|) / sum |A|,    A = S - up(L),  B = M (degrade(S) - L)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, central_block, components
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.wald.pairs import WaldPair, WaldPairs
from dualsr_geo.fusion.wald.starts import block_ridges, coarse_start, guided_start
from dualsr_geo.models.definition import Model
from dualsr_geo.surveying import detail
from dualsr_geo.surveying.detail import DetailAssessment, Piece

# Smallest side of a Wald pair, px.
MIN_SIDE_PX = 6
# Largest number of pixels of the scene that are restored from the pair, and of blocks that they are in.
MAX_RESTORED_PX, MAX_BLOCKS = 16384, 4
# Largest number of the scene's pixels on which contradicted detail is measured.
MAX_CONTRADICTED_PX = 1024


def assess_detail(pairs: WaldPairs, noise: NDArray[np.floating], model: Model, state: Any) -> DetailAssessment | None:
    """Assess the detail of a scene's product.

    Parameters
    ----------
    pairs : WaldPairs
        Of the sample.
    noise : array, shape (band,)
        Standard deviation of the scene's noise, physical units.
    model : Model
    state : object
        The model's state for the scene, of its `state_type`.

    Returns
    -------
    DetailAssessment or None
        None for a scene too small to be degraded.
    """
    psf, space, fit = pairs.psf, pairs.space, model.guide_fit(state)
    side = min(min(b.shape) for b in pairs.blocks)
    ratio = next((r for r in range(psf.ratio, 1, -1) if side // r >= MIN_SIDE_PX), None)
    if ratio is None:
        return None
    # On noisy scenes the truth is denoised, and contains the noise in the subspace only.
    truth_noise = noise if space.keeps_rest else space.noise * np.linalg.norm(space.expand, axis=1)
    with torch.inference_mode():
        pieces = _restored(_part(pairs.of_ratio(ratio)), model, state)
        if not any(bool(p.valid.any()) for p in pieces):
            return None
        blocks = _central(pairs.blocks, psf.ratio, MAX_CONTRADICTED_PX)
        contradicted = None if fit is None else _contradicted(blocks, psf, space, fit)
    return detail.measure(pieces, truth_noise, ratio, contradicted)


def _part(pair: WaldPair) -> WaldPair:
    """Return the central part of a pair, which is restored."""
    count = min(len(pair.blocks), MAX_BLOCKS)
    return pair.part(MAX_BLOCKS, max(int((MAX_RESTORED_PX / count) ** 0.5) // pair.ratio, 2 * MIN_SIDE_PX))


def _central(blocks: Sequence[Block], ratio: int, max_px: int) -> list[Block]:
    """Return the central parts of some blocks, at most so many lr pixels together."""
    some = blocks[:: -(-len(blocks) // MAX_BLOCKS)]
    return [central_block(b, ratio, max(int((max_px / len(some)) ** 0.5), 2 * MIN_SIDE_PX)) for b in some]


def _restored(pair: WaldPair, model: Model, state: Any) -> list[Piece]:
    """Restore the blocks of a pair by the model."""
    pieces = []
    for block, truth, restored in zip(pair.blocks, pair.truths, model.restore(pair, state), strict=True):
        op = operator(pair.blur, block.shape)
        interpolated, low = (op.upsample(op.degrade(x)) for x in (truth, block.guide))
        valid = (block.weight > 0).repeat_interleave(pair.ratio, 0).repeat_interleave(pair.ratio, 1)
        pieces.append(Piece(restored, truth, interpolated, block.guide - low, valid))
    return pieces


def _contradicted(blocks: Sequence[Block], psf: Psf, space: Subspace, fit: GuideFit) -> NDArray[np.float32]:
    """Return the share of the coarse start's detail that consistency removes, shape (band,)."""
    expand = torch.from_numpy(space.expand)
    sums = torch.zeros(2, len(expand), dtype=torch.float64)
    for block in blocks:
        observed = components(space, block.cube)
        sums += torch.stack(_contradiction(block, observed, psf, space, fit, expand))
    removed, total = sums.numpy()
    return np.asarray(np.clip(removed / np.maximum(total, 1e-300), 0, 1), np.float32)


def _contradiction(
    block: Block, observed: Tensor, psf: Psf, space: Subspace, fit: GuideFit, expand: Tensor
) -> list[Tensor]:
    """Return sums over a block, (band,) each: detail that consistency removes, and all detail of the start."""
    op, guided = operator(psf, block.shape), guided_start(block, fit)
    start = coarse_start(block, observed, guided, op)
    ridges = block_ridges(block, observed, guided, op, space)
    correction = consistency(psf, block.shape, ridges, op).spread(observed - op.degrade(start))
    valid = (block.weight > 0).repeat_interleave(psf.ratio, 0).repeat_interleave(psf.ratio, 1)
    removed, detail_of_start = (expand @ x[:, valid] for x in (-correction, start - op.upsample(observed)))
    return [detail.agreement(detail_of_start, removed), detail_of_start.abs().double().sum(1)]
