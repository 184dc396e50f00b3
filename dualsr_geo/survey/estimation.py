"""The survey: every decision about the whole scene, taken once, from a bounded sample.

Its cost does not grow with the scene. It is one frozen value, saved as JSON with the product,
and everything a tile needs to know beyond its own window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.noise import estimate_noise, is_noisy, noise_standard_errors
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates, change_detection, subspace
from dualsr_geo.fusion.blocks import MIN_VALID_PX, Block, Filled, band_means, bands_with_data, components, stack
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.injection import fit_injection
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import GuideFit, SceneRegression, fit_scene_regression
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.models import unguided_correction
from dualsr_geo.models.band_stream import Place, Units, angle, guide_units, scene_units
from dualsr_geo.models.correction import CorrectionState
from dualsr_geo.models.definition import require_inputs
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.guide_placement import assumed_placement, estimate_placement
from dualsr_geo.survey import (
    correction_shrinkage,
    detail_assessment,
    error_calibration,
    input_checks,
    sampling,
    wald_pairs,
)
from dualsr_geo.survey.detail import DetailAssessment
from dualsr_geo.survey.sampling import Sample, SurveyOptions
from dualsr_geo.survey.survey import Survey


def estimate_survey(samples: Sequence[Sample], wishes: SurveyOptions) -> Survey:
    """Survey a scene from a sample of it.

    Parameters
    ----------
    samples : sequence of Sample
        What `sample_windows` asked for.
    wishes : SurveyOptions

    Raises
    ------
    InputError
        If the sample holds no valid pixel.
    """
    cubes = [torch.from_numpy(np.ascontiguousarray(s.cube)) for s in samples]
    used = bands_with_data(cubes)
    cubes = [c[list(used)] for c in cubes]
    mean = band_means(cubes)
    low = min(float(np.nanmin(c.numpy())) for c in cubes if bool(torch.isfinite(c).any()))
    filled = [_filled(c, mean) for c in cubes]
    spectra, weight = stack([f for f, _ in filled]), stack([w for _, w in filled])
    planes, weights = [f.numpy() for f, _ in filled], [w.numpy() for _, w in filled]
    noise, errors = estimate_noise(planes, weights), noise_standard_errors(planes, weights).astype(np.float32)
    noisy = is_noisy(noise, spectra[:, weight > 0].std(1))
    space = (
        subspace.estimate_subspace(spectra, weight, noise if noisy else None) if wishes.subspace else _no_space(mean)
    )
    lams = _ridges_alone(space, spectra[:, weight > 0])
    known = assumed_placement(wishes)
    guides = [s.guide for s in samples if s.guide is not None]
    levels, notes = noise.astype(np.float32), _signs([c.numpy() for c in cubes], guides)
    bare = Survey(known.psf, known.source, used, low, levels, space, lams, lams, noise_error=errors, notes=notes)
    reached = any(np.isfinite(g).any() for g in guides)
    if wishes.ours is not None:
        lone = unguided_correction.UnguidedInputs.of(space, spectra, weight, noise, *_most(wishes))
        bare = replace(bare, correction=CorrectionState(None, lone))
    seen = _guided(bare, filled, guides, wishes) if reached else bare
    if wishes.ours is not None and seen.correction is not None:
        told = correction_shrinkage.shrink_unguided(
            wishes.ours, seen.correction, filled, guides, seen.psf, space, noise
        )
        seen = replace(seen, correction=told)
    if wishes.uncertainty and seen.doubt is None:
        bare_blocks = error_calibration.unguided(filled, wishes.ratio)
        seen = replace(seen, doubt=error_calibration.calibrate_errors(bare_blocks, seen.psf, space))
    if wishes.detail and seen.fit is None:
        seen = replace(seen, detail=_detail(seen, error_calibration.unguided(filled, wishes.ratio), wishes))
    return seen if wishes.network is None else _for_network(seen, filled, guides, wishes)


def _detail(
    seen: Survey, blocks: Sequence[Block], wishes: SurveyOptions, held: GuideFit | None = None
) -> DetailAssessment | None:
    ours, known = wishes.ours, seen.correction
    networks = None if ours is None or known is None else detail_assessment.Networks(ours, known)
    return detail_assessment.assess_detail(blocks, seen.psf, seen.space, seen.noise, held, networks)


def _signs(cubes: Sequence[NDArray[np.float32]], guides: Sequence[NDArray[np.float32]]) -> tuple[str, ...]:
    """Say where scene or guide are not what an instrument measured."""
    repeated = input_checks.note_repeated_pixels(cubes, "scene")
    return (
        *(repeated or input_checks.note_borrowed_detail(cubes)),
        *input_checks.note_repeated_pixels(guides, "guide"),
    )


def _filled(cube: torch.Tensor, mean: torch.Tensor) -> Filled:
    values, weight = fill_holes(cube, mean)
    return values, torch.ones(cube.shape[1:]) if weight is None else weight


def _most(wishes: SurveyOptions) -> tuple[int, ...]:
    return () if wishes.anchors is None else (wishes.anchors,)


def _no_space(mean: torch.Tensor) -> Subspace:
    bands = len(mean)
    return Subspace(mean.numpy(), np.zeros((bands, 0), np.float32), np.ones(bands, np.float32), 0.0)


def _ridges_alone(space: Subspace, spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the ridges of components that no guide explains: their whole variance is prior."""
    z = space.components(spectra).astype(np.float64)
    return wald_pairs.ridge((z**2).mean(1), space.noise).astype(np.float32)


# ---- with a guide ------------------------------------------------------------------------


def _guided(
    bare: Survey, filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], wishes: SurveyOptions
) -> Survey:
    """Add what the guide says: blur, shift, regressions, weights, relevance."""
    leading = bare.space if bare.space.count else _leading(filled)
    steady = _unchanged(leading, filled, guides, bare.psf) if wishes.changes else filled
    placed = estimate_placement(leading, steady, guides, wishes)
    blocks, mean = sampling.guided_blocks(filled, guides, placed.psf, placed.moved_px)
    known, blocks = change_detection.fit_change_model(blocks, placed.psf, leading) if wishes.changes else (None, blocks)
    seen = replace(
        bare,
        psf=placed.psf,
        psf_source=placed.source,
        shift_px=placed.shift_px,
        moved_px=placed.moved_px,
        shift_error_px=placed.shift_error_px,
        sigma_error_px=placed.sigma_error_px,
        notes=(*bare.notes, *placed.notes),
        guide_mean=mean,
        changes=known,
    )
    if float(sum((b.weight > 0).sum() for b in blocks)) < MIN_VALID_PX:
        return replace(seen, notes=(*seen.notes, "The guide covers too little of the scene to be used."))
    relevance, srf = sampling.relevance(blocks, seen.psf)
    seen = replace(seen, relevance=relevance, srf=srf)
    if wishes.injection:
        return replace(seen, injection=fit_injection(*sampling.pixels(blocks, seen.psf)))
    return _regressed(seen, blocks, wishes) if seen.space.count else seen


def _for_network(
    seen: Survey, filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], wishes: SurveyOptions
) -> Survey:
    """Add what a network needs: its units, and the angle that weighs DualSR's fine stage."""
    model, cubes = wishes.network, [c for c, _ in filled]
    assert model is not None
    require_inputs(model, len(seen.used), len(guides[0]) if guides else None)
    units = Units.of(cubes, guides, whole=len(cubes) == 1)
    seen = replace(seen, units=units)
    if not wishes.angle:
        return seen
    shown: list[torch.Tensor | None] = [None] * len(cubes)
    if model.guided:
        blocks, _ = sampling.guided_blocks(filled, guides, seen.psf, seen.moved_px)
        cubes, shown = [b.cube for b in blocks], [guide_units(b.guide, units) for b in blocks]
    places = [Place(Window(0, c.shape[1], 0, c.shape[2]), (c.shape[1], c.shape[2])) for c in cubes]
    with torch.inference_mode():
        return replace(seen, angle=angle(model, [scene_units(c, units) for c in cubes], shown, places))


def _unchanged(
    leading: Subspace, filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], psf: Psf
) -> list[Filled]:
    """Return the sample without places where the guide shows something else, as far as that is told before it is placed."""
    reached = [i for i, g in enumerate(guides) if np.isfinite(g).any()]
    blocks, _ = sampling.guided_blocks([filled[i] for i in reached], [guides[i] for i in reached], psf, (0.0, 0.0))
    out = list(filled)
    if len(blocks) == len(reached):
        for i, block in zip(reached, change_detection.fit_change_model(blocks, psf, leading)[1], strict=True):
            out[i] = filled[i][0], block.weight
    return out


def _leading(filled: Sequence[Filled]) -> Subspace:
    return subspace.estimate_subspace(stack([c for c, _ in filled]), stack([w for _, w in filled]))


def _regressed(seen: Survey, blocks: Sequence[Block], wishes: SurveyOptions) -> Survey:
    """Add what the candidates need, how far each is trusted, and what they leave to the fine stage."""
    space = seen.space
    spectra, guide_lr, weight = sampling.pixels(blocks, seen.psf)
    fit = fit_scene_regression(space.components(spectra), guide_lr, weight)
    side = max((b.shape for b in blocks), key=min)
    grams = [wald_pairs.errors(blocks, seen.psf, r, space) for r in wald_pairs.ratios(side, wishes.ratio)]
    found = wald_pairs.weights(grams, by_energy=not space.keeps_rest)
    mixture = (space.share() @ found if space.keeps_rest else found).astype(np.float32)
    lams = _ridges(seen, blocks, fit, mixture)
    seen = replace(seen, fit=fit, mixture=mixture, lams=lams)
    held = GuideFit(fit, mixture, found)
    if wishes.uncertainty:
        seen = replace(seen, doubt=error_calibration.calibrate_errors(blocks, seen.psf, space, held))
    ours, correction = wishes.ours, seen.correction
    if ours is not None and correction is not None:
        told = GuidedInputs.of(space, fit, mixture, spectra, guide_lr, weight, *_most(wishes))
        ratios = wald_pairs.ratios(side, wishes.ratio)
        asked = correction_shrinkage.shrink_guided(ours, correction, told, blocks, seen.psf, ratios, space, held)
        seen = replace(seen, correction=asked)
    return replace(seen, detail=_detail(seen, blocks, wishes, held)) if wishes.detail else seen


def _ridges(
    seen: Survey, blocks: Sequence[Block], fit: SceneRegression, mixture: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the fine stage's ridges: noise against what the regressions leave."""
    space = seen.space
    if space.keeps_rest:
        return np.zeros(space.count, np.float32)
    square, count = np.zeros(space.count), 0.0
    for block in blocks:
        op = operator(seen.psf, block.shape)
        observed = components(space, block.cube)
        pair = prepare_inputs(observed, block.guide, fit, op, block.weight)
        start = candidates.fit_mixture(pair, torch.from_numpy(mixture))
        left = observed - op.degrade(start.evaluate(0, space.count))
        square += ((left.double() ** 2) * block.weight).sum((1, 2)).numpy()
        count += float(block.weight.sum())
    return wald_pairs.ridge(square / max(count, 1), space.noise).astype(np.float32)
