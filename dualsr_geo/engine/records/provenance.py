"""The summary of a run, added up from its tiles, and the provenance that its product carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.records.run_summary import (
    ArtefactSummary,
    BlurSummary,
    ClippingSummary,
    ConsistencySummary,
    GuideNoiseSummary,
    GuideSummary,
    RunSummary,
    TileRecord,
)
from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.fusion import artefacts
from dualsr_geo.models.definition import Model
from dualsr_geo.models.unguided_correction import nyquist_gains
from dualsr_geo.raster.spectral_indices import index_fidelity, spectral_indices
from dualsr_geo.registration.guide_placement import Placement
from dualsr_geo.registration.shift_description import describe_move
from dualsr_geo.surveying.error_classes import coverage_record
from dualsr_geo.surveying.guide_denoising import GuideDenoising
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.version import __version__


def summarise(
    plan: RunPlan,
    survey: Survey,
    records: Sequence[TileRecord],
    fine_stage: FineStage | None = None,
    *,
    output: str,
) -> RunSummary:
    """Add up the records of all tiles.

    Parameters
    ----------
    plan : RunPlan
    survey : Survey
    records : sequence of TileRecord
        In the order of the tiles, so that every run adds in the same order.
    fine_stage : FineStage, optional
    output : str
    """
    height, width = plan.target.shape
    return RunSummary(
        output=output,
        scale=plan.ratio,
        shape=(int(height), int(width)),
        bands=plan.scene.count,
        sensor=None if plan.scene.sensor is None else plan.scene.sensor.to_json(),
        model=plan.model.name,
        fine=plan.fine,
        correction=plan.model.provenance(survey.model_state).get("correction"),
        refinement=_refinement(fine_stage),
        guide=_guide(plan, survey, records),
        consistency=_consistency(records, plan.scene.count, _unit(survey)),
        indices=_indices(plan, records),
        uncertainty=_uncertainty(survey, records),
        detail=_detail(survey, plan.scene.count),
        clipped=ClippingSummary(sum(r.below_minimum for r in records), sum(r.saturated for r in records)),
        artefacts=_artefacts(records),
        psf=_blur(survey.placement),
        noise=_noise(survey, plan.scene.count),
        opened=plan.delivery_notes,
        notes=survey.notes,
    )


def _artefacts(records: Sequence[TileRecord]) -> ArtefactSummary:
    product = artefacts.total(r.artefacts for r in records)
    guide = artefacts.total(r.guide_artefacts for r in records)
    figures = product.lattice, guide.lattice, product.overshoot, guide.overshoot
    return ArtefactSummary(*(None if value is None else round(value, 4) for value in figures))


def _rounded(pair: tuple[float, float]) -> tuple[float, float]:
    return round(pair[0], 3), round(pair[1], 3)


def _rounded_error(pair: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if pair is None else _rounded(pair)


def _blur(placement: Placement) -> BlurSummary:
    shown = placement.scene_blur
    return BlurSummary(
        placement.source,
        _rounded(placement.psf.sigma_px),
        _rounded_error(placement.sigma_error_px),
        gain=round(sum(nyquist_gains(placement.psf)) / 2, 3),
        scene_gain=None if shown is None else round(shown.gain, 3),
        scene_gain_range=None if shown is None else _rounded(shown.gain_range),
        assumption=placement.assumption,
    )


def _noise(survey: Survey, bands: int) -> dict[str, Any]:
    """Return the noise of every band and its standard error; None where noise cannot be separated from signal."""
    noise, unit = survey.statistics.noise, _unit(survey)
    each: dict[str, NDArray[Any]] = {"std_per_band": noise, "error_per_band": survey.statistics.noise_error}
    rounded = {
        name: [
            float(f"{unit * float(value):.4g}") if std > 0 else None for value, std in zip(values, noise, strict=True)
        ]
        for name, values in each.items()
    }
    return {
        "is": "standard deviation, and the standard error of that",
        **{name: _at_bands(values, survey.used, bands) for name, values in rounded.items()},
    }


def _refinement(fine_stage: FineStage | None) -> dict[str, Any] | None:
    """Return the shrinkage of the fine stage, and the Wald pairs that it rests on."""
    if fine_stage is None:
        return None
    return {
        "share": round(fine_stage.share, 3),
        "wald_pairs": [pair.record() for pair in fine_stage.evidence],
        "steps": fine_stage.steps,
        "angle_deg": fine_stage.angle,
        "sha256": fine_stage.sha256,
    }


def _guide(plan: RunPlan, survey: Survey, records: Sequence[TileRecord]) -> GuideSummary | None:
    """Return how the guide fits the scene, and where it is used."""
    if plan.guide is None:
        return None
    placement, displacement = survey.placement, survey.displacement
    relevance = None if survey.guide is None else survey.guide.relevance
    pixels = plan.scene.shape[0] * plan.scene.shape[1]
    coverage = sum(r.guided for r in records) / pixels
    return GuideSummary(
        shift_px=_rounded(placement.shift_px),
        shift_error_px=_rounded_error(placement.shift_error_px),
        moved_px=_rounded(placement.moved_px),
        coverage=round(coverage, 4),
        withheld=round(sum(r.withheld for r in records) / pixels, 4),
        field=None if displacement is None else displacement.summary(),
        relevance=None if relevance is None else _per_band(relevance, survey.used, plan.scene.count),
        bands_left_out=plan.guide.count - len(survey.guide_bands) if survey.guide_bands else None,
        coverage_by_guide=_coverage_by_guide(plan, records),
        coverage_by_tile=_coverage_by_tile(records, plan.tiling.grid[1]) if coverage < 1 else None,
        noise=None if survey.denoising is None else _guide_noise(survey.denoising),
        shift=f"The guide {describe_move(placement.shift_px, placement.moved_px, placement.shift_error_px)}.",
    )


def _guide_noise(denoising: GuideDenoising) -> GuideNoiseSummary:
    noise, used = denoising.noise, denoising.filter
    return GuideNoiseSummary(
        std_per_band=_band_std(noise.directions, noise.level),
        error_per_band=_band_std(noise.directions, noise.error),
        white=noise.white,
        filter_std_per_band=None if used is None else _band_std(used.directions, used.level),
        gain_db=round(denoising.gain_db, 3),
    )


def _band_std(directions: NDArray[np.float32], std: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the standard deviation of every guide band from that of its principal directions, four digits."""
    square = (directions.astype(np.float64) * std) ** 2
    return tuple(float(f"{v:.4g}") for v in np.sqrt(square.sum(1)))


def _coverage_by_tile(records: Sequence[TileRecord], columns: int) -> tuple[tuple[float, ...], ...]:
    shares = tuple(round(r.coverage, 3) for r in records)
    return tuple(shares[i : i + columns] for i in range(0, len(shares), columns))


def _coverage_by_guide(plan: RunPlan, records: Sequence[TileRecord]) -> tuple[float, ...] | None:
    """Return the share of the scene that each of several guides covers; None for one guide."""
    parts = [r.guides_covered for r in records if len(r.guides_covered)]
    if not parts:
        return None
    return tuple(round(float(v), 4) for v in np.sum(parts, axis=0) / (plan.scene.shape[0] * plan.scene.shape[1]))


def _unit(survey: Survey) -> float:
    """Return the unit in which values are computed, physical units."""
    return 1.0 if survey.normalization is None else survey.normalization.unit


def _consistency(records: Sequence[TileRecord], bands: int, unit: float) -> ConsistencySummary:
    squared_error = np.sum([r.squared_error for r in records], axis=0)
    pixels = np.sum([r.pixels for r in records], axis=0)
    # One band has no spectrum, so no angle.
    angles = sum(r.angle_count for r in records) if bands > 1 else 0
    rmse = unit * np.sqrt(squared_error / np.maximum(pixels, 1))
    return ConsistencySummary(
        rmse=unit * float(np.sqrt(squared_error.sum() / pixels.sum())) if pixels.sum() else None,
        sam_deg=sum(r.angle_sum_deg for r in records) / angles if angles else None,
        rmse_per_band=tuple(float(f"{v:.6g}") if n else None for v, n in zip(rmse, pixels, strict=True)),
    )


def _indices(plan: RunPlan, records: Sequence[TileRecord]) -> dict[str, Any] | None:
    """Return how the spectral indices of the product differ from those of the scene; None without any."""
    # A tile without a valid pixel has no sums.
    sums = [record.indices for record in records if len(record.indices)]
    return index_fidelity(spectral_indices(plan.scene.bands), np.sum(sums, axis=0)) if sums else None


def _uncertainty(survey: Survey, records: Sequence[TileRecord]) -> dict[str, Any] | None:
    """Return the mean standard deviation of every band, and the Wald pairs that the deviations rest on."""
    if survey.uncertainty is None:
        return None
    unit, sums = _unit(survey), np.sum([r.deviation_sum for r in records], axis=0)
    pixels = np.sum([r.deviation_count for r in records], axis=0)
    levels = {"guided": survey.uncertainty.guided, "alone": survey.uncertainty.unguided}
    return {
        "is": "standard deviation of the error, 1.645 of them to either side for 90 %",
        "mean_per_band": [float(f"{unit * s / n:.6g}") if n else None for s, n in zip(sums, pixels, strict=True)],
        **{
            name: {
                "wald_ratio": level.ratio,
                "trend": round(level.trend, 4),
                "growth": round(level.growth, 4),
                "covered_on_the_wald_pair": coverage_record(level.coverage, survey.used, len(sums)),
            }
            for name, level in levels.items()
            if level is not None
        },
    }


def _detail(survey: Survey, bands: int) -> dict[str, Any] | None:
    """Return the detail assessment on the Wald pair, of every band and on average."""
    detail = survey.detail
    if detail is None or not np.isfinite(detail.improvement).any():
        return None
    shares = {
        "improvement": detail.improvement,
        "omission": detail.omission,
        "hallucination_guide": detail.guide,
        "hallucination_neither": detail.neither,
    }
    if detail.contradicted is not None:
        shares["contradicted"] = detail.contradicted
    return {
        "is": "shares of the true detail on the scene's Wald pair; contradicted: of the coarse start's on the scene itself",
        "wald_ratio": detail.ratio,
        "mean": {name: round(float(np.nanmean(values)), 4) for name, values in shares.items()},
        "per_band": {name: _per_band(values, survey.used, bands) for name, values in shares.items()},
    }


def _per_band(values: NDArray[np.float32], used: Sequence[int], count: int) -> tuple[float | None, ...]:
    """Return the values of the used bands, rounded, at the positions of those bands; None elsewhere."""
    return _at_bands([round(float(value), 4) if np.isfinite(value) else None for value in values], used, count)


def _at_bands(values: Sequence[float | None], used: Sequence[int], count: int) -> tuple[float | None, ...]:
    by_band = dict(zip(used, values, strict=True))
    return tuple(by_band.get(band) for band in range(count))


def _weights_sha256(model: Model) -> str | dict[str, str] | None:
    networks = {name: weights.sha256 for name, weights in model.networks.items()}
    return networks or model.sha256


def provenance_of(plan: RunPlan, summary: RunSummary) -> dict[str, Any]:
    """Return how the product was made, as JSON; the same for every run of the same plan."""
    identity = plan.identity
    return {
        "software": f"dualsr-geo {__version__}",
        "weights_sha256": _weights_sha256(plan.model),
        "inputs": {"scene": identity["scene"], "guide": identity["guide"]},
        "level": plan.level,
        "request": _request(plan),
        "parameters": {k: v for k, v in identity.items() if k not in ("scene", "guide", "version")},
        **summary.provenance(),
    }


def _request(plan: RunPlan) -> dict[str, Any]:
    """Return the request of a run with the tile that was chosen for it, since the values depend on it."""
    options = plan.request.get("options")
    tile = {"options": {**options, "tile": plan.sizes.tile}} if isinstance(options, dict) else {}
    return {**plan.request, **tile}
