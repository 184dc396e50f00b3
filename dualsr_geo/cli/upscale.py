"""`dualsr-geo upscale`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dualsr_geo.cli import options, resume
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.progress import run_displayed
from dualsr_geo.cli.surface import print_progress, print_result
from dualsr_geo.report.summary import describe_run

if TYPE_CHECKING:
    from dualsr_geo.degradation.psf import Psf
    from dualsr_geo.engine.options import Options


def _anchor_bands(_: click.Context, __: click.Parameter, value: str) -> int | None:
    """Read --spectral: None for auto, for all a number that no scene exceeds."""
    if value in ("auto", "all"):
        return None if value == "auto" else sys.maxsize
    digits = value.lstrip("0")
    if not digits.isdecimal():
        raise click.BadParameter(f"{value} is no number of bands. Give 1 or more, all or auto.")
    # More digits than a number of bands has mean all.
    return int(digits) if len(digits) < len(str(sys.maxsize)) else sys.maxsize


class _ChoiceOrNone(click.Choice[str]):
    """A choice that may be left out, which is False."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the chosen word, or False."""
        return False if value is False else super().convert(value, param, ctx)


class _BandsCommand(Command):
    """A command whose scene may be several files."""

    takes_bands = True


@click.command(cls=_BandsCommand, short_help="Sharpen a scene.")
@click.argument("scene", type=click.Path())
@options.product
@click.option(
    "--rgb",
    "--pan",
    "--guide",
    "rgb",
    type=click.Path(),
    multiple=True,
    help="The guide: a sharper image of the same area. Repeatable.",
)
@options.gsd_or_all
@options.sensor
@options.wavelengths
@options.trust_references
@click.option("--scale", type=int, help="Ratio of pixel sizes.  [default: the largest that the guide allows]")
@click.option(
    "--model",
    default="auto",
    show_default=True,
    help="A model of `dualsr-geo models list`, or the weights file of a network.",
)
@click.option(
    "--fine",
    help="Fine stage: none, consistency, backprojection, backprojection-pixel, finenet or finenet-per-tile.  "
    "[default: that of the model]",
)
@click.option(
    "--half-model",
    type=click.Path(),
    help="Weights file of the network for half the ratio; --fine backprojection of a network needs it.",
)
@click.option(
    "--published",
    is_flag=True,
    help="Compute a published network exactly as the code of its authors does, defects included.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Number type of a network; bfloat16 is faster, and its results differ by up to 1e-3 of the range.",
)
@click.option(
    "--spectral",
    default="auto",
    show_default=True,
    callback=_anchor_bands,
    metavar="K|all|auto",
    help="Number of bands that the built-in networks process; the other bands are derived from these. "
    "auto: 8 bands, for a noisy scene 8 components.",
)
@click.option(
    "--orientations",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    help="Without a guide, average the network over this number of flips and quarter turns of the scene; 8 is the most "
    "exact, and takes eight times the network's time.",
)
@click.option(
    "--uncertainty",
    type=_ChoiceOrNone(["bands", "separate"]),
    default=False,
    is_flag=False,
    metavar="[bands|separate]",
    help="Also write the standard deviation of the error of each value: as further bands of the file, or separate, in a "
    "second file, scene_x4_sigma.tif; in Zarr and netCDF as a variable.  [default of the value: bands]",
)
@click.option(
    "--coregister",
    type=click.Choice(["auto", "local", "off"]),
    default="auto",
    show_default=True,
    help="Correct a displacement of the guide as a whole (auto) or also locally (local), or only warn (off).",
)
@click.option(
    "--changes",
    type=click.Choice(["auto", "off"]),
    default="auto",
    show_default=True,
    help="Do not use the guide where it differs from the scene (auto), or use it everywhere (off).",
)
@click.option(
    "--denoise",
    type=click.Choice(["auto", "off"]),
    default="auto",
    show_default=True,
    help="Denoise the guide where its noise costs more than the filter (auto), or use it as it is (off).",
)
@click.option(
    "--psf",
    type=click.Path(exists=True, dir_okay=False),
    help="JSON file of the point spread function of the scene, which is then not estimated.",
)
@click.option(
    "--mtf-gain",
    type=float,
    help="MTF gain of the scene at its Nyquist frequency, e.g. 0.3; replaces that of --sensor.",
)
@click.option("--tile", type=int, help="Side of a tile's core, pixels of the scene.  [default: by --max-memory]")
@options.jobs
@options.max_memory
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device of the networks.",
)
@options.scheduler
@options.gpus
@click.option(
    "--work-dir",
    type=click.Path(file_okay=False),
    help="Folder of the temporary file of a TIFF that is written to an object store.  [default: the current folder]",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run, with the options that are not given.")
@click.option(
    "--report",
    type=click.Path(),
    metavar="FILE.html",
    help="Also write an HTML page with pictures of the product and its quality.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan as JSON and write nothing.")
@options.log_json
@options.as_json
@options.quiet
@options.verbose
def upscale(  # one keyword an option, passed on untouched
    *,
    scene: str | tuple[str, ...],
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
    verbose: bool,
    **chosen: Any,  # as click parsed them
) -> None:
    """Sharpen SCENE, guided by a sharper image (--rgb) or without a guide (--scale).

    Writes SCENE_x<scale>.tif to the folder of the scene: a Cloud Optimized GeoTIFF of exactly the
    extent and the data type of the scene. SCENE may be a product as delivered, e.g. a Sentinel-2 SAFE
    folder, an archive or a STAC item, whose own sharper bands are then the guide; or several files on one
    grid, its bands, which need --output and --rgb or --scale.

    \b
        dualsr-geo upscale scene.tif --rgb pan.tif
        dualsr-geo upscale scene.tif --scale 2 -o sharper.zarr
        dualsr-geo upscale B05.tif B06.tif B11.tif --rgb B08.tif -o sharper.tif
    """  # noqa: D301  # click looks for the character, which a raw string has not
    if quiet and verbose:
        raise click.UsageError("--quiet prints nothing, and --verbose prints more. Give one of them.")
    # The lines of JSON would break that of the progress.
    hidden = quiet or as_json or dry_run or log_json == "-"
    with run_displayed("Starting", hidden=hidden, verbose=verbose):
        result = _run(
            scene, output, rgb, psf, scheduler=scheduler, gpus=gpus, report=report, dry_run=dry_run,
            log_json=log_json, quiet=quiet, chosen=chosen,
        )  # fmt: skip
    if dry_run:
        print_result(json.dumps(result, indent=2))
    elif as_json:
        print_result(json.dumps(result))
    elif not quiet:
        print_result("\n\n".join(describe_run(r, verbose=verbose) for r in result.get("products", [result])))


def _run(
    scene: str | tuple[str, ...],
    output: str | None,
    rgb: tuple[str, ...],
    psf: str | None,
    *,
    scheduler: str | None,
    gpus: int | None,
    report: str | None,
    dry_run: bool,
    log_json: str | None,
    quiet: bool,
    chosen: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the result of a run, or with --dry-run its plan."""
    from dualsr_geo.io.products.registry import is_delivery  # noqa: PLC0415  # loads rasterio
    from dualsr_geo.models.methods import model_names  # noqa: PLC0415

    files = (scene,) if isinstance(scene, str) else scene
    if chosen["resume"]:
        recorded, guides = resume.recorded_run(files[0], output, chosen)
        taken = {k: v for k, v in resume.not_given(recorded).items() if k in chosen or k == "psf"}
        rgb, known_psf = rgb or guides, taken.pop("psf", None)
        chosen = {**chosen, **taken}
    else:
        known_psf = None
    if not rgb and chosen["scale"] is None and chosen["model"] in model_names() and not is_delivery(files[0]):
        require_scene(files[0], chosen)
        raise click.UsageError("Without a guide --scale is required. Give --rgb GUIDE, or e.g. --scale 2.")
    from dualsr_geo.engine import upscale as engine  # noqa: PLC0415  # loads torch
    from dualsr_geo.engine.options import Options  # noqa: PLC0415
    from dualsr_geo.engine.records import run_log  # noqa: PLC0415

    run_options = Options(psf=known_psf or read_psf(psf), **chosen)
    if dry_run:
        return _plans(scene, output, rgb, run_options)
    read = [str(p) for p in (*files, *rgb, psf, chosen["model"], chosen["half_model"]) if p is not None]
    if report is not None:
        from dualsr_geo.report.page import require_report  # noqa: PLC0415

        require_report(report, overwrite=True, inputs=read)
    written = [str(p) for p in (output, report) if p is not None]
    with (
        run_log.json_log(log_json, inputs=read, outputs=written),
        connected_client(scheduler, gpus, silent=quiet) as client,
    ):
        return engine.upscale(scene, output, rgb=rgb, options=run_options, client=client, report=report)


def _plans(
    scene: str | tuple[str, ...], output: str | None, rgb: tuple[str, ...], run_options: Options
) -> dict[str, Any]:
    """Return the plan of a run, or those of each pixel size."""
    from dualsr_geo.engine import pixel_sizes, preparation  # noqa: PLC0415  # loads torch

    if run_options.gsd != "all":
        return preparation.dry_run(scene, output, rgb=rgb, options=run_options)
    return pixel_sizes.each_gsd(
        lambda own, label, place, _: preparation.dry_run(scene, place, rgb=rgb, options=own, label=label),
        pixel_sizes.coarse_gsds(scene, run_options),
        run_options,
        output,
    )


def require_scene(scene: str, chosen: Mapping[str, Any]) -> None:
    """Raise the error of a scene that cannot be opened, which comes before that of any option."""
    from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415  # loads rasterio

    gsd = None if chosen["gsd"] == "all" else chosen["gsd"]
    open_scene(scene, gsd=gsd, sensor=chosen["sensor"], trust_references=chosen["trust_references"])


def read_psf(path: str | None) -> Psf | None:
    """Read the file of --psf."""
    if path is None:
        return None
    from dualsr_geo.degradation import psf  # noqa: PLC0415  # loads numpy

    return psf.read_psf(path)


@contextmanager
def connected_client(address: str | None, gpus: int | None = None, *, silent: bool = False) -> Iterator[Any]:
    """Connect to a dask cluster, or start one on GPUs, and print the address of its dashboard; None for neither."""
    if address is not None and gpus is not None:
        raise click.UsageError("--scheduler and --gpus both choose where tiles run. Give one of them.")
    if gpus is not None:
        from dualsr_geo.engine import dask_cluster  # noqa: PLC0415

        with dask_cluster.on_cards(dask_cluster.cards(gpus)) as client:
            yield client
        return
    if address is None:
        yield None
        return
    import dask  # noqa: PLC0415
    from distributed import Client  # noqa: PLC0415

    from dualsr_geo.errors import OptionError  # noqa: PLC0415
    from dualsr_geo.io.storage.urls import shown  # noqa: PLC0415

    before = dask.config.get("scheduler", None)
    try:
        client = Client(address, timeout=10)
    except Exception as error:  # distributed raises almost any for a text that is no address
        # A client that fails on the form of its address leaves itself behind as dask's scheduler.
        dask.config.set(scheduler=before)
        raise OptionError(
            f"--scheduler {shown(address)} does not answer ({str(error) or type(error).__name__}). Start a cluster with `dask scheduler`, or give its address."
        ) from error
    with client:
        if not silent and client.dashboard_link:
            print_progress(f"The dashboard of the cluster is {shown(client.dashboard_link)}")
        yield client
