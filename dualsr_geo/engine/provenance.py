"""What a run found, and how its product came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.models.definition import Model
from dualsr_geo.survey.survey import Survey
from dualsr_geo.version import __version__

# What of a run's report is carried in its product.
REPORTED = (
    "scale", "sensor", "model", "fine", "correction", "refinement", "guide", "consistency", "uncertainty", "detail", "clipped", "psf", "noise", "opened", "notes",
)  # fmt: skip


def summarise(
    job: RunPlan, known: Survey, figures: Sequence[Mapping[str, Any]], refined: FineStage | None = None
) -> dict[str, Any]:
    """Add up what the tiles counted, always in tile order.

    Returns
    -------
    dict
        scale, shape, bands, sensor, model, fine, correction, refinement, guide, consistency, uncertainty,
        detail, clipped, psf, noise, opened, notes.
    """
    height, width = job.target.shape
    return {
        "scale": job.ratio,
        "shape": [int(height), int(width)],
        "bands": job.scene.count,
        "sensor": None if job.scene.sensor is None else job.scene.sensor.to_json(),
        "model": job.model.name,
        "fine": job.fine,
        "correction": job.model.provenance(known.model_state).get("correction"),
        "refinement": _refinement(refined),
        "guide": _guide(job, known, figures),
        "consistency": _consistency(figures, job.scene.count),
        "uncertainty": _uncertainty(known, figures),
        "detail": _detail(known, job.scene.count),
        "clipped": {
            "below_minimum": sum(f["cut"] for f in figures),
            "saturated": sum(f["saturated"] for f in figures),
        },
        "psf": {
            "source": known.placement.source,
            "sigma_px": [round(s, 3) for s in known.psf.sigma_px],
            "sigma_error_px": _rounded(known.placement.sigma_error_px),
        },
        "noise": _noise(known, job.scene.count),
        "opened": list(job.opening),
        "notes": list(known.notes),
    }


def _rounded(pair: tuple[float, float] | None) -> list[float] | None:
    return None if pair is None else [round(v, 3) for v in pair]


def _noise(known: Survey, bands: int) -> dict[str, Any]:
    """Return how noisy every band is, and the standard error of that; None where noise cannot be told from signal."""
    statistics = known.statistics
    each: dict[str, NDArray[Any]] = {"std_per_band": statistics.noise, "error_per_band": statistics.noise_error}
    return {
        "is": "standard deviation, and the standard error of that",
        **{name: _told(values, statistics.noise > 0, known.used, bands) for name, values in each.items()},
    }


def _told(values: NDArray[np.floating], told: NDArray[np.bool_], used: Sequence[int], count: int) -> list[float | None]:
    out: list[float | None] = [None] * count
    for band, value, known in zip(used, values, told, strict=True):
        out[band] = float(f"{value:.4g}") if known else None
    return out


def _refinement(found: FineStage | None) -> dict[str, Any] | None:
    """Say how much of a fine stage that corrects the start is used, and on what that rests."""
    if found is None:
        return None
    return {
        "share": round(found.share, 3),
        "wald_pairs": [a.record() for a in found.evidence],
        "steps": found.steps,
        "angle_deg": found.angle,
        "sha256": found.sha256,
    }


def _guide(job: RunPlan, known: Survey, figures: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Say how the guide fitted, and where it reached: its share of every tile, row by row."""
    if job.guide is None:
        return None
    pixels = job.scene.shape[0] * job.scene.shape[1]
    covered = sum(f["guided"] for f in figures) / pixels
    found: dict[str, Any] = {
        "shift_px": [round(v, 3) for v in known.placement.shift_px],
        "shift_error_px": _rounded(known.placement.shift_error_px),
        "moved_px": [round(v, 3) for v in known.placement.moved_px],
        "coverage": round(covered, 4),
        "withheld": round(sum(f["withheld"] for f in figures) / pixels, 4),
        "field": None if known.displacement is None else known.displacement.summary(),
        "relevance": _per_band(None if known.guide is None else known.guide.relevance, known.used, job.scene.count),
    }
    if covered < 1:
        columns = job.tiling.grid[1]
        shares = [round(f["coverage"], 3) for f in figures]
        found["coverage_by_tile"] = [shares[i : i + columns] for i in range(0, len(shares), columns)]
    return found


def _consistency(figures: Sequence[Mapping[str, Any]], bands: int) -> dict[str, Any]:
    square = np.sum([f["square"] for f in figures], axis=0)
    pixels = np.sum([f["pixels"] for f in figures], axis=0)
    # One band has no spectrum, so no angle.
    angles = sum(f["angles"] for f in figures) if bands > 1 else 0
    each = np.sqrt(square / np.maximum(pixels, 1))
    return {
        "rmse": float(np.sqrt(square.sum() / pixels.sum())) if pixels.sum() else None,
        "sam_deg": sum(f["angle"] for f in figures) / angles if angles else None,
        "rmse_per_band": [float(f"{v:.6g}") if n else None for v, n in zip(each, pixels, strict=True)],
    }


def _uncertainty(known: Survey, figures: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Say how large the standard deviations are, and on what Wald pairs they rest."""
    if known.uncertainty is None:
        return None
    sums, pixels = (np.sum([f[k] for f in figures], axis=0) for k in ("deviations", "doubted"))
    levels = {"guided": known.uncertainty.guided, "alone": known.uncertainty.unguided}
    rests = {
        name: {"wald_ratio": level.ratio, "trend": round(level.trend, 4), "growth": round(level.growth, 4)}
        for name, level in levels.items()
        if level is not None
    }
    return {
        "is": "standard deviation of the error, 1.645 of them to either side for 90 %",
        "mean_per_band": [float(f"{s / n:.6g}") if n else None for s, n in zip(sums, pixels, strict=True)],
        **rests,
    }


def _detail(known: Survey, bands: int) -> dict[str, Any] | None:
    """Say what the detail of a Wald pair's product is worth, every band's and on average."""
    found = known.detail
    if found is None or not np.isfinite(found.improvement).any():
        return None
    shares = {
        "improvement": found.improvement,
        "omission": found.omission,
        "hallucination_guide": found.guide,
        "hallucination_neither": found.neither,
    }
    if found.contradicted is not None:
        shares["contradicted"] = found.contradicted
    return {
        "is": "shares of the true detail on the scene's Wald pair; contradicted: of the coarse start's on the scene itself",
        "wald_ratio": found.ratio,
        "mean": {name: round(float(np.nanmean(values)), 4) for name, values in shares.items()},
        "per_band": {name: _per_band(values, known.used, bands) for name, values in shares.items()},
    }


def _per_band(values: NDArray[np.float32] | None, used: Sequence[int], count: int) -> list[float | None] | None:
    if values is None:
        return None
    out: list[float | None] = [None] * count
    for band, value in zip(used, values, strict=True):
        out[band] = round(float(value), 4) if np.isfinite(value) else None
    return out


def _weights_sha256(model: Model) -> str | dict[str, str] | None:
    own = {name: weights.sha256 for name, weights in model.networks.items()}
    return own or model.sha256


def provenance_of(job: RunPlan, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the product came to be; the same for every run of the same job."""
    identity = job.identity
    return {
        "software": f"dualsr-geo {__version__}",
        "weights_sha256": _weights_sha256(job.model),
        "inputs": {"scene": identity["scene"], "guide": identity["guide"]},
        "parameters": {k: v for k, v in identity.items() if k not in ("scene", "guide", "version")},
        **{k: report[k] for k in REPORTED},
    }
