"""Scores of a scene of xarray, or of its product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import xarray as xr

from dualsr_geo.accessor.dates import Guide, require_one_date
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import InputError, OptionError

# Options that apply where a product is scored.
SCORING = ("scale", "bidx", "nodata", "jobs", "trust_references")


def evaluate_scene(
    scene: xr.DataArray | xr.Dataset,
    reference: Guide | None,
    guides: Sequence[Guide] | None,
    options: Options,
    others: Mapping[str, Any],
) -> dict[str, Any]:
    """Score a product against a reference, or compare models; see `ArrayAccessor.evaluate`.

    Parameters
    ----------
    scene : DataArray or Dataset
    reference : DataArray, Dataset or path, or None
    guides : sequence of DataArray, Dataset or path, or None
    options : Options
    others : mapping
        Further keywords of `dualsr_geo.evaluate`, None where they are not given.

    Raises
    ------
    InputError
        If there are a guide and a reference.
    OptionError
        If an option does not apply to a reference.
    """
    from dualsr_geo.evaluation.evaluate import evaluate, score_product  # noqa: PLC0415  # loads torch

    require_one_date(scene)
    given = {name: value for name, value in others.items() if value is not None}
    if reference is None:
        return evaluate(scene, rgb=guides, options=options, **given)
    if guides is not None:
        raise InputError("`reference` scores a finished product, which needs no guide (`rgb`). Give one of the two.")
    set_options = {f.name: getattr(options, f.name) for f in fields(options) if getattr(options, f.name) != f.default}
    if unused := [*given, *(name for name in set_options if name not in SCORING)]:
        raise OptionError(f"`{unused[0]}` is for a comparison of models. Leave it out, or leave out `reference`.")
    return score_product(scene, reference, **set_options)
