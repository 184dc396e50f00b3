"""`dualsr-geo info`."""

from __future__ import annotations

import json
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.surface import print_result


@click.command(cls=Command, short_help="Describe a scene.")
@click.argument("scene", type=click.Path())
@click.option(
    "--rgb", "--pan", "--guide", "rgb", type=click.Path(), help="Also print the largest ratio that this guide allows."
)
@options.bidx
@options.nodata
@options.gsd
@options.sensor
@options.wavelengths
@options.trust_references
@click.option("--blur", is_flag=True, help="Also estimate the blur of the scene, as `upscale` does without a guide.")
@click.option("--scale", type=click.IntRange(2), default=2, help="Ratio of pixel sizes for --blur.  [default: 2]")
@click.option("--plot", type=click.Path(), metavar="FILE.png", help="With --blur: draw its transfer function.")
@options.as_json
def info(
    scene: str, rgb: str | None, *, blur: bool, scale: int, plot: str | None, as_json: bool, **chosen: Any
) -> None:  # as click parsed them
    """Print the grid, bands, wavelengths and packing of SCENE as dualsr-geo reads them."""
    from dualsr_geo.io.describe import describe  # noqa: PLC0415  # loads rasterio

    if plot is not None and not blur:
        raise click.UsageError("--plot draws the blur. Give --blur with it.")
    description = describe(scene, rgb=rgb, **chosen)
    if blur:
        from dualsr_geo.evaluation.blur_check import check_blur  # noqa: PLC0415  # loads torch

        description["blur"] = check_blur(scene, scale=scale, plot=plot, **chosen)
    print_result(json.dumps(description) if as_json else _text(description))


def _text(description: dict[str, Any]) -> str:
    wavelengths = [b["wavelength_nm"] for b in description["band_table"] if b["wavelength_nm"] is not None]
    span = f", {min(wavelengths):g} to {max(wavelengths):g} nm" if wavelengths else ""
    height, width = description["shape"]
    lines = [
        str(description["scene"]),
        f"size:    {height} x {width} pixels of {description['gsd']:g} {description['unit']}",
        f"CRS:     {description['crs'] or 'none'}",
        f"bands:   {description['bands']}{span}",
        f"stored:  {description['dtype']}, nodata {description['nodata']}, scale {description['scales'][0]:g}",
    ]
    if sensor := description.get("sensor"):
        lines.append(f"sensor:  {sensor['said'].removeprefix('Sensor').lstrip(': ')}")
    if product := description.get("product"):
        name = f"{product['sensor']} {product['level']}".rstrip()
        lines.append(f"product: {name}. {' '.join(product['notes'])}")
    if opened := description.get("opened"):
        lines.append(f"opened:  {' '.join(opened)}")
    if description.get("largest_scale"):
        lines.append(f"guide:   allows --scale {description['largest_scale']}")
    if blur := description.get("blur"):
        lines.extend(_blur_lines(blur))
    return "\n".join(lines)


def _blur_lines(blur: dict[str, Any]) -> list[str]:
    """Return what a scene shows of its blur, and what is assumed."""
    shown = "nothing that can be measured"
    if blur["gain"] is not None:
        low, high = blur["gain_range"]
        width = f"{blur['width_px']:.2f} +- {blur['width_error_px']:.2f} pixels wide (sigma)"
        shown = f"MTF gain {blur['gain']:.2f} at Nyquist ({low:.2f} to {high:.2f}), {width}"
        shown += f", from {blur['pixels']} pixels"
    used = f"MTF gain {blur['assumed_gain']:.2f} at Nyquist ({blur['source']})"
    lines = [f"blur:    the scene shows {shown}", f"assumed: {used}, for --scale {blur['scale']} without a guide"]
    return [*lines, *([f"plot:    {blur['plot']}"] if "plot" in blur else [])]
