"""Estimates for a scene's guide: where it shows the scene, its placement, its noise, and its Wald pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import change_detection
from dualsr_geo.fusion.blocks import MIN_VALID_PX, Block, Filled, guided_pixels, stack
from dualsr_geo.fusion.change_detection import ChangeModel
from dualsr_geo.fusion.subspace import Subspace, estimate_subspace
from dualsr_geo.fusion.wald.component_choice import chosen_components
from dualsr_geo.fusion.wald.pairs import WaldPairs
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample, GuideStatistics, SceneStatistics
from dualsr_geo.registration.guide_placement import Placement, assumed_placement, estimate_placement
from dualsr_geo.registration.scene_blur.assumption import unguided_placement
from dualsr_geo.registration.shift import move_guide
from dualsr_geo.surveying import guide_checks, sampling
from dualsr_geo.surveying.guide_denoising import GuideDenoising, GuidedSample, choose_denoising
from dualsr_geo.surveying.sampling import SurveyOptions

# What has changed is judged again where the guide was displaced by at least this, lr pixels: before, edges that are
# displaced look like changes.
REJUDGED_SHIFT_LR = 0.5
# And where less than this share of what the guide reaches seemed unchanged.
REJUDGED_BELOW = 0.9

# A guide that explains less of the bands' variance says little of the blur: a map of labels has led to one half as wide
# again as the right one, and to a product 5 dB worse than bicubic.
MIN_SHARE_FOR_BLUR = 0.2
# Of several guides, relations are estimated where all are measured if that is at least this share of what they cover.
MIN_MEASURED_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class GuideEstimates:
    """What a survey finds out about the guide.

    Attributes
    ----------
    common : CommonEstimates
    placement : Placement
    changes : ChangeModel or None
    denoising : GuideDenoising or None
    """

    common: CommonEstimates
    placement: Placement
    changes: ChangeModel | None = None
    denoising: GuideDenoising | None = None


def estimate_guide(
    sample: FilledSample, statistics: SceneStatistics, options: SurveyOptions, repetition: float
) -> GuideEstimates:
    """Register and denoise the guide, and estimate its statistics and its Wald pairs.

    Parameters
    ----------
    sample : FilledSample
    statistics : SceneStatistics
    options : SurveyOptions
    repetition : float
        Mean number of times that a pixel of the scene is repeated.
    """
    common = CommonEstimates(
        statistics, assumed_placement(options).psf, fine=options.fine, anchors=options.anchors, repetition=repetition
    )
    if not any(np.isfinite(g).any() for g in sample.guides):
        placement = _without_guide(sample, options)
        return GuideEstimates(replace(common, psf=placement.psf), placement)
    leading = statistics.space if statistics.space.count else _leading(sample.filled)
    placement, blocks, mean = _registered(leading, sample, common.psf, options)
    psf = placement.psf
    changes = None
    if options.changes:
        changes, blocks = change_detection.fit_change_model(blocks, psf, leading)
    common = replace(common, psf=psf, spread=placement.spread, blocks=tuple(blocks), guide=GuideStatistics(mean))
    if not _enough(blocks):
        return GuideEstimates(*_unused(common, placement, sample, options), changes)
    guide = GuideStatistics(mean, sampling.relevance(*guided_pixels(blocks, psf)))
    if not _shows_scene(guide, blocks, sample, psf):
        return GuideEstimates(*_unused(replace(common, guide=guide), placement, sample, options), changes)
    denoising = None
    if options.denoise:
        blocks, denoising = _denoised(sample, blocks, placement, statistics)
    pixels = guided_pixels(blocks, psf)
    guide = GuideStatistics(mean, sampling.relevance(*pixels), sampling.response(*pixels))
    if options.model.guided:
        statistics = statistics.leading(chosen_components(blocks, psf, statistics.space))
    pairs, noisy = _wald_pairs(blocks, psf, statistics.space, denoising)
    common = replace(common, statistics=statistics, guide=guide, blocks=tuple(blocks), pairs=pairs, noisy_pairs=noisy)
    return GuideEstimates(common, placement, changes, denoising)


def explained_share(guide: GuideStatistics, blocks: Sequence[Block]) -> float:
    """Return the mean share of the bands' variance that the guide explains in blocks."""
    assert guide.relevance is not None
    return guide_checks.explained_share(
        guide.relevance, len(guide.mean), sum(float((b.weight > 0).sum()) for b in blocks)
    )


def _enough(blocks: Sequence[Block]) -> bool:
    return float(sum((b.weight > 0).sum() for b in blocks)) >= MIN_VALID_PX


def _shows_scene(guide: GuideStatistics, blocks: Sequence[Block], sample: FilledSample, psf: Psf) -> bool:
    """Return whether a guide, as read, is an image of the scene: no map of labels, and relevant."""
    is_labels = guide_checks.is_label_map(sample.guides, blocks, psf)
    return not is_labels and explained_share(guide, blocks) >= guide_checks.MIN_RELEVANCE


def _registered(
    leading: Subspace, sample: FilledSample, psf: Psf, options: SurveyOptions
) -> tuple[Placement, list[Block], NDArray[np.float32]]:
    """Return the guide's placement, the blocks with the registered guide, and the mean of each guide band."""
    placing = replace(sample, guides=sample.placing, placing=()) if sample.placing else sample
    placement = _placement(leading, placing, psf, options)
    blocks, mean = sampling.guided_blocks(sample.filled, sample.guides, placement.psf, placement.moved_px)
    other = _with_scene_blur(placement, blocks, sample, options)
    if other.psf != placement.psf:
        blocks, mean = sampling.guided_blocks(sample.filled, sample.guides, other.psf, other.moved_px)
    return other, _where_measured(blocks, sample), mean


def _where_measured(blocks: list[Block], sample: FilledSample) -> list[Block]:
    """Return blocks without weight where one of several guides is predicted, if enough is left."""
    if len(sample.measured) != len(blocks):
        return blocks
    left = [replace(b, weight=b.weight * m) for b, m in zip(blocks, sample.measured, strict=True)]
    share = sum(float((b.weight > 0).sum()) for b in left) / max(1, sum(int((b.weight > 0).sum()) for b in blocks))
    return left if _enough(left) and share >= MIN_MEASURED_SHARE else blocks


def _with_scene_blur(
    placement: Placement, blocks: Sequence[Block], sample: FilledSample, options: SurveyOptions
) -> Placement:
    """Return the placement with the blur that the scene shows, if a guide that says little of the blur has a wider one."""
    if options.psf is not None or options.mtf_gain is not None:
        return placement
    if placement.source != "default" and _share(blocks, placement.psf) >= MIN_SHARE_FOR_BLUR:
        return placement
    scene = _without_guide(sample, options)
    if max(scene.psf.sigma_px) >= max(placement.psf.sigma_px):
        return placement
    dy, dx = placement.psf.shift_px
    psf = Psf.gaussian(options.ratio, scene.psf.sigma_px, (dy, dx))
    return replace(
        placement, psf=psf, source=scene.source, spread=None, scene_blur=scene.scene_blur, assumption=scene.assumption
    )


def _share(blocks: Sequence[Block], psf: Psf) -> float:
    """Return the mean share of the bands' variance that the guide explains in blocks; 0 where it covers nothing."""
    if not _enough(blocks):
        return 0.0
    relevance = sampling.relevance(*guided_pixels(blocks, psf))
    return explained_share(GuideStatistics(np.empty(len(blocks[0].guide), np.float32), relevance), blocks)


def _unused(
    common: CommonEstimates, placement: Placement, sample: FilledSample, options: SurveyOptions
) -> tuple[CommonEstimates, Placement]:
    """Return the estimates and the placement of a scene whose guide is not used; it says nothing of the blur."""
    if placement.source == "default":
        placement = replace(_without_guide(sample, options), notes=placement.notes)
    return replace(common, psf=placement.psf), placement


def _wald_pairs(
    blocks: Sequence[Block], psf: Psf, space: Subspace, denoising: GuideDenoising | None
) -> tuple[WaldPairs, WaldPairs]:
    """Return the pairs for the weights of the candidates, and those that keep the guide's noise."""
    if denoising is None or denoising.pair_noise is None:
        pairs = WaldPairs(blocks, psf, space)
        return pairs, pairs
    noisy = WaldPairs(blocks, psf, space, denoising.pair_noise)
    return (WaldPairs(blocks, psf, space) if denoising.weights_noise is None else noisy), noisy


def _denoised(
    sample: FilledSample, blocks: Sequence[Block], placement: Placement, statistics: SceneStatistics
) -> tuple[list[Block], GuideDenoising | None]:
    """Choose the filter of the guide; return the blocks with the denoised guide."""
    if not statistics.space.count:
        return list(blocks), None
    moved = [move_guide(g, placement.moved_px, sample.margin_px) for g in sample.guides]
    reached = [i for i, g in enumerate(moved) if np.isfinite(g).all(0).any()]
    guided = GuidedSample(
        tuple(sample.filled[i] for i in reached), tuple(sample.guides[i] for i in reached),
        tuple(b.weight for b in blocks), placement.psf, placement.moved_px, statistics.space,
    )  # fmt: skip
    denoising = choose_denoising(guided, statistics.noise)
    if denoising is None or denoising.filter is None:
        return list(blocks), denoising
    return guided.blocks(denoising.filter), denoising


def _without_guide(sample: FilledSample, options: SurveyOptions) -> Placement:
    """Return the placement of a scene without a guide."""
    cubes, weights = ([part.numpy() for part in parts] for parts in zip(*sample.filled, strict=True))
    return unguided_placement(cubes, weights, options)


def _placement(leading: Subspace, sample: FilledSample, psf: Psf, options: SurveyOptions) -> Placement:
    """Register the guide where it shows the scene; what has changed is judged again once a large shift is undone."""
    if not options.changes:
        return estimate_placement(leading, sample.filled, sample.guides, options)
    unchanged = _unchanged(leading, sample, psf, (0.0, 0.0))
    placement = estimate_placement(leading, unchanged, sample.guides, options)
    if placement.shift_error_px is None and options.psf is None:
        # A displaced guide may seem to show something else everywhere.
        placement = estimate_placement(leading, sample.filled, sample.guides, options)
    moved_px = placement.moved_px
    if max(map(abs, moved_px)) < REJUDGED_SHIFT_LR * options.ratio or _used_share(sample, unchanged) > REJUDGED_BELOW:
        return placement
    unchanged = _unchanged(leading, sample, placement.psf, moved_px)
    again = estimate_placement(leading, unchanged, sample.guides, options, moved_px)
    return placement if again.shift_error_px is None else again


def _used_share(sample: FilledSample, unchanged: Sequence[Filled]) -> float:
    """Return the share of the valid pixels that the guide reaches and where it shows the scene."""
    m = sample.margin_px
    pairs = zip(sample.filled, unchanged, sample.guides, strict=True)
    used = valid = 0.0
    for (_, weight), (_, use), guide in pairs:
        ratio = (guide.shape[1] - 2 * m) // weight.shape[0]
        inner = np.asarray(np.isfinite(guide[:, m : guide.shape[1] - m, m : guide.shape[2] - m]).all(0))
        reached = weight.numpy() * inner[ratio // 2 :: ratio, ratio // 2 :: ratio]
        used, valid = used + float((use.numpy() * reached).sum()), valid + float(reached.sum())
    return used / max(valid, 1.0)


def _unchanged(leading: Subspace, sample: FilledSample, psf: Psf, moved_px: tuple[float, float]) -> list[Filled]:
    """Return the sample without weight where the guide shows something else once this shift is undone."""
    reached = [i for i, g in enumerate(sample.guides) if np.isfinite(g).any()]
    filled = [sample.filled[i] for i in reached]
    blocks, _ = sampling.guided_blocks(filled, [sample.guides[i] for i in reached], psf, moved_px)
    out = list(sample.filled)
    if len(blocks) == len(reached):
        for i, block in zip(reached, change_detection.fit_change_model(blocks, psf, leading)[1], strict=True):
            out[i] = sample.filled[i][0], block.weight
    return out


def _leading(filled: Sequence[Filled]) -> Subspace:
    """Return spectral components for the registration of a model that works band by band."""
    return estimate_subspace(stack([c for c, _ in filled]), stack([w for _, w in filled]))
