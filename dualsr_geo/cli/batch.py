"""`dualsr-geo batch`."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.upscale import client_of, psf_of, upscale
from dualsr_geo.errors import DualSRWarning

# Options that mean for each scene what they mean for one.
SAME = (
    "format", "bidx", "dtype", "nodata", "creation", "gsd", "sensor", "scale", "model", "fine", "half_model", "published",
    "precision", "spectral", "uncertainty", "coregister", "changes", "psf", "mtf_gain", "tile", "jobs", "max_memory", "device",
)  # fmt: skip
# More of them are in the summary.
MOST_NAMED = 20


@click.command(short_help="Sharpen an archive.", params=[p for p in upscale.params if p.name in SAME])
@click.argument("src", nargs=-1)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    help="Folder of products and ledger, or s3://, gs://, az:// for the products.",
)
@click.option(
    "--rgb", "--pan", "--guide", "rgb", multiple=True, metavar="PATTERN",
    help="The guide of a scene: a path with {stem}, {name}, {parent} or a group of --match, from the scene's folder; "
    "the key of a STAC asset; or a .csv with the columns scene and guide. Repeatable.",
)  # fmt: skip
@click.option("--match", metavar="REGEX", help="What the paths of scenes match; named groups may stand in --rgb.")
@click.option("--alone", is_flag=True, help="Sharpen scenes whose guide is not found without it.")
@click.option("--asset", metavar="KEY", help="Which asset of a STAC item is the scene.")
@click.option("--resume", is_flag=True, help="Go on with the batch that is in --output.")
@click.option("--overwrite", is_flag=True, help="Begin anew; with --resume replace only what was made otherwise.")
@click.option("--report", is_flag=True, help="Also write a page to look at for each product.")
@click.option("--stac", is_flag=True, help="Also write a STAC item for each product, and items.json of all.")
@click.option("--scenes-at-once", type=click.IntRange(1), help="1 by default, on a cluster 2.")
@options.scheduler
@options.gpus
@click.option(
    "--work-dir",
    type=click.Path(file_okay=False),
    help="With products in a store: folder of ledger, summary, pages, items, and of a TIFF while it is made.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and estimates; write nothing.")
@click.option("--status", is_flag=True, help="Print what has become of the scenes in --output; do nothing.")
@options.log_json
@options.as_json
@options.quiet
@click.pass_context
def batch(
    ctx: click.Context,
    /,
    *,
    src: tuple[str, ...],
    output: str,
    work_dir: str | None,
    dry_run: bool,
    status: bool,
    as_json: bool,
    quiet: bool,
    scheduler: str | None,
    gpus: int | None,
    log_json: str | None,
    **chosen: Any,  # as click parsed them
) -> None:
    """Sharpen the scenes of SRC into a folder; what fails is named, and the rest goes on.

    SRC are rasters, products as delivered, folders and globs of them, .txt lists, and STAC items,
    item collections or catalogs (.json). Exits with 1 if a scene failed.

    \b
        dualsr-geo batch archive/ --rgb '{stem}_pan.tif' -o out/
        dualsr-geo batch archive/ --rgb '{stem}_pan.tif' -o out/ --resume
        dualsr-geo batch items.json --rgb pan --asset ms -o out/ --stac
    """  # noqa: D301  # click looks for the character, which a raw string has not
    folder, store = _places(output, work_dir)
    if status:
        _print_status(folder, as_json=as_json)
        return
    if not src:
        raise click.UsageError("There is nothing to sharpen. Give SRC, or --status to see what a batch has done.")
    from dualsr_geo.engine import run_log  # noqa: PLC0415  # loads torch

    asked = _batch(folder, store, chosen, cluster=bool(scheduler or gpus))
    if dry_run:
        records = _planned(src, asked, as_json=as_json)
    else:
        with run_log.json_log(log_json):
            records = _run(src, asked, scheduler, gpus, as_json=as_json, quiet=quiet)
    if not dry_run and not as_json:
        _say_end(records, asked.folder, quiet=quiet)
    if any(r["status"] == "failed" for r in records):
        ctx.exit(1)


def _places(output: str, work_dir: str | None) -> tuple[Path, str | None]:
    """Return the folder of the ledger, and the URL of the products if they go to a store."""
    from dualsr_geo.io.storage.urls import is_url  # noqa: PLC0415  # what `--help` does not need

    if not is_url(output):
        if work_dir is not None:
            raise click.UsageError("--work-dir is for an --output in an object store; a folder holds its own work.")
        if Path(output).exists() and not Path(output).is_dir():
            raise click.UsageError(f"--output {output} is a file. Give a folder.")
        return Path(output), None
    if work_dir is None:
        raise click.UsageError(
            f"--output {output} is in an object store. Give --work-dir too: a folder on disk for ledger, summary "
            "and unfinished TIFFs."
        )
    return Path(work_dir), output


def _batch(
    folder: Path, store: str | None, chosen: dict[str, Any], *, cluster: bool
) -> Any:  # a Batch; importing it loads torch
    from dualsr_geo.batch.guide_matching import rule  # noqa: PLC0415
    from dualsr_geo.batch.tasks import Batch  # noqa: PLC0415
    from dualsr_geo.engine.options import Options  # noqa: PLC0415

    found = rule(chosen.pop("rgb"), match=chosen.pop("match"), alone=chosen.pop("alone"))
    at_once = chosen.pop("scenes_at_once") or (2 if cluster else 1)
    asset, report, stac = (chosen.pop(name) for name in ("asset", "report", "stac"))
    run = Options(psf=psf_of(chosen.pop("psf")), **chosen)
    return Batch(folder, found, run, asset, report, stac, at_once, store)


def _planned(src: Sequence[str], asked: Any, *, as_json: bool) -> list[dict[str, Any]]:
    from dualsr_geo.batch.tasks import plans  # noqa: PLC0415

    found = plans(src, asked)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for record in found:
            click.echo(_line(record))
        click.echo(_cost(found))
    return found


def _run(
    src: Sequence[str], asked: Any, scheduler: str | None, gpus: int | None, *, as_json: bool, quiet: bool
) -> list[dict[str, Any]]:
    from dualsr_geo.batch import run as archive  # noqa: PLC0415

    # They would not say of which scene they speak; they are notes in the summary.
    warnings.simplefilter("ignore", DualSRWarning)
    with client_of(scheduler, gpus, silent=quiet) as client, _told(silent=as_json or quiet) as told:
        found = archive.run(src, asked, client=client, told=told)
    if as_json:
        click.echo(json.dumps({"counts": archive.counts(found), "scenes": found}))
    return found


@contextmanager
def _told(*, silent: bool) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Print a line for each scene that ends, on a terminal above a bar."""
    if silent or not sys.stderr.isatty():
        yield None if silent else lambda record: click.echo(_line(record))
        return
    from tqdm import tqdm  # noqa: PLC0415

    with tqdm(unit="scene", leave=False) as bar:

        def told(record: dict[str, Any]) -> None:
            with tqdm.external_write_mode():
                click.echo(_line(record))
            bar.update()

        yield told


def _line(record: Mapping[str, Any]) -> str:
    """Return what became of a scene, a line."""
    from dualsr_geo.batch.journal import one_line  # noqa: PLC0415

    product = record.get("product") or record.get("output")
    where = f" -> {one_line(product)}" if product and record["status"] != "failed" else ""
    took = f" ({record['seconds']:.1f} s)" if "seconds" in record else ""
    why = f": {record['reason']}" if record.get("reason") else ""
    return f"{record['status']:8}{one_line(record['scene'])}{where}{took}{why}"


def _cost(records: Sequence[Mapping[str, Any]]) -> str:
    able = [r for r in records if r["status"] == "planned"]
    seconds = sum(r["estimated_seconds"] for r in able)
    span = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    raw = sum(r["raw_bytes"] for r in able)
    memory, disk = (
        max((r[name] for r in able), default=0) for name in ("estimated_memory_bytes", "largest_disk_bytes")
    )
    return (
        f"{len(able)} of {len(records)} scenes: about {span}, {memory / 2**20:.0f} MiB of memory, "
        f"{raw / 2**20:.1f} MiB of products before compression, up to {disk / 2**20:.1f} MiB of disk for one while it "
        "is made. Estimates; nothing was written."
    )


def _say_end(records: Sequence[Mapping[str, Any]], folder: Path, *, quiet: bool) -> None:
    """Say how many scenes have each status, and last name those that failed."""
    from dualsr_geo.batch.run import counts  # noqa: PLC0415

    failed = [r for r in records if r["status"] == "failed"]
    if not quiet:
        said = ", ".join(f"{n} {status}" for status, n in counts(records).items() if n)
        click.echo(f"{said}; all in {folder / 'summary.csv'}")
    for record in failed[:MOST_NAMED]:
        click.echo(_line(record), err=True)
    if len(failed) > MOST_NAMED:
        click.echo(f"... and {len(failed) - MOST_NAMED} more that failed, in {folder / 'summary.csv'}", err=True)


def _print_status(folder: Path, *, as_json: bool) -> None:
    from dualsr_geo.batch.journal import Journal  # noqa: PLC0415
    from dualsr_geo.batch.run import counts  # noqa: PLC0415
    from dualsr_geo.errors import InputError  # noqa: PLC0415

    ledger = Journal(folder)
    asked, scenes = ledger.read()
    if not asked:
        raise InputError(f"{folder} holds no batch: there is no batch.jsonl in it. Give the --output of one.")
    owner = ledger.owner()
    if as_json:
        said = {**asked, "owner": owner, "counts": counts(scenes.values()), "scenes": list(scenes.values())}
        click.echo(json.dumps(said))
        return
    for record in scenes.values():
        click.echo(_line(record))
    at_work = "no process is at work; go on with --resume"
    if owner is not None:
        at_work = f"process {owner['pid']} on {owner['host']} is at work since {owner['since']}"
    click.echo(", ".join(f"{n} {status}" for status, n in counts(scenes.values()).items() if n) + f"; {at_work}")
