"""What a run found, and how its product came to be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.models.correction import PairEvidence
from dualsr_geo.models.definition import Model
from dualsr_geo.serialization import to_json
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
        "correction": _correction(known),
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
            "source": known.psf_source,
            "sigma_px": [round(s, 3) for s in known.psf.sigma_px],
            "sigma_error_px": _rounded(known.sigma_error_px),
        },
        "noise": _noise(known, job.scene.count),
        "opened": list(job.opening),
        "notes": list(known.notes),
    }


def _rounded(pair: tuple[float, float] | None) -> list[float] | None:
    return None if pair is None else [round(v, 3) for v in pair]


def _noise(known: Survey, bands: int) -> dict[str, Any]:
    """Say how noisy every band is, and how sure that is; nothing of those where noise looks like signal."""
    told = known.noise > 0
    error = np.zeros_like(known.noise) if known.noise_error is None else known.noise_error
    each = {"std_per_band": known.noise, "error_per_band": error}
    return {
        "is": "standard deviation, and the standard error of that",
        **{name: _told(values, told, known.used, bands) for name, values in each.items()},
    }


def _told(values: NDArray[np.float32], told: NDArray[np.bool_], used: Sequence[int], count: int) -> list[float | None]:
    out: list[float | None] = [None] * count
    for band, value, known in zip(used, values, told, strict=True):
        out[band] = float(f"{value:.4g}") if known else None
    return out


def _correction(known: Survey) -> dict[str, Any] | None:
    """Say by how much our own networks correct the start, and on what that rests."""
    if known.correction is None:
        return None
    found, used = known.correction, dict[str, tuple[float, tuple[PairEvidence, ...]]]()
    if found.guided is not None:
        used["guided"] = found.guided.share, found.guided_asked
    # Beside a guide only where some of the scene is without it.
    if found.guided is None or found.alone_asked:
        used["alone"] = found.alone.share, found.alone_asked
    return {
        name: {"share": round(share, 3), "wald_pairs": [_wald_pair(a) for a in asked]}
        for name, (share, asked) in used.items()
    }


def _wald_pair(evidence: PairEvidence) -> dict[str, Any]:
    """Return the evidence of a Wald pair; its error is None where the pair is too small to have one."""
    return {**to_json(evidence), "error": evidence.error if math.isfinite(evidence.error) else None}


def _refinement(found: FineStage | None) -> dict[str, Any] | None:
    """Say how much of a fine stage that corrects the start is used, and on what that rests."""
    if found is None:
        return None
    return {
        "share": round(found.share, 3),
        "wald_pairs": [_wald_pair(a) for a in found.asked],
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
        "shift_px": [round(v, 3) for v in known.shift_px],
        "shift_error_px": _rounded(known.shift_error_px),
        "moved_px": [round(v, 3) for v in known.moved_px],
        "coverage": round(covered, 4),
        "withheld": round(sum(f["withheld"] for f in figures) / pixels, 4),
        "field": None if known.field is None else known.field.summary(),
        "relevance": _per_band(known.relevance, known.used, job.scene.count),
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
    if known.doubt is None:
        return None
    sums, pixels = (np.sum([f[k] for f in figures], axis=0) for k in ("deviations", "doubted"))
    levels = {"guided": known.doubt.guided, "alone": known.doubt.unguided}
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
    if model.ours is None:
        return model.sha256
    own = {"guided": model.ours.guided, "alone": model.ours.alone}
    return {name: weights.sha256 for name, weights in own.items() if weights is not None}


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
