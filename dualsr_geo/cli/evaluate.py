"""`dualsr-geo evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.surface import print_result
from dualsr_geo.cli.upscale import require_scene

# Columns of the table: name, heading, number of decimals.
COLUMNS = (
    ("psnr_db", "PSNR", 2),
    ("psnr_band_mean_db", "band mean", 2),
    ("ssim", "SSIM", 4),
    ("sam_deg", "SAM", 3),
    ("ergas", "ERGAS", 3),
    ("q2n", "Q2n", 4),
    ("cc", "CC", 4),
    ("rmse", "RMSE", None),
    ("seconds", "s", 1),
    ("peak_memory_bytes", "MiB", 0),
)
# Units of the columns in terms of those of the scores.
UNITS = {"peak_memory_bytes": 2**20}


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(n.strip() for n in value.split(",") if n.strip())


@click.command(cls=Command, short_help="Score a product, or compare models on a scene.")
@click.argument("scene", type=click.Path())
@click.option(
    "--reference",
    type=click.Path(),
    help="Reference image on the grid of SCENE, a product, which is scored against it.",
)
@click.option(
    "--rgb",
    "--pan",
    "--guide",
    "rgb",
    type=click.Path(),
    multiple=True,
    help="The guide: a sharper image of the same area. Repeatable.",
)
@click.option("--scale", type=int, help="Ratio of pixel sizes.  [default: the largest that the guide allows]")
@click.option("--models", callback=_names, metavar="NAME,...", help="Models to compare.  [default: all that can run]")
@click.option(
    "--mtf-gain", type=float, help="MTF gain at which the scene is degraded.  [default: that of the sensor, or 0.3]"
)
@click.option("--guide-mtf-gain", type=float, help="MTF gain at which the guide is degraded.  [default: 0.15]")
@click.option(
    "--report", type=click.Path(), metavar="FILE.html", help="Also write an HTML page with pictures and scores."
)
@options.bidx
@options.nodata
@options.gsd
@options.sensor
@options.wavelengths
@options.trust_references
@options.jobs
@options.max_memory
@options.overwrite
@options.as_json
@options.quiet
def evaluate(  # one keyword an option, passed on untouched
    *,
    scene: str,
    reference: str | None,
    scale: int | None,
    bidx: str | None,
    nodata: float | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
    **chosen: Any,  # as click parsed them
) -> None:
    """Score SCENE, a product, against a reference; or compare models on SCENE by the Wald protocol.

    \b
        dualsr-geo evaluate product.tif --reference truth.tif --scale 4
        dualsr-geo evaluate scene.tif --rgb pan.tif --report report.html

    The Wald protocol degrades scene and guide by --scale, sharpens the degraded scene with each model,
    and compares the result with the original scene. Higher values of PSNR (dB), SSIM, Q2n and CC are
    better, and lower values of SAM (degrees), ERGAS and RMSE.
    """  # noqa: D301  # click looks for the character, which a raw string has not
    if reference is not None:
        _require_unused(chosen)
        from dualsr_geo.evaluation.evaluate import score_product  # noqa: PLC0415  # loads torch

        trust = chosen["trust_references"]
        scores = score_product(
            scene, reference, scale=scale, bidx=bidx, nodata=nodata, jobs=jobs, trust_references=trust
        )
        print_result(json.dumps(scores) if as_json else table({"product": scores}))
        return
    from dualsr_geo.io.products.registry import is_delivery  # noqa: PLC0415  # loads rasterio

    if not chosen["rgb"] and scale is None and not is_delivery(scene):
        require_scene(scene, chosen)
        raise click.UsageError(
            "Without a guide --scale is required. Give --rgb GUIDE, or e.g. --scale 2, or --reference to score a product."
        )
    from dualsr_geo.evaluation.evaluate import evaluate as run  # noqa: PLC0415

    given = {k: v for k, v in chosen.items() if v is not None}
    with _model_bar(hidden=quiet or as_json) as progress:
        comparison = run(scene, scale=scale, bidx=bidx, nodata=nodata, jobs=jobs, progress=progress, **given)
    print_result(json.dumps(comparison) if as_json else _text(comparison))


def _require_unused(chosen: Mapping[str, Any]) -> None:
    """Raise UsageError for options that have no effect with --reference."""
    unused = [
        f"--{k.replace('_', '-')}"
        for k, v in chosen.items()
        if v and k not in ("max_memory", "overwrite", "trust_references")
    ]
    if unused:
        raise click.UsageError(
            f"{', '.join(unused)} has no effect with --reference, which scores a finished product. Leave one out."
        )


def _text(comparison: Mapping[str, Any]) -> str:
    """Return the table, each note once, and the protocol."""
    models = comparison["models"]
    notes = dict.fromkeys(f"Note: {n}" for scores in models.values() for n in scores.get("notes", ()))
    return "\n".join([table(models), "", *comparison["opened"], *notes, comparison["protocol"]])


def table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return scores as aligned text, one line a model."""
    width = max(map(len, models))
    columns = [c for c in COLUMNS if any(c[0] in scores for scores in models.values())]
    lines = [" " * width + "".join(f"{heading:>11}" for _, heading, _ in columns)]
    for name, scores in models.items():
        if "error" in scores:
            lines.append(f"{name:{width}}  {scores['error']}")
            continue
        lines.append(f"{name:{width}}" + "".join(f"{_cell(scores, k, digits):>11}" for k, _, digits in columns))
    return "\n".join(lines)


def _cell(scores: Mapping[str, Any], name: str, digits: int | None) -> str:
    value = scores[name]
    if value is None:
        # JSON has no infinity, which is the PSNR of a product that equals its reference.
        return "inf" if name.startswith("psnr") and scores["rmse"] == 0 else "-"
    return f"{value:.4g}" if digits is None else f"{value / UNITS.get(name, 1):.{digits}f}"


@contextmanager
def _model_bar(*, hidden: bool) -> Iterator[Callable[[str], None] | None]:
    """Yield a function that shows the name of the running model; None without a terminal."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm  # noqa: PLC0415

    with tqdm(bar_format="{desc} {elapsed}", leave=False) as bar:
        yield bar.set_description
