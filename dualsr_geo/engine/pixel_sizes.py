"""Runs of every pixel size of a product: one for the bands of each that is coarser than the finest."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from dualsr_geo.engine.options import Options
from dualsr_geo.engine.preparation import SceneInput, Where, scene_nodata
from dualsr_geo.errors import OptionError
from dualsr_geo.io.scenes import open_delivered
from dualsr_geo.raster import grid


def coarse_gsds(scene: SceneInput, options: Options) -> tuple[float, ...]:
    """Return the pixel sizes of a product that are coarser than its finest, metres, from the finest of them.

    Raises
    ------
    OptionError
        If it has one pixel size, or a ratio is requested, which cannot hold for all.
    """
    if options.scale is not None:
        raise OptionError(
            f"--scale {options.scale} is one ratio, and with --gsd all each pixel size has its own. Leave --scale out."
        )
    delivery = open_delivered(
        scene, nodata=scene_nodata(options), sensor=options.sensor, trust_references=options.trust_references
    )
    if len(delivery.gsds) > 1:
        return delivery.gsds[1:]
    if delivery.guides:
        return (grid.gsd(delivery.scene.geobox),)
    raise OptionError(
        f"--gsd all is for a product with several pixel sizes; {delivery.scene.name} has one. Leave it out."
    )


def label_of(gsd: float) -> str:
    """Return what the names of the files of a pixel size have, e.g. ``_20m``."""
    return f"_{gsd:g}m"


def labelled(path: Where, gsd: float) -> str:
    """Return the path or URL of a file of one pixel size: ``out.tif`` becomes ``out_20m.tif``."""
    text = os.fspath(path)
    suffix = PurePath(text).suffix
    return f"{text.removesuffix(suffix)}{label_of(gsd)}{suffix}"


def each_gsd(
    run: Callable[[Options, str, Where | None, Where | None], Mapping[str, Any]],
    gsds: Sequence[float],
    options: Options,
    output: Where | None,
    report: Where | None = None,
) -> dict[str, Any]:
    """Run something for each pixel size.

    Parameters
    ----------
    run : callable
        Takes the options of one pixel size, what the name of its product has, its output and its report; returns a
        mapping.
    gsds : sequence of float
        Metres.
    options : Options
    output, report : path, optional
        Without the pixel size.

    Returns
    -------
    dict
        products: what `run` returned, in the order of `gsds`, each with its ``gsd``.
    """
    products = []
    for gsd in gsds:
        own, page = (None if path is None else labelled(path, gsd) for path in (output, report))
        products.append({"gsd": gsd, **run(replace(options, gsd=gsd), label_of(gsd), own, page)})
    return {"products": products}
