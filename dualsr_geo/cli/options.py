"""Options that several commands share, with the names and habits of rio and GDAL."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DTYPES = ["uint8", "uint16", "int16", "int8", "uint32", "int32", "float32", "float64"]
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_UNITS |= {"K": 2**10, "M": 2**20, "G": 2**30}


def _creation(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Split NAME=VALUE; the case is kept."""
    pairs = []
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"`{value}` is not NAME=VALUE.")
        pairs.append((name, rest))
    return tuple(pairs)


def _bytes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Read ``4GB``, ``800MiB``, or plain megabytes."""
    if value is None:
        return None
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", value)
    unit = match and match[2].upper()
    if not match or unit not in _UNITS:
        raise click.BadParameter(f"`{value}` is no size. Give e.g. 4GB or 800MiB.")
    number = float(match[1])
    return int(number * (2**20 if not unit else _UNITS[unit]))


output = click.option("-o", "--output", type=click.Path(), help="The product to write.")
format_ = click.option(
    "-f", "--format", "--driver", "format", type=click.Choice(["COG", "GTiff", "Zarr"], case_sensitive=False),
    help="Of the product; by default its suffix says: .tif COG, .zarr Zarr.",
)  # fmt: skip
bidx = click.option("-b", "--bidx", help="Bands of the scene, e.g. 1, 1,3 or 2..5. All by default.")
gsd = click.option("--gsd", type=float, help="Which bands of a product with several pixel sizes, metres, e.g. 20.")
sensor = click.option(
    "--sensor",
    metavar="NAME",
    help="The instrument that took it; see `dualsr-geo sensors list`. By default its metadata says.",
)
creation = click.option(
    "--co", "--profile", "creation", multiple=True, metavar="NAME=VALUE", callback=_creation,
    help="Creation option of the GDAL driver; repeatable.",
)  # fmt: skip
overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing product.")
nodata = click.option("--nodata", type=float, help="Nodata value, of the scene or, with --dtype, of the product.")
dtype = click.option("-t", "--dtype", type=click.Choice(DTYPES), help="Of the product. The scene's own by default.")
scheduler = click.option("--scheduler", metavar="tcp://...", help="Run the tiles on this dask cluster.")
gpus = click.option(
    "--gpus", type=click.IntRange(1), help="Run the tiles on so many cards of this machine, a process each."
)
jobs = click.option("-j", "--jobs", "--num-threads", type=int, help="Tiles at once. One a core by default.")
max_memory = click.option(
    "--max-memory", "--ram", callback=_bytes, metavar="SIZE", help="Bound, e.g. 4GB; plain numbers are MiB."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
log_json = click.option(
    "--log-json", metavar="FILE|-", help="Add a line of JSON for whatever happens to a file; - is standard error."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")


def together(*decorators: Decorator) -> Decorator:
    """Apply several option decorators, first on top."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


product = together(output, format_, bidx, dtype, nodata, creation, overwrite)
