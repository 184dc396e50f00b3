"""`dualsr-geo info`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.surface import print_result
from dualsr_geo.messages import one_line


@click.command(cls=Command, short_help="Describe a scene.")
@click.argument("scenes", nargs=-1, required=True, type=click.Path(), metavar="SCENE...")
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
    scenes: tuple[str, ...],
    rgb: str | None,
    *,
    blur: bool,
    scale: int,
    plot: str | None,
    as_json: bool,
    **chosen: Any,  # as click parsed them
) -> None:
    """Print the grid, bands, wavelengths and packing of each SCENE as dualsr-geo reads them.

    Of a product of dualsr-geo also how it was made. With several scenes --json prints a list.
    """
    if plot is not None and not blur:
        raise click.UsageError("--plot draws the blur. Give --blur with it.")
    if plot is not None and len(scenes) > 1:
        raise click.UsageError(f"--plot draws the blur of one scene, and {len(scenes)} are given. Give one.")
    if len(scenes) == 1:
        description = _describe(scenes[0], rgb, scale if blur else None, plot, chosen)
        print_result(json.dumps(description) if as_json else _text(description))
        return
    _print_all(scenes, lambda scene: _describe(scene, rgb, scale if blur else None, None, chosen), as_json=as_json)


def _print_all(scenes: tuple[str, ...], describe: Callable[[str], dict[str, Any]], *, as_json: bool) -> None:
    """Print several scenes; one that cannot be opened does not keep the others from being printed."""
    from dualsr_geo.errors import DualSRError  # noqa: PLC0415

    descriptions = []
    failures = 0
    for scene in scenes:
        try:
            description = describe(scene)
        except DualSRError as error:
            failures += 1
            description = {"scene": scene, "error": one_line(str(error))}
        descriptions.append(description)
        if not as_json:
            print_result(f"{scene}\nerror:   {description['error']}" if "error" in description else _text(description))
    if as_json:
        print_result(json.dumps(descriptions))
    if failures:
        raise click.ClickException(f"{failures} of {len(scenes)} scenes cannot be opened. Correct or leave out these.")


def _describe(
    scene: str, rgb: str | None, scale: int | None, plot: str | None, chosen: dict[str, Any]
) -> dict[str, Any]:
    """Return the description of a scene, with its blur for a ratio `scale`."""
    from dualsr_geo.io.describe import describe  # noqa: PLC0415  # loads rasterio

    description = describe(scene, rgb=rgb, **chosen)
    if scale is not None:
        from dualsr_geo.evaluation.blur_check import check_blur  # noqa: PLC0415  # loads torch

        description["blur"] = check_blur(scene, scale=scale, plot=plot, **chosen)
    return description


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
    if origin := description.get("made_by"):
        lines.extend(_origin_lines(origin))
    if description.get("largest_scale"):
        lines.append(f"guide:   allows --scale {description['largest_scale']}")
    if blur := description.get("blur"):
        lines.extend(_blur_lines(blur))
    return "\n".join(lines)


def _origin_lines(origin: dict[str, Any]) -> list[str]:
    """Return how a product was made, how well it fits its scene, and which bands are no data."""
    guide = f", guided by {origin['guide']}" if origin["guide"] else ""
    scale = f", --scale {origin['scale']}" if origin["scale"] else ""
    lines = [f"made by: {origin['software']}, model {origin['model']}{scale}, from {origin['scene']}{guide}"]
    if (rmse := origin["consistency"]["rmse"]) is not None:
        angle = origin["consistency"]["sam_deg"]
        spectral = "" if angle is None else f", {angle:.2g} degrees of spectral angle"
        lines.append(
            f"fits:    averaged back to the scene's pixels it differs from the scene by {rmse:.3g} (RMSE){spectral}"
        )
    if bands := origin["uncertainty_bands"]:
        numbers = isinstance(bands[0], int)
        where = f"bands {bands[0]} to {bands[-1]} of the file" if numbers else f"the variable {bands[0]}"
        lines.append(f"errors:  {where}: standard deviations of the values, not data")
    if file := origin["uncertainty_file"]:
        lines.append(f"errors:  {file}: standard deviations of the values")
    return [*lines, *(f"note:    {note}" for note in origin["notes"] or ())]


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
