"""What a scene's product makes up: its own Wald pair tells, where the scene is the truth.

The sample is degraded once more by the ratio, or by less where that would leave too little, and
brought back as the run's own model would: by the training-free start and our networks' correction of
it. `detail` says what is improved, omitted and hallucinated there.

On the scene itself there is no truth, but what it contradicts is known: of the detail A of a coarse
start S of the scene L, consistency takes out B, and the share of A that is lost is

    contradicted = sum sign(A B) min(|A|, |B|) / sum |A|,    A = S - up(L),  B = M (degrade(S) - L)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates, coarse_stage, subspace
from dualsr_geo.fusion.blocks import Block, central_block, components, stack
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import GuideFit, SceneRegression, fit_scene_regression
from dualsr_geo.fusion.spectra import core_spectra
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.models import correction, guided_correction, unguided_correction
from dualsr_geo.models.correction import CorrectionState
from dualsr_geo.models.definition import LearnedCorrection
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.raster.windows import Window
from dualsr_geo.survey import detail, wald_pairs
from dualsr_geo.survey.detail import DetailAssessment, Piece
from dualsr_geo.survey.error_calibration import WHOLE

# A Wald pair has at least so many pixels a side.
SMALLEST_SIDE = 6
# Pixels of the scene that are degraded, in so many blocks at most, and those that are sharpened as they are.
MOST_PX, MOST_BLOCKS, OWN_PX = 16384, 4, 1024


@dataclass(frozen=True)
class Networks:
    """Our networks, and by how much they correct the scene."""

    ours: LearnedCorrection
    known: CorrectionState


@dataclass(frozen=True)
class _Pair:
    """What is known of a Wald pair: space, blur, regressions and correction."""

    space: Subspace
    blur: Psf
    guided: tuple[SceneRegression, Tensor] | None
    networks: Networks | None


def assess_detail(
    blocks: Sequence[Block],
    psf: Psf,
    space: Subspace,
    noise: NDArray[np.floating],
    held: GuideFit | None = None,
    networks: Networks | None = None,
) -> DetailAssessment | None:
    """Return what the detail of a scene's product is worth.

    Parameters
    ----------
    blocks : sequence of Block
        The sample.
    psf : Psf
        The surveyed blur.
    space : Subspace
    noise : array, shape (band,)
        Of the scene, physical units.
    held : GuideFit, optional
        Left out without a guide.
    networks : Networks, optional
        Left out for models without.

    Returns
    -------
    DetailAssessment or None
        None of a scene too small to be degraded.
    """
    some = _some(blocks, psf.ratio, MOST_PX)
    side = min(min(b.shape) for b in some)
    ratio = next((r for r in range(psf.ratio, 1, -1) if side // r >= SMALLEST_SIDE), None)
    if ratio is None:
        return None
    # What noise the truth has: of noisy scenes it is what the subspace keeps.
    left = noise if space.keeps_rest else space.noise * np.linalg.norm(space.expand, axis=1)
    with torch.inference_mode():
        pieces = _restored(some, psf, ratio, space, noise, held, networks)
        if not any(bool(p.valid.any()) for p in pieces):
            return None
        taken = None if held is None else _contradicted(_some(blocks, psf.ratio, OWN_PX), psf, space, held)
    return detail.measure(pieces, left, ratio, taken)


def _some(blocks: Sequence[Block], ratio: int, most_px: int) -> list[Block]:
    few = blocks[:: -(-len(blocks) // MOST_BLOCKS)]
    return [central_block(b, ratio, max(int((most_px / len(few)) ** 0.5), 2 * SMALLEST_SIDE)) for b in few]


def _restored(
    blocks: Sequence[Block],
    psf: Psf,
    ratio: int,
    space: Subspace,
    noise: NDArray[np.floating],
    held: GuideFit | None,
    networks: Networks | None,
) -> list[Piece]:
    """Degrade the sample once more, and bring it back."""
    blur = Psf.from_mtf(ratio)
    pairs = wald_pairs.degraded(blocks, psf, ratio, space)
    known = _known([b for b, _ in pairs], blur, space, noise * blur.gain, held, networks)
    pieces = []
    for block, truth in pairs:
        op = operator(blur, block.shape)
        plain, low = (op.upsample(op.degrade(x)) for x in (truth, block.guide))
        valid = (block.weight > 0).repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
        pieces.append(Piece(_made(block, known), truth, plain, block.guide - low, valid))
    return pieces


def _known(
    blocks: Sequence[Block],
    blur: Psf,
    space: Subspace,
    noise: NDArray[np.floating],
    held: GuideFit | None,
    networks: Networks | None,
) -> _Pair:
    """Find out of a Wald pair what the survey found out of the scene; candidates and networks count as there."""
    spectra, weight = stack([b.cube for b in blocks]), stack([b.weight for b in blocks])
    own = subspace.estimate_subspace(spectra, weight) if space.keeps_rest else space
    fitted, told = None, None
    if held is not None:
        guide = stack([operator(blur, b.shape).degrade(b.guide) for b in blocks])
        fit = fit_scene_regression(own.components(spectra), guide, weight)
        mixture = (own.share() @ held.weights if own.keeps_rest else held.weights).astype(np.float32)
        fitted = fit, torch.from_numpy(mixture)
    if networks is None:
        return _Pair(own, blur, fitted, None)
    there = networks.known
    count = len(there.alone.anchors.bands)
    lone = replace(unguided_correction.UnguidedInputs.of(own, spectra, weight, noise, count), share=there.alone.share)
    if held is not None and there.guided is not None:
        told = GuidedInputs.of(own, fit, mixture, spectra, guide, weight, len(there.guided.anchors.bands))
        told = replace(told, share=there.guided.share)
    return _Pair(own, blur, fitted, replace(networks, known=CorrectionState(told, lone)))


def _made(block: Block, known: _Pair) -> Tensor:
    """Return a block of a Wald pair, sharpened."""
    space, blur, shape, held = known.space, known.blur, block.shape, None
    op, z = operator(blur, shape), components(space, block.cube)
    left = z
    if known.guided is not None:
        held = coarse_stage.GuidedStart(PreparedGuide(block.guide, None, None), *known.guided)
        left = z - op.degrade(_start(block, z, held, blur))
    lams = wald_pairs.ridge((left.double() ** 2).mean((1, 2)).numpy(), space.noise).tolist()
    closed = consistency(blur, shape, lams, op)
    weight = _whole(block.weight)
    hr = coarse_stage.sharpen(z, weight, held, closed, closed)
    core = Window(0, shape[0], 0, shape[1]).scaled(blur.ratio)
    made = core_spectra(space, block.cube, z, hr, op, core)
    if known.networks is not None:
        window = None
        if held is not None:
            window = guided_correction.GuidedWindow(space, block.cube, z, hr, held, blur, closed, weight)
        seen, plain = (
            unguided_correction.observed(space, block.cube, z),
            consistency(blur, shape, [0.0] * len(block.cube), op),
        )
        ours, told = known.networks.ours, known.networks.known
        made = replace(made, added=correction.learned_detail(ours, told, window, seen, weight, blur, plain, core))
    return made.bands(slice(None))


def _whole(weight: Tensor) -> Tensor | None:
    """Return how valid pixels are, 1 where nothing is missing but for rounding; None where nothing is."""
    rounded = torch.where(weight > WHOLE, 1.0, weight)
    return None if bool((rounded == 1).all()) else rounded


def _start(block: Block, z: Tensor, held: coarse_stage.GuidedStart, psf: Psf) -> Tensor:
    """Return the coarse start of a block's components."""
    pair = prepare_inputs(z, block.guide, held.fit, operator(psf, block.shape), block.weight)
    return candidates.fit_mixture(pair, held.mixture).evaluate(0, len(z))


def _contradicted(blocks: Sequence[Block], psf: Psf, space: Subspace, held: GuideFit) -> NDArray[np.float32]:
    """Return the share of the coarse start's detail that consistency takes out, shape (band,)."""
    expand = torch.from_numpy(space.expand)
    sums = torch.zeros(2, len(expand), dtype=torch.float64)
    for block in blocks:
        op, z = operator(psf, block.shape), components(space, block.cube)
        here = coarse_stage.GuidedStart(
            PreparedGuide(block.guide, None, None), held.fit, torch.from_numpy(held.mixture)
        )
        start = _start(block, z, here, psf)
        left = z - op.degrade(start)
        lams = wald_pairs.ridge((left.double() ** 2).mean((1, 2)).numpy(), space.noise).tolist()
        fixed = consistency(psf, block.shape, lams, op).spread(left)
        valid = (block.weight > 0).repeat_interleave(psf.ratio, 0).repeat_interleave(psf.ratio, 1)
        taken_out, made = (expand @ x[:, valid] for x in (-fixed, start - op.upsample(z)))
        sums += torch.stack([detail.agreement(made, taken_out), made.abs().double().sum(1)])
    taken, there = sums.numpy()
    return np.asarray(np.clip(taken / np.maximum(there, 1e-300), 0, 1), np.float32)
