"""Scores of a scene of xarray, or of its product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from dualsr_geo.accessor.dates import Guide, require_one_date
from dualsr_geo.errors import InputError


def evaluate_scene(
    scene: xr.DataArray | xr.Dataset,
    reference: Guide | None,
    rgb: Guide | Sequence[Guide] | None,
    scale: int | None,
    keywords: dict[str, Any],
) -> dict[str, Any]:
    """Score a product against a reference, or compare models; see `ArrayAccessor.evaluate`."""
    from dualsr_geo.evaluation.evaluate import evaluate, score_product  # noqa: PLC0415  # loads torch

    require_one_date(scene)
    if reference is None:
        return evaluate(scene, rgb=rgb, scale=scale, **keywords)
    if rgb is not None:
        raise InputError("`reference` scores a finished product, which needs no guide (`rgb`). Give one of the two.")
    return score_product(scene, reference, scale=scale, **keywords)
