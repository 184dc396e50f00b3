"""Estimate the survey of a scene from a bounded sample, so that its cost does not grow with the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.noise import estimate_noise, is_noisy, noise_standard_errors
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import change_detection
from dualsr_geo.fusion.blocks import MIN_VALID_PX, Block, Filled, band_means, bands_with_data, stack
from dualsr_geo.fusion.change_detection import ChangeModel
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.subspace import Subspace, estimate_subspace
from dualsr_geo.fusion.wald.pairs import WaldPairs
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample, GuideStatistics, SceneStatistics
from dualsr_geo.fusion.wald.starts import ridge
from dualsr_geo.registration.guide_placement import Placement, assumed_placement, estimate_placement, sample_margin
from dualsr_geo.registration.scene_blur.assumption import unguided_placement
from dualsr_geo.registration.shift import move_guide
from dualsr_geo.survey import detail_assessment, error_calibration, guide_checks, input_checks, sampling
from dualsr_geo.survey.guide_denoising import GuideDenoising, GuidedSample, choose_denoising
from dualsr_geo.survey.sampling import Sample, SurveyOptions
from dualsr_geo.survey.survey import Survey

# What has changed is judged again where the guide was displaced by at least this, lr pixels: before, edges that are
# displaced look like changes.
REJUDGED_SHIFT_LR = 0.5
# And where less than this share of what the guide reaches seemed unchanged.
REJUDGED_BELOW = 0.9

# A guide that explains less of the bands' variance says little of the blur: a map of labels has led to one half as wide
# again as the right one, and to a product 5 dB worse than bicubic.
MIN_SHARE_FOR_BLUR = 0.2

UNUSABLE_GUIDE = "The guide covers too little of the scene to be used."


def estimate_survey(samples: Sequence[Sample], options: SurveyOptions) -> Survey:
    """Estimate the survey of a scene from its sample.

    Parameters
    ----------
    samples : sequence of Sample
        The windows that `sample_windows` returns.
    options : SurveyOptions

    Raises
    ------
    InputError
        If the sample holds no valid pixel, or the model cannot read the bands with data.
    """
    statistics, sample = _scene(samples, options)
    common, placement, changes, denoising = _guide(sample, statistics, options)
    model = options.model
    state = model.estimate(sample, common)
    fit = model.guide_fit(state)
    guided = common.noisy_pairs if fit is not None else None
    pairs = guided or _unguided_pairs(sample, common, options)
    uncertainty = detail = None
    if options.uncertainty:
        uncertainty = error_calibration.calibrate_errors(pairs, fit)
    if options.detail:
        detail = detail_assessment.assess_detail(pairs, statistics.noise, model, state)
    notes = (
        *_input_notes(samples, statistics.used),
        *placement.notes,
        *_guide_notes(sample, common),
        *model.notes(state),
    )
    return Survey(
        statistics,
        placement,
        common.guide,
        denoising=denoising,
        changes=changes,
        model_state=state,
        uncertainty=uncertainty,
        detail=detail,
        notes=notes,
    )


# ---- the scene ---------------------------------------------------------------------------


def _scene(samples: Sequence[Sample], options: SurveyOptions) -> tuple[SceneStatistics, FilledSample]:
    """Estimate noise and components of the scene, and fill its sample."""
    cubes = [torch.from_numpy(np.ascontiguousarray(s.cube)) for s in samples]
    used = bands_with_data(cubes)
    cubes = [c[list(used)] for c in cubes]
    mean = band_means(cubes)
    low = min(float(np.nanmin(c.numpy())) for c in cubes if bool(torch.isfinite(c).any()))
    filled = tuple(_filled(c, mean) for c in cubes)
    planes, weights = [f.numpy() for f, _ in filled], [w.numpy() for _, w in filled]
    noise, error = estimate_noise(planes, weights), noise_standard_errors(planes, weights).astype(np.float32)
    spectra, weight = stack([f for f, _ in filled]), stack([w for _, w in filled])
    space = _subspace(spectra, weight, noise) if options.model.spectral else _no_components(mean)
    ridges = _unguided_ridges(space, spectra[:, weight > 0])
    guides = tuple(s.guide for s in samples if s.guide is not None)
    sample = FilledSample(filled, guides, sample_margin(options.ratio))
    return SceneStatistics(used, low, noise, error, space, ridges), sample


def _filled(cube: torch.Tensor, mean: torch.Tensor) -> Filled:
    """Return a cube with holes filled, and the validity of its pixels, 0..1."""
    values, weight = fill_holes(cube, mean)
    return values, torch.ones(cube.shape[1:]) if weight is None else weight


def _subspace(spectra: NDArray[np.float32], weight: NDArray[np.float32], noise: NDArray[np.float64]) -> Subspace:
    noisy = is_noisy(noise, spectra[:, weight > 0].std(1))
    return estimate_subspace(spectra, weight, noise if noisy else None)


def _no_components(mean: torch.Tensor) -> Subspace:
    """Return the subspace of a model that works band by band."""
    bands = len(mean)
    return Subspace(mean.numpy(), np.zeros((bands, 0), np.float32), np.ones(bands, np.float32), 0.0)


def _unguided_ridges(space: Subspace, spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the ridges of components without a guide: their whole variance is the prior variance."""
    z = space.components(spectra).astype(np.float64)
    return ridge((z**2).mean(1), space.noise).astype(np.float32)


def _input_notes(samples: Sequence[Sample], used: Sequence[int]) -> tuple[str, ...]:
    """Return notes if the scene or the guide is not as an instrument measured it."""
    cubes = [s.cube[list(used)] for s in samples]
    guides = [s.guide for s in samples if s.guide is not None]
    repeated = input_checks.note_repeated_pixels(cubes, "scene")
    return (
        *(repeated or input_checks.note_borrowed_detail(cubes)),
        *input_checks.note_repeated_pixels(guides, "guide"),
    )


def _guide_notes(sample: FilledSample, common: CommonEstimates) -> tuple[str, ...]:
    """Return notes if the guide has no detail to lend, or does not show the scene."""
    if common.guide is None:
        return ()
    notes = guide_checks.note_guide_values(sample.guides)
    if common.pairs is not None:
        return tuple(notes)
    if common.guide.relevance is None:
        return (*notes, UNUSABLE_GUIDE)
    share = _explained_share(common.guide, common.blocks)
    if share >= guide_checks.MIN_RELEVANCE:
        # What explains so much and is not used is a map of labels.
        return (guide_checks.note_label_map(sample.guides),)
    return (*notes, guide_checks.note_irrelevant_guide(share))


def _explained_share(guide: GuideStatistics, blocks: Sequence[Block]) -> float:
    """Return the mean share of the bands' variance that the guide explains."""
    assert guide.relevance is not None
    return guide_checks.explained_share(
        guide.relevance, len(guide.mean), sum(float((b.weight > 0).sum()) for b in blocks)
    )


# ---- the guide ---------------------------------------------------------------------------


def _guide(
    sample: FilledSample, statistics: SceneStatistics, options: SurveyOptions
) -> tuple[CommonEstimates, Placement, ChangeModel | None, GuideDenoising | None]:
    """Register and denoise the guide, and estimate its statistics and its Wald pairs."""
    common = CommonEstimates(statistics, assumed_placement(options).psf, fine=options.fine, anchors=options.anchors)
    if not any(np.isfinite(g).any() for g in sample.guides):
        placement = _without_guide(sample, options)
        return replace(common, psf=placement.psf), placement, None, None
    leading = statistics.space if statistics.space.count else _leading(sample.filled)
    placement = _with_scene_blur(_placement(leading, sample, common.psf, options), sample, options)
    psf = placement.psf
    blocks, mean = sampling.guided_blocks(sample.filled, sample.guides, psf, placement.moved_px)
    changes = None
    if options.changes:
        changes, blocks = change_detection.fit_change_model(blocks, psf, leading)
    common = replace(common, psf=psf, spread=placement.spread, blocks=tuple(blocks), guide=GuideStatistics(mean))
    if float(sum((b.weight > 0).sum() for b in blocks)) < MIN_VALID_PX:
        return *_unused(common, placement, sample, options), changes, None
    denoising = None
    if options.denoise:
        blocks, denoising = _denoised(sample, blocks, placement, statistics)
    guide = GuideStatistics(mean, *sampling.relevance(blocks, psf))
    common = replace(common, guide=guide, blocks=tuple(blocks))
    is_labels = guide_checks.is_label_map(sample.guides, blocks, psf)
    if is_labels or _explained_share(guide, blocks) < guide_checks.MIN_RELEVANCE:
        return *_unused(common, placement, sample, options), changes, None
    pairs, noisy = _wald_pairs(blocks, psf, statistics.space, denoising)
    common = replace(common, pairs=pairs, noisy_pairs=noisy)
    return common, placement, changes, denoising


def _with_scene_blur(placement: Placement, sample: FilledSample, options: SurveyOptions) -> Placement:
    """Return the placement with the blur that the scene shows, if a guide that says little of the blur has a wider one."""
    if options.psf is not None or options.mtf_gain is not None:
        return placement
    if placement.source != "default" and _share(placement, sample) >= MIN_SHARE_FOR_BLUR:
        return placement
    scene = _without_guide(sample, options)
    if max(scene.psf.sigma_px) >= max(placement.psf.sigma_px):
        return placement
    dy, dx = placement.psf.shift_px
    psf = Psf.gaussian(options.ratio, scene.psf.sigma_px, (dy, dx))
    return replace(
        placement, psf=psf, source=scene.source, spread=None, scene_blur=scene.scene_blur, assumption=scene.assumption
    )


def _share(placement: Placement, sample: FilledSample) -> float:
    """Return the mean share of the bands' variance that the registered guide explains; 0 where it covers nothing."""
    blocks, mean = sampling.guided_blocks(sample.filled, sample.guides, placement.psf, placement.moved_px)
    if float(sum((b.weight > 0).sum() for b in blocks)) < MIN_VALID_PX:
        return 0.0
    return _explained_share(GuideStatistics(mean, *sampling.relevance(blocks, placement.psf)), blocks)


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


def _unguided_pairs(sample: FilledSample, common: CommonEstimates, options: SurveyOptions) -> WaldPairs:
    """Return the Wald pairs of the sample with a guide of no bands."""
    ratio = options.ratio
    blocks = [Block(c, w, torch.zeros(0, c.shape[1] * ratio, c.shape[2] * ratio)) for c, w in sample.filled]
    return WaldPairs(blocks, common.psf, common.statistics.space)
