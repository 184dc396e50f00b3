"""`dualsr-geo upscale`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.report.summary import describe_run


def _anchors(_: click.Context, __: click.Parameter, value: str) -> int | None:
    """Read --spectral: None for auto, more than any scene has for all."""
    if value in ("auto", "all"):
        return None if value == "auto" else sys.maxsize
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value} is no number of bands. Give 1 or more, all or auto.")
    return int(value)


@click.command(short_help="Sharpen a scene.")
@click.argument("scene", type=click.Path())
@options.product
@click.option(
    "--rgb", "--pan", "--guide", "rgb", type=click.Path(), multiple=True, help="The sharper image; repeatable."
)
@options.gsd
@options.sensor
@click.option("--scale", type=int, help="Ratio of pixel sizes. By default the largest that the guide allows.")
@click.option(
    "--model",
    default="auto",
    show_default=True,
    help="See `dualsr-geo models list`; or a network's weights file.",
)
@click.option(
    "--fine",
    help="Fine stage: none, consistency, backprojection, backprojection-pixel, finenet or finenet-per-tile. "
    "By default the model's own.",
)
@click.option(
    "--half-model", type=click.Path(), help="Weights of half the ratio, for --fine backprojection of a network."
)
@click.option("--published", is_flag=True, help="Let a network compute what its authors' code does, defects included.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="What a network computes in; bfloat16 is faster and within 1e-3 of the range.",
)
@click.option(
    "--spectral",
    default="auto",
    show_default=True,
    callback=_anchors,
    metavar="K|all|auto",
    help="On how many bands our networks run; the others follow. auto: 8, of noisy scenes 8 components.",
)
@click.option("--uncertainty", is_flag=True, help="Also write how far each value may be off (standard deviation).")
@click.option(
    "--coregister",
    type=click.Choice(["auto", "local", "off"]),
    default="auto",
    show_default=True,
    help="Move a displaced guide onto the scene, as a whole or also place by place (local), or leave it and warn.",
)
@click.option(
    "--changes",
    type=click.Choice(["auto", "off"]),
    default="auto",
    show_default=True,
    help="Leave the guide out where it shows something else than the scene, or use it everywhere.",
)
@click.option(
    "--psf", type=click.Path(exists=True, dir_okay=False), help="A known blur as JSON; nothing is estimated then."
)
@click.option("--mtf-gain", type=float, help="The sensor's MTF gain at Nyquist, e.g. 0.3; wins over that of --sensor.")
@click.option("--tile", type=int, help="Side of a tile's core, lr pixels. By default --max-memory decides.")
@options.jobs
@options.max_memory
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@options.scheduler
@options.gpus
@click.option(
    "--work-dir",
    type=click.Path(file_okay=False),
    help="Where a TIFF for an object store is made on disk. By default the current folder.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--report", type=click.Path(), metavar="FILE.html", help="Also write a page to look at.")
@click.option("--dry-run", is_flag=True, help="Print the plan as JSON and write nothing.")
@options.log_json
@options.as_json
@options.quiet
def upscale(  # one keyword an option, passed on untouched
    *,
    scene: str,
    output: str | None,
    rgb: tuple[str, ...],
    psf: str | None,
    scheduler: str | None,
    gpus: int | None,
    report: str | None,
    dry_run: bool,
    log_json: str | None,
    as_json: bool,
    quiet: bool,
    **chosen: Any,  # as click parsed them
) -> None:
    """Sharpen SCENE, guided by a sharper image (--rgb) or alone (--scale).

    Writes SCENE_x<scale>.tif beside the scene, a Cloud Optimized GeoTIFF on exactly the scene's
    extent, in the scene's own data type. SCENE may be a product as delivered, e.g. a Sentinel-2 SAFE
    folder, which may bring sharper bands to be guided by.

    \b
        dualsr-geo upscale scene.tif --rgb pan.tif
        dualsr-geo upscale scene.tif --scale 2 -o sharper.zarr
    """  # noqa: D301  # click looks for the character, which a raw string has not
    from dualsr_geo.io.products.registry import is_delivery  # noqa: PLC0415  # loads rasterio
    from dualsr_geo.models.methods import model_names  # noqa: PLC0415

    if not rgb and chosen["scale"] is None and chosen["model"] in model_names() and not is_delivery(scene):
        raise click.UsageError("Without --rgb nothing says how far to go. Give --scale, e.g. --scale 4.")
    from dualsr_geo.engine import run_log  # noqa: PLC0415  # loads torch
    from dualsr_geo.engine import upscale as pipeline  # noqa: PLC0415
    from dualsr_geo.engine.options import Options  # noqa: PLC0415

    run = Options(psf=psf_of(psf), **chosen)
    if dry_run:
        click.echo(json.dumps(pipeline.dry_run(scene, output, rgb=rgb, options=run), indent=2))
        return
    with (
        run_log.json_log(log_json),
        client_of(scheduler, gpus, silent=quiet) as client,
        _bar(hidden=quiet or as_json) as progress,
    ):
        result = pipeline.upscale(scene, output, rgb=rgb, options=run, client=client, report=report, progress=progress)
    if as_json:
        click.echo(json.dumps(result))
    elif not quiet:
        click.echo(describe_run(result))


def psf_of(path: str | None) -> Any:  # a Psf; importing it here would load torch
    """Read a blur; None where none is given."""
    if path is None:
        return None
    from dualsr_geo.degradation.psf import Psf  # noqa: PLC0415
    from dualsr_geo.errors import OptionError  # noqa: PLC0415

    try:
        return Psf.from_json(json.loads(Path(path).read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"--psf {path} is no PSF ({error}). Give JSON with ratio, taps_y, taps_x, start_y, start_x."
        ) from error


@contextmanager
def client_of(address: str | None, gpus: int | None = None, *, silent: bool = False) -> Iterator[Any]:
    """Connect to a dask cluster, or start one on cards, and say where to watch it; None where none is asked for."""
    if address is not None and gpus is not None:
        raise click.UsageError("--scheduler and --gpus each say where tiles run. Give one of them.")
    if gpus is not None:
        from dualsr_geo.engine import dask_cluster  # noqa: PLC0415

        with dask_cluster.on_cards(dask_cluster.cards(gpus)) as client:
            yield client
        return
    if address is None:
        yield None
        return
    from distributed import Client  # noqa: PLC0415

    from dualsr_geo.errors import OptionError  # noqa: PLC0415

    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"--scheduler {address} does not answer ({error}). Start one with `dask scheduler`."
        ) from error
    with client:
        if not silent and client.dashboard_link:
            click.echo(f"Watch it at {client.dashboard_link}", err=True)
        yield client


@contextmanager
def _bar(*, hidden: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show progress on a terminal, nothing in a pipe."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm  # noqa: PLC0415

    with tqdm(unit="tile", leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
