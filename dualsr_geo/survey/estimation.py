"""The survey: every decision about the whole scene, taken once, from a bounded sample.

Its cost does not grow with the scene. It is one frozen value, saved as JSON with the product,
and everything a tile needs to know beyond its own window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo import serialization
from dualsr_geo.degradation.noise import is_noisy, scene_noise
from dualsr_geo.degradation.operators import Psf, operator
from dualsr_geo.fusion import candidates, change_detection, coarse_stage, subspace
from dualsr_geo.fusion.change_detection import Changes
from dualsr_geo.fusion.injection import Injection, fit_injection
from dualsr_geo.fusion.scene_regression import Fit, Held, fit_scene
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.uncertainty import Doubt
from dualsr_geo.models import unguided_correction
from dualsr_geo.models.band_stream import Place, Units, angle, guide_units, scene_units
from dualsr_geo.models.correction import Correction
from dualsr_geo.models.definition import require_inputs
from dualsr_geo.models.guided_inputs import Terms
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration import standard_errors
from dualsr_geo.registration.displacement_field import Field
from dualsr_geo.registration.guide_placement import Filled, assumed, place
from dualsr_geo.survey import (
    _merge_beside,
    correction_shrinkage,
    detail_assessment,
    error_calibration,
    input_checks,
    wald_pairs,
)
from dualsr_geo.survey.detail import Detail
from dualsr_geo.survey.sampling import FEWEST_PX, Sample, Wishes, band_means, bands_with_data
from dualsr_geo.survey.wald_pairs import Block


@dataclass(frozen=True)
class Survey:
    """What is known of the whole scene.

    Attributes
    ----------
    psf : Psf
        Blur of the scene against the guide as it is used.
    psf_source : str
        ``"given"``, ``"estimated gaussian"``, ``"estimated taps"``, ``"sensor"``, ``"default"``.
    used : tuple of int
        Bands that have data; the others stay nodata.
    low : float
        The scene's own minimum, physical units; nothing is made below it.
    noise : array, shape (band,)
        Of the used bands, physical units; 0 where it was not told from signal.
    space : Subspace
    lams, lams_alone : array, shape (component,)
        Ridges of the fine stage, where the guide is and where it is not.
    fit, mixture : Fit and array, shape (component, candidate), or None
        What the regressions need; None without a guide.
    guide_mean : array, shape (guide band,)
    shift_px : (float, float)
        How far the guide lies below and right of the scene, hr pixels.
    moved_px : (float, float)
        How far it is moved back.
    shift_error_px, sigma_error_px : (float, float) or None
        Standard errors of shift and width of the blur, hr pixels; None where they were not estimated.
    noise_error : array, shape (band,), or None
        Standard error of `noise`.
    relevance : array, shape (band,)
        How well the guide explains a band, 0..1.
    srf : array, shape (guide band, band)
        Non-negative response of the guide to the used bands.
    injection : Injection or None
        What the classic baselines need; None for other models.
    units : Units or None
        What networks need; None for other models.
    angle : float or None
        Weight of DualSR's fine stage; None without it.
    correction : Correction or None
        What our own networks need; None for other models.
    doubt : Doubt or None
        How large the product's errors are; None where nobody asked.
    detail : Detail or None
        What the product's detail is worth; None where nobody asked, and of scenes too small to say.
    field : Field or None
        How the guide is bent back, place by place, before all else; None where it is not.
    changes : Changes or None
        How the guide should look, to tell where it shows something else; None where that is not asked or not known.
    notes : tuple of str
        What the user should know.
    """

    psf: Psf
    psf_source: str
    used: tuple[int, ...]
    low: float
    noise: NDArray[np.float32]
    space: Subspace
    lams: NDArray[np.float32]
    lams_alone: NDArray[np.float32]
    fit: Fit | None = None
    mixture: NDArray[np.float32] | None = None
    guide_mean: NDArray[np.float32] | None = None
    shift_px: tuple[float, float] = (0.0, 0.0)
    moved_px: tuple[float, float] = (0.0, 0.0)
    shift_error_px: tuple[float, float] | None = None
    sigma_error_px: tuple[float, float] | None = None
    noise_error: NDArray[np.float32] | None = None
    relevance: NDArray[np.float32] | None = None
    srf: NDArray[np.float32] | None = None
    injection: Injection | None = None
    units: Units | None = None
    angle: float | None = None
    correction: Correction | None = None
    doubt: Doubt | None = None
    detail: Detail | None = None
    field: Field | None = None
    changes: Changes | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; `from_json` is its exact inverse."""
        return {name: serialization.plain(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Survey:
        """Read what `to_json` wrote."""
        v = dict(value)
        v["psf"] = Psf.from_json(v["psf"])
        space = v["space"]
        mean, expand, scale = (serialization.array(space[k]) for k in ("mean", "expand", "scale"))
        v["space"] = Subspace(mean, expand.reshape(len(mean), -1), scale, space["noise"])
        v["fit"] = None if v["fit"] is None else serialization.fit(v["fit"])
        injected = v["injection"]
        v["injection"] = injected and Injection(**{k: serialization.array(m) for k, m in injected.items()})
        v["correction"] = v["correction"] and Correction.from_json(v["correction"])
        v["doubt"] = v["doubt"] and Doubt.from_json(v["doubt"])
        v["detail"] = v["detail"] and Detail.from_json(v["detail"])
        v["field"] = v["field"] and Field.from_json(v["field"])
        v["changes"] = v["changes"] and Changes.from_json(v["changes"])
        v["units"] = v["units"] and Units(**v["units"])
        for name in ("noise", "noise_error", "lams", "lams_alone", "mixture", "guide_mean", "relevance", "srf"):
            v[name] = None if v[name] is None else serialization.array(v[name])
        for name in ("used", "shift_px", "moved_px", "shift_error_px", "sigma_error_px", "notes"):
            v[name] = None if v[name] is None else tuple(v[name])
        return cls(**v)


def survey(samples: Sequence[Sample], wishes: Wishes) -> Survey:
    """Survey a scene from a sample of it.

    Parameters
    ----------
    samples : sequence of Sample
        What `sample_windows` asked for.
    wishes : Wishes

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
    spectra, weight = wald_pairs.stack([f for f, _ in filled]), wald_pairs.stack([w for _, w in filled])
    planes, weights = [f.numpy() for f, _ in filled], [w.numpy() for _, w in filled]
    noise, errors = scene_noise(planes, weights), standard_errors.of_noise(planes, weights).astype(np.float32)
    noisy = is_noisy(noise, spectra[:, weight > 0].std(1))
    space = subspace.find(spectra, weight, noise if noisy else None) if wishes.subspace else _no_space(mean)
    lams = _ridges_alone(space, spectra[:, weight > 0])
    known = assumed(wishes)
    guides = [s.guide for s in samples if s.guide is not None]
    levels, notes = noise.astype(np.float32), _signs([c.numpy() for c in cubes], guides)
    bare = Survey(known.psf, known.source, used, low, levels, space, lams, lams, noise_error=errors, notes=notes)
    reached = any(np.isfinite(g).any() for g in guides)
    if wishes.ours is not None:
        lone = unguided_correction.Known.of(space, spectra, weight, noise, *_most(wishes))
        bare = replace(bare, correction=Correction(None, lone))
    seen = _guided(bare, filled, guides, wishes) if reached else bare
    if wishes.ours is not None and seen.correction is not None:
        told = correction_shrinkage.alone(wishes.ours, seen.correction, filled, guides, seen.psf, space, noise)
        seen = replace(seen, correction=told)
    if wishes.uncertainty and seen.doubt is None:
        bare_blocks = error_calibration.unguided(filled, wishes.ratio)
        seen = replace(seen, doubt=error_calibration.doubt(bare_blocks, seen.psf, space))
    if wishes.detail and seen.fit is None:
        seen = replace(seen, detail=_detail(seen, error_calibration.unguided(filled, wishes.ratio), wishes))
    return seen if wishes.network is None else _for_network(seen, filled, guides, wishes)


def _detail(seen: Survey, blocks: Sequence[Block], wishes: Wishes, held: Held | None = None) -> Detail | None:
    ours, known = wishes.ours, seen.correction
    networks = None if ours is None or known is None else detail_assessment.Networks(ours, known)
    return detail_assessment.ask(blocks, seen.psf, seen.space, seen.noise, held, networks)


def _signs(cubes: Sequence[NDArray[np.float32]], guides: Sequence[NDArray[np.float32]]) -> tuple[str, ...]:
    """Say where scene or guide are not what an instrument measured."""
    repeated = input_checks.say_repeated(cubes, "scene")
    return (*(repeated or input_checks.say_borrowed(cubes)), *input_checks.say_repeated(guides, "guide"))


def _filled(cube: torch.Tensor, mean: torch.Tensor) -> Filled:
    values, weight = coarse_stage.fill(cube, mean)
    return values, torch.ones(cube.shape[1:]) if weight is None else weight


def _most(wishes: Wishes) -> tuple[int, ...]:
    return () if wishes.anchors is None else (wishes.anchors,)


def _no_space(mean: torch.Tensor) -> Subspace:
    bands = len(mean)
    return Subspace(mean.numpy(), np.zeros((bands, 0), np.float32), np.ones(bands, np.float32), 0.0)


def _ridges_alone(space: Subspace, spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the ridges of components that no guide explains: their whole variance is prior."""
    z = space.components(spectra).astype(np.float64)
    return wald_pairs.ridge((z**2).mean(1), space.noise).astype(np.float32)


# ---- with a guide ------------------------------------------------------------------------


def _guided(bare: Survey, filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], wishes: Wishes) -> Survey:
    """Add what the guide says: blur, shift, regressions, weights, relevance."""
    leading = bare.space if bare.space.count else _leading(filled)
    steady = _unchanged(leading, filled, guides, bare.psf) if wishes.changes else filled
    placed = place(leading, steady, guides, wishes)
    blocks, mean = _merge_beside.blocks(filled, guides, placed.psf, placed.moved_px)
    known, blocks = change_detection.unchanged(blocks, placed.psf, leading) if wishes.changes else (None, blocks)
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
    if float(sum((b.weight > 0).sum() for b in blocks)) < FEWEST_PX:
        return replace(seen, notes=(*seen.notes, "The guide covers too little of the scene to be used."))
    relevance, srf = _merge_beside.relevance(blocks, seen.psf)
    seen = replace(seen, relevance=relevance, srf=srf)
    if wishes.injection:
        return replace(seen, injection=fit_injection(*_merge_beside.pixels(blocks, seen.psf)))
    return _regressed(seen, blocks, wishes) if seen.space.count else seen


def _for_network(
    seen: Survey, filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], wishes: Wishes
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
        blocks, _ = _merge_beside.blocks(filled, guides, seen.psf, seen.moved_px)
        cubes, shown = [b.cube for b in blocks], [guide_units(b.guide, units) for b in blocks]
    places = [Place(Window(0, c.shape[1], 0, c.shape[2]), (c.shape[1], c.shape[2])) for c in cubes]
    with torch.inference_mode():
        return replace(seen, angle=angle(model, [scene_units(c, units) for c in cubes], shown, places))


def _unchanged(
    leading: Subspace, filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], psf: Psf
) -> list[Filled]:
    """Return the sample without places where the guide shows something else, as far as that is told before it is placed."""
    reached = [i for i, g in enumerate(guides) if np.isfinite(g).any()]
    blocks, _ = _merge_beside.blocks([filled[i] for i in reached], [guides[i] for i in reached], psf, (0.0, 0.0))
    out = list(filled)
    if len(blocks) == len(reached):
        for i, block in zip(reached, change_detection.unchanged(blocks, psf, leading)[1], strict=True):
            out[i] = filled[i][0], block.weight
    return out


def _leading(filled: Sequence[Filled]) -> Subspace:
    return subspace.find(wald_pairs.stack([c for c, _ in filled]), wald_pairs.stack([w for _, w in filled]))


def _regressed(seen: Survey, blocks: Sequence[Block], wishes: Wishes) -> Survey:
    """Add what the candidates need, how far each is trusted, and what they leave to the fine stage."""
    space = seen.space
    spectra, guide_lr, weight = _merge_beside.pixels(blocks, seen.psf)
    fit = fit_scene(space.components(spectra), guide_lr, weight)
    side = max((b.shape for b in blocks), key=min)
    grams = [wald_pairs.errors(blocks, seen.psf, r, space) for r in wald_pairs.ratios(side, wishes.ratio)]
    found = wald_pairs.weights(grams, by_energy=not space.keeps_rest)
    mixture = (space.share() @ found if space.keeps_rest else found).astype(np.float32)
    lams = _ridges(seen, blocks, fit, mixture)
    seen = replace(seen, fit=fit, mixture=mixture, lams=lams)
    held = Held(fit, mixture, found)
    if wishes.uncertainty:
        seen = replace(seen, doubt=error_calibration.doubt(blocks, seen.psf, space, held))
    ours, correction = wishes.ours, seen.correction
    if ours is not None and correction is not None:
        told = Terms.of(space, fit, mixture, spectra, guide_lr, weight, *_most(wishes))
        ratios = wald_pairs.ratios(side, wishes.ratio)
        asked = correction_shrinkage.guided(ours, correction, told, blocks, seen.psf, ratios, space, held)
        seen = replace(seen, correction=asked)
    return replace(seen, detail=_detail(seen, blocks, wishes, held)) if wishes.detail else seen


def _ridges(seen: Survey, blocks: Sequence[Block], fit: Fit, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the fine stage's ridges: noise against what the regressions leave."""
    space = seen.space
    if space.keeps_rest:
        return np.zeros(space.count, np.float32)
    square, count = np.zeros(space.count), 0.0
    for block in blocks:
        op = operator(seen.psf, block.shape)
        observed = wald_pairs.components(space, block.cube)
        pair = candidates.pair(observed, block.guide, fit, op, block.weight)
        start = candidates.mix(pair, torch.from_numpy(mixture))
        left = observed - op.degrade(start.evaluate(0, space.count))
        square += ((left.double() ** 2) * block.weight).sum((1, 2)).numpy()
        count += float(block.weight.sum())
    return wald_pairs.ridge(square / max(count, 1), space.noise).astype(np.float32)
