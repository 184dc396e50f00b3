"""Estimate the survey of a scene from a bounded sample, so that its cost does not grow with the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.noise import estimate_noise, is_noisy, noise_standard_errors
from dualsr_geo.fusion.blocks import Block, Filled, band_means, bands_with_data, stack
from dualsr_geo.fusion.few_bands.logarithms import FEW_BANDS
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.subspace import Subspace, estimate_subspace
from dualsr_geo.fusion.wald.pairs import WaldPairs
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample, SceneStatistics
from dualsr_geo.fusion.wald.starts import ridge
from dualsr_geo.raster.repeated_pixels import note_repeated_pixels, repetition
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying import detail_assessment, error_calibration, guide_checks, input_checks
from dualsr_geo.surveying.guide_estimation import estimate_guide, explained_share
from dualsr_geo.surveying.sampling import Sample, SurveyOptions
from dualsr_geo.surveying.survey import Survey

# A scene of few bands seems to hold degrees Celsius if more than this share of its range is negative. Of reflectances it is
# less, by noise and the correction of the atmosphere.
NEGATIVE_SHARE = 0.05
# How far a product may go below the coldest pixel of the sample, share of the range.
HEADROOM = 0.25

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
    cubes = [s.cube[list(statistics.used)] for s in samples]
    repeated = repetition(cubes)
    estimates = estimate_guide(sample, statistics, options, min(repeated))
    common, placement = estimates.common, estimates.placement
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
        *_input_notes(samples, cubes, repeated),
        *placement.notes,
        *_guide_notes(sample, common),
        *model.notes(state),
    )
    return Survey(
        common.statistics,
        placement,
        common.guide,
        denoising=estimates.denoising,
        changes=estimates.changes,
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
    ends = [(float(np.nanmin(c.numpy())), float(np.nanmax(c.numpy()))) for c in cubes if bool(torch.isfinite(c).any())]
    low = lower_limit(min(low for low, _ in ends), max(high for _, high in ends), len(used))
    filled = tuple(_filled(c, mean) for c in cubes)
    planes, weights = [f.numpy() for f, _ in filled], [w.numpy() for _, w in filled]
    noise, error = estimate_noise(planes, weights), noise_standard_errors(planes, weights).astype(np.float32)
    spectra, weight = stack([f for f, _ in filled]), stack([w for _, w in filled])
    space = _subspace(spectra, weight, noise) if options.model.spectral else _no_components(mean)
    ridges = _unguided_ridges(space, spectra[:, weight > 0])
    guides = tuple(s.guide for s in samples if s.guide is not None)
    placing = tuple(s.placing for s in samples if s.placing is not None)
    measured = tuple(torch.from_numpy(s.measured).float() for s in samples if s.measured is not None)
    sample = FilledSample(filled, guides, sample_margin(options.ratio), placing, measured)
    return SceneStatistics(used, low, noise, error, space, ridges), sample


def lower_limit(low: float, high: float, bands: int) -> float:
    """Return the lower limit of a product, physical units.

    Reflectances and radiances end at zero or at an offset, which the darkest pixel shows. Temperatures do not: a small
    cold place is colder than any pixel of the scene. Values of a scale without such an end are farther from zero than
    they differ from each other, as kelvin; in one or two bands a good part of them may also be negative, as degrees Celsius.

    Parameters
    ----------
    low, high : float
        Smallest and largest value of the sample, physical units.
    bands : int
        Number of bands with data.
    """
    span = high - low
    if low > span or (bands <= FEW_BANDS and low < -NEGATIVE_SHARE * span):
        return low - HEADROOM * span
    return low


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


def _input_notes(
    samples: Sequence[Sample], cubes: Sequence[NDArray[np.float32]], repeated: tuple[float, float]
) -> tuple[str, ...]:
    """Return notes if the scene or the guide is not as an instrument measured it."""
    guides = [s.guide for s in samples if s.guide is not None]
    return (
        *(note_repeated_pixels(repeated, "scene") or input_checks.note_borrowed_detail(cubes)),
        *note_repeated_pixels(repetition(guides), "guide"),
    )


def _guide_notes(sample: FilledSample, common: CommonEstimates) -> tuple[str, ...]:
    """Return notes if the guide has no detail to lend, or does not show the scene."""
    if common.guide is None:
        return ()
    notes = guide_checks.note_guide_values(sample.guides)
    if common.pairs is not None:
        bands = len(common.statistics.used)
        weak = guide_checks.note_weak_guide(explained_share(common.guide, common.blocks)) if bands <= FEW_BANDS else []
        return (*notes, *weak)
    if common.guide.relevance is None:
        return (*notes, UNUSABLE_GUIDE)
    share = explained_share(common.guide, common.blocks)
    if share >= guide_checks.MIN_RELEVANCE:
        # What explains so much and is not used is a map of labels.
        return (guide_checks.note_label_map(sample.guides),)
    return (*notes, guide_checks.note_irrelevant_guide(share))


def _unguided_pairs(sample: FilledSample, common: CommonEstimates, options: SurveyOptions) -> WaldPairs:
    """Return the Wald pairs of the sample with a guide of no bands."""
    ratio = options.ratio
    blocks = [Block(c, w, torch.zeros(0, c.shape[1] * ratio, c.shape[2] * ratio)) for c, w in sample.filled]
    return WaldPairs(blocks, common.psf, common.statistics.space)
