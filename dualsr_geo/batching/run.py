"""Sharpen the scenes of a batch, one after the other or several at once; a failure does not stop the others."""

from __future__ import annotations

import json
import os
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from dualsr_geo import resources
from dualsr_geo.batching.journal import JOURNAL_FILE, LOCK_FILE, OWNER_FILE, Journal
from dualsr_geo.batching.scene_record import SceneRecord, count_statuses
from dualsr_geo.batching.stac_output import write_catalog, write_collection, write_item
from dualsr_geo.batching.summary_table import summary_table
from dualsr_geo.batching.tasks import Batch, Task, failure, list_tasks, prepare, product_name
from dualsr_geo.engine.records.run_log import LogEvent, scene_log
from dualsr_geo.engine.records.run_summary import RunSummary
from dualsr_geo.engine.upscale import run_plan
from dualsr_geo.errors import OutputError, ResumeError
from dualsr_geo.io.storage.locations import exists
from dualsr_geo.io.storage.side_files import require_no_input, require_side_file
from dualsr_geo.io.storage.urls import relative_to
from dualsr_geo.serialization import plain_values, write_atomically
from dualsr_geo.threads import one_thread

# The order of scenes by the status that they have: those that were never tried come first.
STATUS_ORDER = ("planned", "done", "failed", "skipped")
SUMMARY_JSON, SUMMARY_CSV = "summary.json", "summary.csv"
COLLECTION, CATALOG = "items.json", "catalog.json"
# What a batch writes to its folder, apart from products and what describes one product.
FILES = (JOURNAL_FILE, LOCK_FILE, OWNER_FILE, SUMMARY_JSON, SUMMARY_CSV, COLLECTION)

OnRecord = Callable[[SceneRecord], None]
OnStart = Callable[[int, Mapping[str, SceneRecord]], None]


def run(
    sources: Sequence[str],
    batch: Batch,
    *,
    client: Any = None,  # distributed.Client is not typed
    on_record: OnRecord | None = None,
    on_start: OnStart | None = None,
) -> list[SceneRecord]:
    """Sharpen the scenes of a batch.

    Parameters
    ----------
    sources : sequence of str
        As for `list_entries`.
    batch : Batch
    client : distributed.Client, optional
        The cluster that runs the tiles of all scenes.
    on_record : callable, optional
        Called with the record of each scene that is finished or failed.
    on_start : callable, optional
        Called with the number of scenes that will be run, and the records of an earlier run by scene.

    Returns
    -------
    list of SceneRecord
        One for each scene, as in the summary.

    Raises
    ------
    DualSRError
        If the batch cannot start, or the journal cannot be written. The failure of a scene raises nothing.
    """
    tasks = list_tasks(sources, batch)
    try:
        batch.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {batch.folder} cannot be created: {error.strerror}. Give another --output."
        ) from error
    _require_no_input(sources, tasks, batch)
    journal = Journal(batch.folder)
    with journal.locked():
        previous = _previous_records(journal, batch)
        settings = {**batch.settings, "request": batch.request(sources)}
        journal.rewrite(settings, _initial_records(tasks, previous))
        ordered = _ordered(tasks, previous)
        if on_start is not None:
            on_start(len(ordered), previous)
        try:
            # Around all scenes: with one such block a scene, the first of two to end would lift the limit of the other.
            with one_thread(), threadpool_limits(1, user_api="blas"):
                for record in _run_tasks(ordered, previous, batch, journal, client):
                    if on_record is not None:
                        on_record(record)
        finally:
            _write_summary(journal, batch)
        _, records = journal.read()
    return [records[t.entry.key] for t in tasks]


def _require_no_input(sources: Sequence[str], tasks: Sequence[Task], batch: Batch) -> None:
    """Check that no file of the batch itself is one that it reads.

    Raises
    ------
    OutputError
        If one is.
    """
    inputs = {*sources, *batch.rule.tables, *(t.entry.path for t in tasks), *(g for t in tasks for g in t.guides)}
    for path in (batch.folder / name for name in FILES):
        if path.exists():
            require_no_input(path, "the file of the batch", inputs, folders=False)


def _previous_records(journal: Journal, batch: Batch) -> dict[str, SceneRecord]:
    """Return the records of an earlier run to continue.

    Raises
    ------
    OutputError
        If there is an earlier run, which is neither to be resumed nor to be replaced.
    ResumeError
        If it is to be resumed, and has other options.
    """
    previous, records = journal.read()
    options = batch.options
    if not (previous or records) or (options.overwrite and not options.resume):
        return {}
    if not options.resume:
        raise OutputError(
            f"{batch.folder} holds a batch of {len(records)} scenes, {count_statuses(records.values())['done']} of them "
            "done. Give --resume to continue it, --overwrite to replace it, or another --output."
        )
    if not previous and not options.overwrite:
        raise ResumeError(
            f"The options of the batch in {batch.folder} are damaged in its journal. Give --overwrite with --resume to "
            "keep the products of the options that you give, and to replace others."
        )
    old, new = (
        {"software": v.get("software"), **v.get("options", {})} for v in (previous, plain_values(batch.settings))
    )
    changes = [f"{k} was {old.get(k)}, is {v}" for k, v in new.items() if old.get(k) != v]
    if changes and not options.overwrite:
        raise ResumeError(
            f"{batch.folder} was made with other options: {'; '.join(changes)}. Leave them out to continue with those of "
            "the batch, or give --overwrite with --resume to replace the products that differ."
        )
    return records


def _initial_records(tasks: Sequence[Task], previous: Mapping[str, SceneRecord]) -> dict[str, SceneRecord]:
    """Return the first state of the journal; scenes that are no task of this run keep their records."""
    new = {t.entry.key: t.record for t in tasks}
    old = {k: replace(v, status="planned", interrupted=True) if v.may_kill else v for k, v in previous.items()}
    # A product that was done stays done until the run has checked it.
    unchanged = {("done", "planned"), ("planned", "planned")}
    return {**new, **{k: v for k, v in old.items() if k not in new or (v.status, new[k].status) in unchanged}}


def _ordered(tasks: Sequence[Task], previous: Mapping[str, SceneRecord]) -> list[Task]:
    """Return the tasks to run; scenes at which a process died come last, since they may have killed it."""

    def rank(task: Task) -> int:
        record = previous.get(task.entry.key, task.record)
        return len(STATUS_ORDER) if record.may_kill else STATUS_ORDER.index(record.status)

    return sorted((t for t in tasks if t.status == "planned"), key=rank)


def _run_tasks(
    tasks: Sequence[Task], previous: Mapping[str, SceneRecord], batch: Batch, journal: Journal, client: Any
) -> Iterator[SceneRecord]:
    """Run tasks, `batch.scenes_at_once` at a time; yield the record of each when it ends."""

    def run_one(task: Task) -> SceneRecord:
        journal.append(replace(task.record, status="running"))
        record = _run_task(task, previous.get(task.entry.key), batch, client)
        journal.append(record)
        return record

    if batch.scenes_at_once == 1:
        yield from map(run_one, tasks)
        return
    waiting = iter(tasks)
    with ThreadPoolExecutor(batch.scenes_at_once, thread_name_prefix="scene") as pool:
        running: set[Future[SceneRecord]] = set()
        try:
            while running := running | {
                pool.submit(run_one, t) for t in islice(waiting, batch.scenes_at_once - len(running))
            }:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


# ---- one scene ---------------------------------------------------------------------------


def _run_task(task: Task, previous: SceneRecord | None, batch: Batch, client: Any) -> SceneRecord:
    """Sharpen a scene; an error becomes the reason of its failure."""
    start = time.monotonic()
    if batch.scenes_at_once == 1:
        resources.reset_peak()
    try:
        with scene_log(task.entry.path, None) as log:
            summary, path = _sharpen(task, batch, client, log, start)
        record = _done_record(task, summary, path, previous, batch)
        if batch.stac:
            item = write_item(summary.output, record, task.entry.acquired, path=path.with_suffix(".json"))
            record = replace(record, item=_below(batch, item))
    except (Exception, CancelledError) as error:  # noqa: BLE001  # the failure of a scene does not stop the others
        record = failure(task, error)
    return record if record.seconds is not None else replace(record, seconds=round(time.monotonic() - start, 2))


def _sharpen(task: Task, batch: Batch, client: Any, log: LogEvent, start: float) -> tuple[RunSummary, Path]:
    """Sharpen a scene; return the summary, and the path in the output folder from which those of side files follow."""
    plan, spec = prepare(task, batch, client=client)
    options, path = plan.options, batch.folder / product_name(task, batch, plan.ratio)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = path.with_suffix(".html")
    # The page is written after the product is finished, so one that exists next to a finished product is complete.
    is_reported = options.resume and not options.overwrite and page.exists() and exists(spec.path, OutputError)
    report = page if batch.report and not is_reported else None
    if batch.stac:
        # An item of this name that an earlier run wrote is replaced; a file that the scene is read from is not.
        inputs = [task.entry.path, task.entry.key, *plan.input_files]
        require_side_file(
            path.with_suffix(".json"),
            "--stac",
            inputs=inputs,
            overwrite=options.overwrite,
            is_ours=lambda head: b'"stac_version"' in head,
        )
    try:
        return run_plan(plan, spec, log, start, client=client, report=report), path
    except ResumeError:
        if not options.overwrite:
            raise
        # The unfinished work has other options, and is replaced.
        from_start = replace(batch, options=replace(batch.options, resume=False))
        return run_plan(*prepare(task, from_start, client=client), log, start, client=client, report=report), path


def _done_record(
    task: Task, summary: RunSummary, path: Path, previous: SceneRecord | None, batch: Batch
) -> SceneRecord:
    """Return the record of a product; its cost is that of the run that wrote it."""
    cost = previous if summary.already_finished else summary
    page = path.with_suffix(".html")
    return replace(
        task.record,
        status="done",
        product=_below(batch, summary.output),
        rmse=summary.consistency.rmse,
        sam_deg=summary.consistency.sam_deg,
        scale=summary.scale,
        shape=summary.shape,
        bands=summary.bands,
        model=summary.model,
        notes=summary.notes,
        report=_below(batch, page) if page.exists() else None,
        seconds=None if cost is None else cost.seconds,
        peak_memory_bytes=None if cost is None else cost.peak_memory_bytes,
    )


def _below(batch: Batch, path: str | os.PathLike[str]) -> str:
    """Return a path from the output folder, which may be moved; a URL is kept."""
    return relative_to(path, batch.folder)


# ---- the summary -------------------------------------------------------------------------


def _write_summary(journal: Journal, batch: Batch) -> None:
    """Write summary.csv and summary.json, and with STAC the item collection, of all scenes of the journal."""
    settings, scenes = journal.read()
    records = list(scenes.values())
    summary = {**settings, "counts": count_statuses(records), "scenes": [r.to_json() for r in records]}
    try:
        write_atomically(batch.folder / SUMMARY_JSON, json.dumps(summary, indent=1))
        write_atomically(batch.folder / SUMMARY_CSV, summary_table(records))
        if batch.stac:
            items = [batch.folder / r.item for r in records if r.item is not None]
            write_collection(batch.folder / COLLECTION, items)
            write_catalog(batch.folder / CATALOG, items)
    except OSError as error:
        raise OutputError(
            f"The summary in {batch.folder} cannot be written: {error.strerror or error}. The finished products are kept: "
            "make it writable or make room, then give --resume."
        ) from error
