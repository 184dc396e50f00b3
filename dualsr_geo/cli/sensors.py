"""`dualsr-geo sensors`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.surface import print_result

if TYPE_CHECKING:
    from dualsr_geo.sensors import Sensor


@click.group(short_help="List the sensors, show one.")
def sensors() -> None:
    """List the sensors of the database, with their bands, blur and packing, or show one."""


@sensors.command("list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """List the sensors, one a line, with those of plugins."""
    from dualsr_geo.sensors.registry import sensors  # noqa: PLC0415

    if as_json:
        print_result(
            json.dumps([{"name": s.name, "title": s.title, "bands": len(s.bands)} for s in sensors().values()])
        )
        return
    for sensor in sensors().values():
        print_result(f"{sensor.name:17} {sensor.title}")


@sensors.command()
@click.argument("name")
@options.as_json
def show(name: str, *, as_json: bool) -> None:
    """Show the properties of the sensor NAME, with their sources."""
    from dualsr_geo.sensors.registry import find  # noqa: PLC0415

    sensor = find(name)
    print_result(json.dumps({**dataclasses.asdict(sensor), "srf": sensor.response_kind}) if as_json else _text(sensor))


def _text(sensor: Sensor) -> str:
    lines = [
        f"{sensor.name}: {sensor.title}",
        f"aliases:    {', '.join(sensor.aliases) or 'none'}",
        f"bands:      {sensor.sources.bands}",
        f"responses:  {_responses(sensor)}",
        f"MTF gain:   {sensor.sources.mtf}" + ("" if sensor.mtf_measured else "; not measured, therefore not used"),
    ]
    if sensor.guide:
        lines.append(f"guide:      {sensor.guide}")
    if sensor.bad_windows_nm:
        lines.append("bad bands:  " + ", ".join(f"{low:g} to {high:g} nm" for low, high in sensor.bad_windows_nm))
    if sensor.packing is not None:
        p = sensor.packing
        nodata = "" if p.nodata is None else f", nodata {p.nodata:g}"
        lines.append(f"packing:    {p.product}: stored * {p.scale:g} + {p.offset:g}{nodata}")
    if sensor.sources.packing:
        lines.append(f"            {sensor.sources.packing}")
    return "\n".join([*lines, "", *_table(sensor)])


def _responses(sensor: Sensor) -> str:
    if sensor.responses is not None:
        return "tabulated"
    return "Gaussian of centre and FWHM" + ("; replaced by the wavelengths of the product" if sensor.nominal else "")


def _table(sensor: Sensor) -> list[str]:
    width = max(4, *(len(b.name) for b in sensor.bands))
    lines = [f"{'band':{width}}  centre nm  FWHM nm  GSD m  MTF gain"]
    for b in sensor.bands:
        gsd = "-" if b.gsd_m is None else f"{b.gsd_m:g}"
        lines.append(f"{b.name:{width}}  {b.wavelength_nm:9.1f}  {b.fwhm_nm:7.1f}  {gsd:>5}  {b.mtf_gain:8g}")
    return lines
