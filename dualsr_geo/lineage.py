"""What a run found, and how its product came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.plan import Job
from dualsr_geo.survey import Survey
from dualsr_geo.version import __version__

# What of a run's report is carried in its product.
REPORTED = ("scale", "model", "fine", "guide", "consistency", "clipped", "psf", "notes")


def add_up(job: Job, known: Survey, figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what the tiles counted, always in tile order.

    Returns
    -------
    dict
        scale, shape, bands, model, fine, guide, consistency, clipped, psf, notes.
    """
    height, width = job.target.shape
    return {
        "scale": job.ratio,
        "shape": [int(height), int(width)],
        "bands": job.scene.count,
        "model": job.model.name,
        "fine": job.fine,
        "guide": _guide(job, known, figures),
        "consistency": _consistency(figures, job.scene.count),
        "clipped": {
            "below_minimum": sum(f["cut"] for f in figures),
            "saturated": sum(f["saturated"] for f in figures),
        },
        "psf": {
            "source": known.psf_source,
            "sigma_px": [round(s, 3) for s in known.psf.sigma_px],
        },
        "notes": list(known.notes),
    }


def _guide(job: Job, known: Survey, figures: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Say how the guide fitted, and where it reached: its share of every tile, row by row."""
    if job.guide is None:
        return None
    pixels = job.scene.shape[0] * job.scene.shape[1]
    covered = sum(f["guided"] for f in figures) / pixels
    found: dict[str, Any] = {
        "shift_px": [round(v, 3) for v in known.shift_px],
        "moved_px": [round(v, 3) for v in known.moved_px],
        "coverage": round(covered, 4),
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


def _per_band(values: NDArray[np.float32] | None, used: Sequence[int], count: int) -> list[float | None] | None:
    if values is None:
        return None
    out: list[float | None] = [None] * count
    for band, value in zip(used, values, strict=True):
        out[band] = round(float(value), 4)
    return out


def lineage(job: Job, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the product came to be; the same for every run of the same job."""
    identity = job.identity
    return {
        "software": f"dualsr-geo {__version__}",
        "weights_sha256": job.model.sha256,
        "inputs": {"scene": identity["scene"], "guide": identity["guide"]},
        "parameters": {k: v for k, v in identity.items() if k not in ("scene", "guide", "version")},
        **{k: report[k] for k in REPORTED},
    }
