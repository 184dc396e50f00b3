"""`dualsr-geo batch`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dualsr_geo.cli import options, resume
from dualsr_geo.cli.batch_output import BatchProgress, cost, print_end, print_lines, print_status
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.progress import displayed
from dualsr_geo.cli.surface import INTERRUPTED, print_result
from dualsr_geo.cli.upscale import connected_client, read_psf, upscale
from dualsr_geo.errors import DualSRWarning

if TYPE_CHECKING:
    from dualsr_geo.batching.tasks import Batch

# Options of `upscale` that hold for each scene.
SCENE_OPTIONS = (
    "format", "bidx", "dtype", "nodata", "creation", "gsd", "sensor", "wavelengths", "trust_references", "scale", "model", "fine", "half_model", "published",
    "precision", "spectral", "orientations", "uncertainty", "coregister", "changes", "denoise", "psf", "mtf_gain", "tile", "jobs", "max_memory", "device",
)  # fmt: skip


@click.command(
    cls=Command, short_help="Sharpen many scenes.", params=[p for p in upscale.params if p.name in SCENE_OPTIONS]
)
@click.argument("src", nargs=-1)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
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
@click.option(
    "--asset",
    metavar="KEY[,KEY...]",
    help="Asset of a STAC item that is the scene, or assets of one band each, by keys, names and patterns.",
)
@click.option(
    "--resume", is_flag=True, help="Continue the batch in --output, with the sources and options that are not given."
)
@click.option(
    "--overwrite", is_flag=True, help="Replace the batch in --output; with --resume only products of other options."
)
@click.option("--report", is_flag=True, help="Also write an HTML page for each product.")
@click.option(
    "--stac", is_flag=True, help="Also write a STAC item for each product, and items.json and catalog.json of all."
)
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
@click.option(
    "--status", is_flag=True, help="Print the status of the scenes in --output, or in the folder SRC; do nothing else."
)
@options.log_json
@options.as_json
@options.quiet
@options.verbose
@click.pass_context
def batch(
    ctx: click.Context,
    /,
    *,
    src: tuple[str, ...],
    output: str | None,
    work_dir: str | None,
    dry_run: bool,
    status: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
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
        dualsr-geo batch -o out/ --resume
        dualsr-geo batch --status out/
        dualsr-geo batch items.json --rgb pan --asset ms -o out/ --stac
    """  # noqa: D301  # click looks for the character, which a raw string has not
    if status and output is None and len(src) == 1:
        output, src = src[0], ()
    if output is None:
        raise click.UsageError("The folder of the products is missing. Give -o DIR, or --status DIR.")
    folder, store = _places(output, work_dir)
    if status:
        print_status(folder, as_json=as_json, verbose=verbose)
        return
    if chosen["resume"]:
        src, chosen = _resumed(folder, src, chosen)
    if not src:
        raise click.UsageError("There is no SRC. Give scenes to sharpen, or --status for the state of a batch.")
    settings = _batch(folder, store, chosen, on_cluster=bool(scheduler or gpus))
    if dry_run:
        statuses = _print_plans(src, settings, as_json=as_json, verbose=verbose)
    else:
        from dualsr_geo.batching.run import FILES  # noqa: PLC0415
        from dualsr_geo.engine.records import run_log  # noqa: PLC0415  # as all imports of the library: `--help` is fast

        with run_log.json_log(log_json, inputs=src, outputs=[str(folder / name) for name in FILES]):
            statuses = _run(src, settings, scheduler, gpus, as_json=as_json, quiet=quiet, hidden=log_json == "-")
    if "failed" in statuses:
        ctx.exit(1)


def _resumed(folder: Path, src: tuple[str, ...], chosen: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return sources and options with those of the batch in a folder where the command line gives none."""
    from dualsr_geo.batching.journal import Journal  # noqa: PLC0415
    from dualsr_geo.engine.records.recorded_options import options_from_record, texts_from_record  # noqa: PLC0415

    journal = Journal(folder)
    with warnings.catch_warnings():
        # The run warns of damaged lines.
        warnings.simplefilter("ignore", DualSRWarning)
        settings, _ = journal.read()
    if not settings:
        return src, chosen
    place, request = str(journal.path), settings.get("request")
    options_of_batch = options_from_record(settings["options"], place)
    if isinstance(request, dict):
        for name in ("rgb", "sources"):
            if request.get(name) is not None:
                options_of_batch[name] = texts_from_record(request[name], place)
        for name, kinds in (("match", str), ("asset", str), ("alone", bool), ("report", bool), ("stac", bool)):
            if isinstance(request.get(name), kinds):
                options_of_batch[name] = request[name]
    sources = options_of_batch.pop("sources", ())
    taken = {k: v for k, v in resume.not_given(options_of_batch).items() if k in chosen}
    return src or sources, {**chosen, **taken}


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
    from dualsr_geo.batching.guide_matching import guide_rule  # noqa: PLC0415
    from dualsr_geo.batching.tasks import Batch  # noqa: PLC0415
    from dualsr_geo.engine.options import Options, require_valid  # noqa: PLC0415
    from dualsr_geo.models.definition import choose_fine  # noqa: PLC0415
    from dualsr_geo.models.registry import load_model  # noqa: PLC0415

    rule = guide_rule(chosen.pop("rgb"), match=chosen.pop("match"), allow_unguided=chosen.pop("alone"))
    scenes_at_once = chosen.pop("scenes_at_once") or (2 if on_cluster else 1)
    asset, report, stac = (chosen.pop(name) for name in ("asset", "report", "stac"))
    psf = chosen.pop("psf")
    scene_options = Options(psf=read_psf(psf) if isinstance(psf, str | None) else psf, **chosen)
    # What no scene could be sharpened with is refused before the first one.
    require_valid(scene_options)
    model = load_model(scene_options.model, published=scene_options.published, precision=scene_options.precision)
    choose_fine(model, scene_options.fine)
    return Batch(folder, rule, scene_options, asset, report, stac, scenes_at_once, store)


def _print_plans(src: Sequence[str], batch: Batch, *, as_json: bool, verbose: bool) -> set[str]:
    """Print the plan of each scene; return the statuses that occur."""
    from dualsr_geo.batching.tasks import plan_scenes  # noqa: PLC0415

    with displayed("Planning", hidden=as_json):
        plans = plan_scenes(src, batch)
    if as_json:
        print_result(json.dumps(plans, indent=2))
    else:
        print_lines(plans, verbose=verbose)
        print_result(cost(plans))
    return {plan["status"] for plan in plans}


def _run(
    src: Sequence[str],
    batch: Batch,
    scheduler: str | None,
    gpus: int | None,
    *,
    as_json: bool,
    quiet: bool,
    hidden: bool,
) -> set[str]:
    """Run a batch and print its records; return the statuses that occur."""
    from dualsr_geo.batching.run import run  # noqa: PLC0415
    from dualsr_geo.batching.scene_record import count_statuses  # noqa: PLC0415

    # Warnings do not name the scene; they are notes in the summary.
    warnings.simplefilter("ignore", DualSRWarning)
    # Those of the batch itself are in no summary.
    warnings.filterwarnings("always", "The (journal|STAC item) ", DualSRWarning)
    silent = as_json or quiet
    with displayed("Listing the scenes", hidden=silent or hidden) as display:
        progress = BatchProgress(display, silent=silent)
        click.get_current_context().meta[INTERRUPTED] = progress.interrupted
        with connected_client(scheduler, gpus, silent=quiet) as client:
            records = run(src, batch, client=client, on_record=progress.add, on_start=progress.start)
    if as_json:
        print_result(json.dumps({"counts": count_statuses(records), "scenes": [r.to_json() for r in records]}))
    else:
        print_end(records, batch.folder, progress, quiet=quiet)
    return {record.status for record in records}
