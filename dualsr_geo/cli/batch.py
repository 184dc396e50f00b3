"""`dualsr-geo batch`."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.surface import print_progress, print_result
from dualsr_geo.cli.upscale import connected_client, read_psf, upscale
from dualsr_geo.errors import DualSRWarning

if TYPE_CHECKING:
    from dualsr_geo.batch.scene_record import SceneRecord
    from dualsr_geo.batch.tasks import Batch

# Options of `upscale` that hold for each scene.
SCENE_OPTIONS = (
    "format", "bidx", "dtype", "nodata", "creation", "gsd", "sensor", "wavelengths", "trust_references", "scale", "model", "fine", "half_model", "published",
    "precision", "spectral", "orientations", "uncertainty", "coregister", "changes", "denoise", "psf", "mtf_gain", "tile", "jobs", "max_memory", "device",
)  # fmt: skip
# Failed scenes that are printed; all of them are in the summary.
MAX_PRINTED = 20


@click.command(
    cls=Command, short_help="Sharpen many scenes.", params=[p for p in upscale.params if p.name in SCENE_OPTIONS]
)
@click.argument("src", nargs=-1)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    help="Folder of the products and the journal; or s3://, gs://, az:// for the products, with --work-dir.",
)
@click.option(
    "--rgb", "--pan", "--guide", "rgb", multiple=True, metavar="PATTERN",
    help="The guide of a scene: a path with {stem}, {name}, {parent} or a group of --match, relative to the scene's "
    "folder; the key of a STAC asset; or a .csv with the columns scene and guide. Repeatable.",
)  # fmt: skip
@click.option(
    "--match",
    metavar="REGEX",
    help="Select the scenes of folders and globs whose path matches; its named groups can be used in --rgb.",
)
@click.option("--alone", is_flag=True, help="Sharpen a scene without a guide if its guide is missing.")
@click.option("--asset", metavar="KEY", help="Key of the asset of a STAC item that is the scene.")
@click.option("--resume", is_flag=True, help="Continue the batch in --output.")
@click.option(
    "--overwrite", is_flag=True, help="Replace the batch in --output; with --resume only products of other options."
)
@click.option("--report", is_flag=True, help="Also write an HTML page for each product.")
@click.option("--stac", is_flag=True, help="Also write a STAC item for each product, and items.json of all.")
@click.option(
    "--scenes-at-once", type=click.IntRange(1), help="Scenes that run at the same time.  [default: 1; on a cluster 2]"
)
@options.scheduler
@options.gpus
@click.option(
    "--work-dir",
    type=click.Path(file_okay=False),
    help="If --output is in a store: folder of the journal, the summary, pages, items and temporary TIFFs.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan of each scene, with estimates; write nothing.")
@click.option("--status", is_flag=True, help="Print the status of the scenes in --output; do nothing else.")
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
    """Sharpen the scenes of SRC into a folder; the failure of a scene does not stop the others.

    SRC are rasters, products as delivered, folders and globs of these, .txt lists, and STAC items,
    item collections or catalogs (.json). The exit status is 1 if a scene failed.

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
        raise click.UsageError("There is no SRC. Give scenes to sharpen, or --status for the state of a batch.")
    settings = _batch(folder, store, chosen, on_cluster=bool(scheduler or gpus))
    if dry_run:
        statuses = _print_plans(src, settings, as_json=as_json)
    else:
        from dualsr_geo.batch.run import FILES  # noqa: PLC0415
        from dualsr_geo.engine.records import run_log  # noqa: PLC0415  # as all imports of the library: `--help` is fast

        with run_log.json_log(log_json, inputs=src, outputs=[str(folder / name) for name in FILES]):
            statuses = _run(src, settings, scheduler, gpus, as_json=as_json, quiet=quiet)
    if "failed" in statuses:
        ctx.exit(1)


def _places(output: str, work_dir: str | None) -> tuple[Path, str | None]:
    """Return the folder of the journal, and the URL of the products if they are written to a store."""
    from dualsr_geo.errors import OutputError  # noqa: PLC0415
    from dualsr_geo.io.storage.names import require_name  # noqa: PLC0415
    from dualsr_geo.io.storage.urls import is_url  # noqa: PLC0415

    for folder, option in ((output, "--output"), (work_dir, "--work-dir")):
        if folder is not None:
            require_name(folder, f"folder of {option}", OutputError)
    if not is_url(output):
        if work_dir is not None:
            raise click.UsageError("--work-dir is for an --output in an object store. Leave it out.")
        if Path(output).exists() and not Path(output).is_dir():
            raise click.UsageError(f"--output {output} is a file. Give a folder.")
        return Path(output), None
    if work_dir is None:
        raise click.UsageError(
            f"--output {output} is in an object store. Give --work-dir too: a folder on disk for the journal, the "
            "summary and temporary TIFFs."
        )
    return Path(work_dir), output


def _batch(folder: Path, store: str | None, chosen: dict[str, Any], *, on_cluster: bool) -> Batch:
    from dualsr_geo.batch.guide_matching import guide_rule  # noqa: PLC0415
    from dualsr_geo.batch.tasks import Batch  # noqa: PLC0415
    from dualsr_geo.engine.options import Options, require_valid  # noqa: PLC0415
    from dualsr_geo.models.definition import choose_fine  # noqa: PLC0415
    from dualsr_geo.models.registry import load_model  # noqa: PLC0415

    rule = guide_rule(chosen.pop("rgb"), match=chosen.pop("match"), allow_unguided=chosen.pop("alone"))
    scenes_at_once = chosen.pop("scenes_at_once") or (2 if on_cluster else 1)
    asset, report, stac = (chosen.pop(name) for name in ("asset", "report", "stac"))
    scene_options = Options(psf=read_psf(chosen.pop("psf")), **chosen)
    # What no scene could be sharpened with is refused before the first one.
    require_valid(scene_options)
    model = load_model(scene_options.model, published=scene_options.published, precision=scene_options.precision)
    choose_fine(model, scene_options.fine)
    return Batch(folder, rule, scene_options, asset, report, stac, scenes_at_once, store)


def _print_plans(src: Sequence[str], batch: Batch, *, as_json: bool) -> set[str]:
    """Print the plan of each scene; return the statuses that occur."""
    from dualsr_geo.batch.tasks import plan_scenes  # noqa: PLC0415

    plans = plan_scenes(src, batch)
    if as_json:
        print_result(json.dumps(plans, indent=2))
    else:
        for plan in plans:
            print_result(_line(plan))
        print_result(_cost(plans))
    return {plan["status"] for plan in plans}


def _run(
    src: Sequence[str], batch: Batch, scheduler: str | None, gpus: int | None, *, as_json: bool, quiet: bool
) -> set[str]:
    """Run a batch and print its records; return the statuses that occur."""
    from dualsr_geo.batch.run import run  # noqa: PLC0415
    from dualsr_geo.batch.scene_record import count_statuses  # noqa: PLC0415

    # Warnings do not name the scene; they are notes in the summary.
    warnings.simplefilter("ignore", DualSRWarning)
    # Those of the batch itself are in no summary.
    warnings.filterwarnings("always", "The (journal|STAC item) ", DualSRWarning)
    with (
        connected_client(scheduler, gpus, silent=quiet) as client,
        _record_printer(silent=as_json or quiet) as on_record,
    ):
        records = run(src, batch, client=client, on_record=on_record)
    if as_json:
        print_result(json.dumps({"counts": count_statuses(records), "scenes": [r.to_json() for r in records]}))
    else:
        _print_end(records, batch.folder, quiet=quiet)
    return {record.status for record in records}


@contextmanager
def _record_printer(*, silent: bool) -> Iterator[Callable[[SceneRecord], None] | None]:
    """Yield a function that prints a record, on a terminal above a progress bar."""
    if silent or not sys.stderr.isatty():
        yield None if silent else lambda record: print_progress(_line(record.to_json()), err=False)
        return
    from tqdm import tqdm  # noqa: PLC0415

    with tqdm(unit="scene", leave=False) as bar:

        def print_record(record: SceneRecord) -> None:
            with tqdm.external_write_mode():
                print_progress(_line(record.to_json()), err=False)
            bar.update()

        yield print_record


def _line(record: Mapping[str, Any]) -> str:
    """Return the line of a scene, from its record or plan as JSON."""
    from dualsr_geo.batch.journal import one_line  # noqa: PLC0415

    product = record.get("product") or record.get("output")
    target = f" -> {one_line(product)}" if product and record["status"] != "failed" else ""
    time = f" ({record['seconds']:.1f} s)" if "seconds" in record else ""
    reason = f": {record['reason']}" if record.get("reason") else ""
    return f"{record['status']:8}{one_line(record['scene'])}{target}{time}{reason}"


def _cost(plans: Sequence[Mapping[str, Any]]) -> str:
    planned = [p for p in plans if p["status"] == "planned"]
    seconds = sum(p["estimated_seconds"] for p in planned)
    time = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    memory = max((p["estimated_memory_bytes"] for p in planned), default=0)
    disk = max((p["largest_disk_bytes"] for p in planned), default=0)
    size = sum(p["raw_bytes"] for p in planned)
    return (
        f"{len(planned)} of {len(plans)} scenes: about {time}, {memory / 2**20:.0f} MiB of memory, "
        f"{size / 2**20:.1f} MiB of products before compression, and at most {disk / 2**20:.1f} MiB of disk space while "
        "a scene is sharpened. These are estimates; nothing was written."
    )


def _counts(records: Sequence[SceneRecord]) -> str:
    from dualsr_geo.batch.scene_record import count_statuses  # noqa: PLC0415

    return ", ".join(f"{n} {status}" for status, n in count_statuses(records).items() if n)


def _print_end(records: Sequence[SceneRecord], folder: Path, *, quiet: bool) -> None:
    """Print the number of scenes of each status, and last the scenes that failed."""
    summary = folder / "summary.csv"
    failed = [r for r in records if r.status == "failed"]
    if not quiet:
        print_result(f"{_counts(records)}. The summary is {summary}.")
    for record in failed[:MAX_PRINTED]:
        print_progress(_line(record.to_json()))
    if len(failed) > MAX_PRINTED:
        print_progress(f"{len(failed) - MAX_PRINTED} more scenes failed; see {summary}.")


def _print_status(folder: Path, *, as_json: bool) -> None:
    from dualsr_geo.batch.journal import Journal  # noqa: PLC0415
    from dualsr_geo.batch.scene_record import count_statuses  # noqa: PLC0415
    from dualsr_geo.errors import InputError  # noqa: PLC0415

    journal = Journal(folder)
    settings, scenes = journal.read()
    if not (settings or scenes):
        raise InputError(f"{folder} holds no batch: it has no {journal.path.name}. Give the --output of a batch.")
    owner, records = journal.owner(), list(scenes.values())
    if as_json:
        values = {
            **settings,
            "owner": owner,
            "counts": count_statuses(records),
            "scenes": [r.to_json() for r in records],
        }
        print_result(json.dumps(values))
        return
    for record in records:
        print_result(_line(record.to_json()))
    state = "No process is running; continue with --resume."
    if owner is not None:
        state = f"Process {owner['pid']} on {owner['host']} is running since {owner['since']}."
    print_result(f"{_counts(records)}. {state}")
