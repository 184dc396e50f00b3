"""`dualsr-geo info`."""

from __future__ import annotations

import json
from typing import Any

import click

from dualsr_geo.cli import options


@click.command(short_help="Say what a scene is.")
@click.argument("scene", type=click.Path())
@click.option("--rgb", "--pan", "--guide", "rgb", type=click.Path(), help="Also say how it fits this guide.")
@options.bidx
@options.nodata
@options.gsd
@options.sensor
@options.as_json
def info(scene: str, rgb: str | None, *, as_json: bool, **chosen: Any) -> None:  # as click parsed them
    """Print grid, bands, wavelengths and packing of SCENE as dualsr-geo reads them."""
    from dualsr_geo.io.describe import describe  # noqa: PLC0415  # loads rasterio

    found = describe(scene, rgb=rgb, **chosen)
    click.echo(json.dumps(found) if as_json else _table(found))


def _table(found: dict[str, Any]) -> str:
    waves = [b["wavelength_nm"] for b in found["band_table"] if b["wavelength_nm"] is not None]
    span = f", {min(waves):g} to {max(waves):g} nm" if waves else ""
    height, width = found["shape"]
    lines = [
        f"{scene_line(found)}",
        f"size:    {height} x {width} pixels of {found['gsd']:g} {found['unit']}",
        f"CRS:     {found['crs'] or 'none'}",
        f"bands:   {found['bands']}{span}",
        f"stored:  {found['dtype']}, nodata {found['nodata']}, scale {found['scales'][0]:g}",
    ]
    if sensor := found.get("sensor"):
        lines.append(f"sensor:  {sensor['said'].removeprefix('Sensor').lstrip(': ')}")
    if product := found.get("product"):
        lines.append(f"product: {product['sensor']} {product['level']}. {' '.join(product['notes'])}")
    if found.get("largest_scale"):
        lines.append(f"guide:   allows --scale {found['largest_scale']}")
    return "\n".join(lines)


def scene_line(found: dict[str, Any]) -> str:
    """Return the first line."""
    return str(found["scene"])
