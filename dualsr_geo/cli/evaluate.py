"""`dualsr-geo evaluate`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.progress import Display, displayed
from dualsr_geo.cli.surface import print_result
from dualsr_geo.cli.upscale import require_scene
from dualsr_geo.report.summary import listed_indices

# Columns of the table: name, heading with unit, number of significant digits, and whether more is better; None for costs.
COLUMNS = (
    ("psnr_db", "PSNR dB", 4, True),
    ("psnr_band_mean_db", "by band dB", 4, True),
    ("ssim", "SSIM", 4, True),
    ("sam_deg", "SAM deg", 3, False),
    ("ergas", "ERGAS", 3, False),
    ("q2n", "Q2n", 4, True),
    ("cc", "CC", 4, True),
    ("rmse", "RMSE", 4, False),
    ("seconds", "time s", 3, None),
    ("peak_memory_bytes", "memory MiB", 4, None),
)
# Units of the columns in terms of those of the scores.
UNITS = {"peak_memory_bytes": 2**20}
# Values below are written with an exponent.
SMALLEST_FIXED = 1e-6
# Behind the best value of a column, and its explanation.
BEST, LEGEND = "*", "* is the best value of a column; PSNR by band is the mean of the bands' own."


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
        text = "\n".join([table({"product": scores}), *_index_lines({"product": scores})])
        print_result(json.dumps(scores) if as_json else text)
        return
    with displayed("Starting", hidden=quiet or as_json) as display:
        comparison = _compare(scene, display, scale=scale, bidx=bidx, nodata=nodata, jobs=jobs, **chosen)
    print_result(json.dumps(comparison) if as_json else _text(comparison))


def _compare(scene: str, display: Display, *, scale: int | None, **chosen: Any) -> dict[str, Any]:
    """Compare models on a scene."""
    from dualsr_geo.io.products.registry import is_delivery  # noqa: PLC0415  # loads rasterio

    if not chosen["rgb"] and scale is None and not is_delivery(scene):
        require_scene(scene, chosen)
        raise click.UsageError(
            "Without a guide --scale is required. Give --rgb GUIDE, or e.g. --scale 2, or --reference to score a product."
        )
    from dualsr_geo.evaluation.evaluate import evaluate as run  # noqa: PLC0415

    given = {k: v for k, v in chosen.items() if v is not None}
    display.stage("Degrading scene and guide")
    return run(scene, scale=scale, progress=lambda model: display.stage(f"Comparing {model}"), **given)


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
    limits = [*comparison["limits"]["sentences"], ""]
    facts = [*comparison["opened"], *notes, comparison["protocol"]]
    lines = [table(models), *_index_lines(models), "", *limits[len(limits) == 1 :], *facts]
    return "\n".join(lines)


def _index_lines(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each model on the errors of its spectral indices; none without indices."""
    return [
        f"{model}: {listed_indices(scores['indices'])}" for model, scores in models.items() if scores.get("indices")
    ]


def table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return scores as aligned text, one line a model, the best value of each column marked."""
    width = max(map(len, models))
    columns = [c for c in COLUMNS if any(c[0] in scores for scores in models.values())]
    best = {name: _best(models, name, more) for name, _, _, more in columns}
    lines = [" " * width + "".join(f"{heading:>12} " for _, heading, _, _ in columns)]
    for model, scores in models.items():
        if "error" in scores:
            lines.append(f"{model:{width}}  {scores['error']}")
            continue
        cells = (
            f"{_cell(scores, name, digits):>12}{BEST if model in best[name] else ' '}" for name, _, digits, _ in columns
        )
        lines.append(f"{model:{width}}" + "".join(cells))
    return "\n".join([*(line.rstrip() for line in lines), *([LEGEND] if any(best.values()) else [])])


def _best(models: Mapping[str, Mapping[str, Any]], name: str, more: bool | None) -> set[str]:  # noqa: FBT001
    """Return the models with the best value of a column, of several."""
    values = {m: scores[name] for m, scores in models.items() if scores.get(name) is not None}
    if more is None or len(values) < 2:
        return set()
    extreme = max(values.values()) if more else min(values.values())
    return {m for m, value in values.items() if value == extreme}


def _cell(scores: Mapping[str, Any], name: str, digits: int) -> str:
    value = scores[name]
    if value is None:
        # JSON has no infinity, which is the PSNR of a product that equals its reference.
        return "inf" if name.startswith("psnr") and scores["rmse"] == 0 else "-"
    return _significant(value / UNITS.get(name, 1), digits)


def _significant(value: float, digits: int) -> str:
    """Return a number with so many significant digits, and no exponent unless it is below 1e-6."""
    if not value or not math.isfinite(value):
        return f"{value:.0f}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits - 1}e}" if abs(value) < SMALLEST_FIXED else f"{value:.{max(0, decimals)}f}"
