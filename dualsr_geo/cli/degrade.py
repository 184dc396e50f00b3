"""`dualsr-geo degrade`."""

from __future__ import annotations

import json
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.surface import print_result
from dualsr_geo.report.summary import counted


@click.command(cls=Command, short_help="Blur and decimate a raster like a coarser sensor.")
@click.argument("scene", type=click.Path())
@options.product
@click.option("--scale", type=int, required=True, help="Ratio of pixel sizes.")
@click.option(
    "--mtf-gain",
    type=float,
    default=0.3,
    show_default=True,
    help="MTF gain at the Nyquist frequency of the degraded raster.",
)
@options.trust_references
@options.as_json
def degrade(
    *, scene: str, output: str | None, scale: int, mtf_gain: float, as_json: bool, **chosen: Any
) -> None:  # as click parsed them
    """Blur SCENE by a Gaussian MTF and keep every SCALE-th pixel, as the Wald protocol does.

    Writes SCENE_d<scale>.tif to the folder of the scene. Rows and columns beyond a multiple of --scale
    are cropped.
    """
    from dualsr_geo.engine.degrade_raster import degrade as run  # noqa: PLC0415  # loads torch

    result = run(scene, output, scale=scale, mtf_gain=mtf_gain, **chosen)
    height, width = result["shape"]
    text = f"{result['output']}: {counted(result['bands'], 'band')}, {height} x {width} pixels, {scale}x coarser"
    print_result(json.dumps(result) if as_json else text)
