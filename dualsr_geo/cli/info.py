"""`dualsr-geo info`."""

from __future__ import annotations

import json
from typing import Any

import click

from dualsr_geo.cli import options


@click.command(short_help="Describe a scene.")
@click.argument("scene", type=click.Path())
@click.option(
    "--rgb", "--pan", "--guide", "rgb", type=click.Path(), help="Also print the largest ratio that this guide allows."
)
@options.bidx
@options.nodata
@options.gsd
@options.sensor
@options.as_json
def info(scene: str, rgb: str | None, *, as_json: bool, **chosen: Any) -> None:  # as click parsed them
    """Print the grid, bands, wavelengths and packing of SCENE as dualsr-geo reads them."""
    from dualsr_geo.io.describe import describe  # noqa: PLC0415  # loads rasterio

    description = describe(scene, rgb=rgb, **chosen)
    click.echo(json.dumps(description) if as_json else _text(description))


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
        lines.append(f"product: {product['sensor']} {product['level']}. {' '.join(product['notes'])}")
    if description.get("largest_scale"):
        lines.append(f"guide:   allows --scale {description['largest_scale']}")
    return "\n".join(lines)
