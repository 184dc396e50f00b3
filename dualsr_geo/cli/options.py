"""Options that several commands share, named as in rio and GDAL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DTYPES = ["uint8", "uint16", "int16", "int8", "uint32", "int32", "float32", "float64"]


def _creation(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Split NAME=VALUE."""
    pairs = []
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"`{value}` is not NAME=VALUE.")
        pairs.append((name, rest))
    return tuple(pairs)


def _bytes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Read a size such as ``4GB`` or ``800MiB``."""
    if value is None:
        return None
    from dualsr_geo.engine.option_types import parse_size  # noqa: PLC0415  # `--help` does not wait for it

    size = parse_size(value)
    if size is None:
        raise click.BadParameter(f"`{value}` is no size. Give e.g. 4GB or 800MiB.")
    return size


def _nodata(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | str | None:
    """Read a number, nan or auto."""
    if value is None or value == "auto":
        return value
    with suppress(ValueError):
        return float(value)
    raise click.BadParameter(f"`{value}` is no number. Give a number, nan or auto.")


def _joined(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Join the bands of several --bidx."""
    return ",".join(values) if values else None


output = click.option("-o", "--output", type=click.Path(), help="File or store of the product.")
format_ = click.option(
    "-f", "--format", "--driver", "format", type=click.Choice(["COG", "GTiff", "netCDF", "Zarr"], case_sensitive=False),
    help="Format of the product.  [default: by the suffix of --output, .tif COG, .nc netCDF, .zarr Zarr]",
)  # fmt: skip
bidx = click.option(
    "-b",
    "--bidx",
    multiple=True,
    callback=_joined,
    help="Bands of the scene, e.g. 1, 1,3 or 2..5. Repeatable.  [default: all]",
)
trust_references = click.option(
    "--trust-references",
    is_flag=True,
    help="Follow references of the images (VRT, HDF5) out of their folders, and open them by any driver of GDAL.",
)


def _size_or_all(_: click.Context, __: click.Parameter, value: str | None) -> float | str | None:
    """Read --gsd: a number of metres, or all."""
    if value is None or value == "all":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value} is no pixel size. Give metres, e.g. 20, or all.") from None


gsd_or_all = click.option(
    "--gsd",
    metavar="SIZE|all",
    callback=_size_or_all,
    help="Pixel size of the bands to sharpen, metres, for a product with several, e.g. 20; all: a product of each.",
)
gsd = click.option(
    "--gsd", type=float, help="Pixel size of the bands to read, metres, for a product with several, e.g. 20."
)
sensor = click.option(
    "--sensor",
    metavar="NAME",
    help="Sensor of the scene; see `dualsr-geo sensors list`.  [default: by the metadata]",
)
wavelengths = click.option(
    "--wavelengths",
    metavar="FILE|FIRST:LAST",
    help="Wavelengths of the bands: a text or CSV file, first and last in nm, e.g. 400:2500, or bands of a sensor, e.g. "
    "aviris-classic:4..107,113..153.  [default: those of the file]",
)
creation = click.option(
    "--co", "--profile", "creation", multiple=True, metavar="NAME=VALUE", callback=_creation,
    help="Creation option of the GDAL driver. Repeatable.",
)  # fmt: skip
overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing output.")
nodata = click.option(
    "--nodata", metavar="VALUE|auto", callback=_nodata,
    help="Nodata value of the scene or, with --dtype, of the product; auto: that of undeclared fill, if there is any.",
)  # fmt: skip
dtype = click.option(
    "-t",
    "--dtype",
    type=click.Choice(DTYPES, case_sensitive=False),
    help="Data type of the product.  [default: that of the scene]",
)
scheduler = click.option("--scheduler", metavar="tcp://...", help="Address of a dask cluster that runs the tiles.")
gpus = click.option(
    "--gpus", type=click.IntRange(1), help="Number of GPUs of this machine that run the tiles, one process each."
)
jobs = click.option(
    "-j",
    "--jobs",
    "--num-threads",
    type=int,
    help="Number of tiles that run at the same time.  [default: the number of cores]",
)
max_memory = click.option(
    "--max-memory", "--ram", callback=_bytes, metavar="SIZE", help="Limit of the memory, e.g. 4GB; a number is in MiB."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
log_json = click.option(
    "--log-json",
    metavar="FILE|-",
    help="Append each event of the run to a file as a line of JSON; - is standard error.",
)
verbose = click.option(
    "-v", "--verbose", is_flag=True, help="Print what was measured and how the product was tested, and each stage."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="Print no progress and no summary.")


def together(*decorators: Decorator) -> Decorator:
    """Return a decorator that adds several options, in this order."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


product = together(output, format_, bidx, dtype, nodata, creation, overwrite)
