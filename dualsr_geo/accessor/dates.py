"""Time stacks: a scene of several dates is sharpened date by date, each with the guide of its date."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import xarray as xr

from dualsr_geo.errors import InputError

Guide = xr.DataArray | xr.Dataset | str | os.PathLike[str]
TIME = "time"
# Dates that a message lists.
MAX_LISTED = 10


def by_date(array: xr.DataArray, work: Callable[[xr.DataArray, int | None], Any]) -> Any:  # as `work` returns
    """Apply `work` to each date of a scene and its index, and stack the results.

    Parameters
    ----------
    array : DataArray
        With the dimension `TIME` or without.
    work : callable
        (scene of one date, its index or None) -> DataArray or Dataset.

    Raises
    ------
    InputError
        If the time dimension is empty.
    """
    if TIME not in array.dims:
        return work(array, None)
    if not array.sizes[TIME]:
        raise InputError(f"The scene has the dimension {TIME} of no date. Give one or more, or drop the dimension.")
    results = [work(array.isel({TIME: i}), i) for i in range(array.sizes[TIME])]
    stack = xr.concat(results, dim=array[TIME] if TIME in array.coords else TIME, join="override")
    labels = [_date(label) for label in _labels(array) or range(len(results))]
    stack.encoding = results[0].encoding
    if isinstance(stack, xr.Dataset):
        for name, variable in stack.data_vars.items():
            variable.encoding = results[0][name].encoding
            variable.attrs |= _attributes(labels, [result[name] for result in results])
    else:
        stack.attrs |= _attributes(labels, results)
    return stack


def _attributes(labels: Sequence[str], products: Sequence[xr.DataArray]) -> dict[str, Any]:
    """Return the attributes that differ among the products of the dates; none for other results."""
    if not any(str(name).startswith("dualsr_") for name in products[0].attrs):
        return {}
    from dualsr_geo.engine.records.product_attributes import stacked_attributes  # noqa: PLC0415  # loads torch

    return stacked_attributes(zip(labels, [product.attrs for product in products], strict=True))


def require_one_date(scene: xr.DataArray | xr.Dataset) -> None:
    """Check that a scene has no more than one date.

    Raises
    ------
    InputError
        If it has.
    """
    if TIME in scene.dims and scene.sizes[TIME] > 1:
        raise InputError(f"The scene has {scene.sizes[TIME]} dates. Give one, e.g. .isel({TIME}=0).")


def guides_by_date(scene: xr.DataArray | xr.Dataset, guides: Sequence[Guide]) -> list[list[Guide]]:
    """Return the guides of each date of a scene, paired by the labels of their dates.

    Parameters
    ----------
    scene : DataArray or Dataset
    guides : sequence of DataArray, Dataset or path
        A guide without dates, or with one, is that of every date of the scene.

    Returns
    -------
    list of list
        The guides of each date; of the scene itself where it has no time dimension.

    Raises
    ------
    InputError
        If a guide has no image, or several, of a date of the scene.
    """
    count = scene.sizes[TIME] if TIME in scene.dims else 1
    pairs = [_images(scene, guide, count) for guide in guides]
    return [[images[i] for images in pairs] for i in range(count)]


def _images(scene: xr.DataArray | xr.Dataset, guide: Guide, count: int) -> list[Guide]:
    """Return the image of a guide for each date of the scene."""
    if not isinstance(guide, xr.DataArray | xr.Dataset) or TIME not in guide.dims:
        return [guide] * count
    if guide.sizes[TIME] == 1:
        return [guide.isel({TIME: 0})] * count
    wanted, given = _labels(scene), _labels(guide)
    if wanted is None or given is None:
        # Without labels only the order is left.
        if guide.sizes[TIME] != count:
            raise InputError(
                f"The guide has {guide.sizes[TIME]} dates and the scene {count}, and they have no labels to pair them by. "
                f"Give both a coordinate {TIME}, or one guide for all dates, e.g. guide.isel({TIME}=0)."
            )
        return [guide.isel({TIME: i}) for i in range(count)]
    if wanted == given:
        return [guide.isel({TIME: i}) for i in range(count)]
    if wrong := [label for label in wanted if given.count(label) != 1]:
        how = "several images" if wrong[0] in given else "no image"
        raise InputError(
            f"The guide has {guide.sizes[TIME]} dates and the scene {count}: there is {how} of the guide for "
            f"{_date(wrong[0])}. Dates of the scene: {_listed(wanted)}; of the guide: {_listed(given)}. Give one image for "
            f"each date of the scene, e.g. guide.reindex({TIME}=scene.{TIME}, method='nearest'), or one for all, e.g. "
            f"guide.isel({TIME}=0)."
        )
    return [guide.isel({TIME: given.index(label)}) for label in wanted]


def _labels(array: xr.DataArray | xr.Dataset) -> list[Hashable] | None:
    """Return the labels of the dates of an array; None where it has none."""
    if TIME not in array.coords:
        return None
    values = array[TIME].to_numpy()
    # Items of datetime64 in units of nanoseconds are integers, so the unit must be the same in all arrays.
    plain = values.astype("datetime64[ns]") if values.dtype.kind == "M" else values
    return [value.item() if plain.dtype.kind != "M" else value for value in plain.reshape(-1)]


def _listed(labels: Sequence[Hashable]) -> str:
    shown = ", ".join(map(_date, labels[:MAX_LISTED]))
    return f"{shown} and {len(labels) - MAX_LISTED} more" if len(labels) > MAX_LISTED else shown


def _date(label: Hashable) -> str:
    """Return a label as a message shows it: days without the time where that is midnight."""
    text = str(label)
    return text.split("T", maxsplit=1)[0] if text.endswith("T00:00:00.000000000") else text.removesuffix(".000000000")
