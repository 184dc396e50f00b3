"""Many scenes, one after the other or several at once: what fails is named, and the rest goes on."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from dualsr_geo import resources
from dualsr_geo.batch.journal import STATUSES, Journal, one_line
from dualsr_geo.batch.stac_output import write_collection, write_item
from dualsr_geo.batch.tasks import Batch, SceneRecord, Task, failed, name_of, prepare, tasks
from dualsr_geo.engine.run_log import LogEvent, scene_log
from dualsr_geo.engine.upscale import run_plan
from dualsr_geo.errors import OutputError, ResumeError
from dualsr_geo.io.storage.locations import exists
from dualsr_geo.io.storage.urls import relative_to
from dualsr_geo.serialization import plain_values, write_atomically
from dualsr_geo.threads import one_thread

# How scenes are taken: new ones first; those that a dead process was at come after all of them.
ORDER = ("planned", "done", "failed", "skipped")
COLUMNS = ("scene", "product", "status", "reason", "seconds", "rmse", "sam_deg", "peak_memory_bytes", "notes")

Announce = Callable[[SceneRecord], None]


def run(sources: Sequence[str], batch: Batch, *, client: Any = None, told: Announce | None = None) -> list[SceneRecord]:
    """Sharpen the scenes of an archive.

    Parameters
    ----------
    sources : sequence of str
        As `entries` takes them.
    batch : Batch
    client : distributed.Client, optional
        Runs the tiles of all scenes.
    told : callable, optional
        Called with the record of each scene that is finished or failed.

    Returns
    -------
    list of dict
        What became of each scene, as the summary has it.

    Raises
    ------
    DualSRError
        If nothing can be begun, or the ledger cannot be written. A scene that fails raises nothing.
    """
    listed = tasks(sources, batch)
    batch.folder.mkdir(parents=True, exist_ok=True)
    ledger = Journal(batch.folder)
    with ledger.held():
        before = _before(ledger, batch)
        ledger.begin(batch.asked, _outset(listed, before))
        try:
            # Around all of them: the first of two scenes to leave such a block would end it for the other.
            with one_thread(), threadpool_limits(1, user_api="blas"):
                for record in _records(_in_order(listed, before), before, batch, ledger, client):
                    if told is not None:
                        told(record)
        finally:
            _sum_up(ledger, batch)
        _, scenes = ledger.read()
    return [scenes[t.entry.key] for t in listed]


def _before(ledger: Journal, batch: Batch) -> dict[str, SceneRecord]:
    """Return what an earlier run left of each scene; refuse to mix runs that were asked for other things.

    Raises
    ------
    OutputError
        If there was one, and it is neither to go on nor to be replaced.
    ResumeError
        If it is to go on, but was asked for other products.
    """
    asked, scenes = ledger.read()
    o = batch.options
    if not asked or (o.overwrite and not o.resume):
        return {}
    if not o.resume:
        done = Counter(s["status"] for s in scenes.values())["done"]
        raise OutputError(
            f"{batch.folder} holds a batch of {len(scenes)} scenes, {done} of them done. Give --resume to go on "
            "with it, --overwrite to begin anew, or another --output."
        )
    now = plain_values(batch.asked)
    old, new = ({"software": v["software"], **v["options"]} for v in (asked, now))
    changed = [f"{k} was {old.get(k)}, is {v}" for k, v in new.items() if old.get(k) != v]
    if changed and not o.overwrite:
        raise ResumeError(
            f"The batch in {batch.folder} was another one: {'; '.join(changed)}. Give what it had, or --overwrite "
            "beside --resume to replace what was made otherwise."
        )
    return scenes


def _outset(listed: Sequence[Task], before: Mapping[str, SceneRecord]) -> dict[str, SceneRecord]:
    """Return the first state of the ledger: of scenes that are not listed now, what they had."""
    now = {t.entry.key: t.record for t in listed}
    left = {k: {**v, "status": "planned", "interrupted": True} if _interrupted(v) else v for k, v in before.items()}
    # A product that is there stays done until it has been looked at.
    stays = {("done", "planned"), ("planned", "planned")}
    return {**now, **{k: v for k, v in left.items() if k not in now or (v["status"], now[k]["status"]) in stays}}


def _interrupted(record: SceneRecord) -> bool:
    """Say whether a process died at a scene, and nothing has become of it since."""
    return record["status"] == "running" or "interrupted" in record


def _in_order(listed: Sequence[Task], before: Mapping[str, SceneRecord]) -> list[Task]:
    """Take those last that a process died at: they may be what killed it."""

    def rank(task: Task) -> int:
        known = before.get(task.entry.key, task.record)
        return len(ORDER) if _interrupted(known) else ORDER.index(known["status"])

    return sorted((t for t in listed if t.status == "planned"), key=rank)


def _records(
    todo: Sequence[Task], before: Mapping[str, SceneRecord], batch: Batch, ledger: Journal, client: Any
) -> Iterator[SceneRecord]:
    """Sharpen scenes, some at once; yield what became of each as it ends."""

    def one(task: Task) -> SceneRecord:
        ledger.put({**task.record, "status": "running"})
        record = _sharpened(task, before.get(task.entry.key, {}), batch, client)
        ledger.put(record)
        return record

    if batch.at_once == 1:
        yield from map(one, todo)
        return
    waiting = iter(todo)
    with ThreadPoolExecutor(batch.at_once, thread_name_prefix="scene") as pool:
        running: set[Future[SceneRecord]] = set()
        try:
            while running := running | {pool.submit(one, t) for t in islice(waiting, batch.at_once - len(running))}:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


# ---- one scene ---------------------------------------------------------------------------


def _sharpened(task: Task, before: SceneRecord, batch: Batch, client: Any) -> SceneRecord:
    """Sharpen a scene; whatever goes wrong becomes the reason of its failure."""
    began = time.monotonic()
    if batch.at_once == 1:
        resources.reset_peak()
    try:
        with scene_log(task.entry.path, None) as log:
            found, place = _upscaled(task, batch, client, log, began)
        record = {**task.record, "status": "done", **_facts(found, place, before, batch)}
        if batch.stac:
            item = write_item(found["output"], record, task.entry.taken, place=place.with_suffix(".json"))
            record["item"] = _below(batch, item)
    except (Exception, CancelledError) as error:  # noqa: BLE001  # one scene's failure never stops the rest
        record = failed(task, error)
    return {"seconds": round(time.monotonic() - began, 2), **record}


def _upscaled(task: Task, batch: Batch, client: Any, log: LogEvent, began: float) -> tuple[SceneRecord, Path]:
    """Sharpen a scene; return its result, and the path that the suffixes of its side files replace."""
    plan, spec = prepare(task, batch, client=client)
    options, place = plan.options, batch.folder / name_of(task, batch, plan.ratio)
    place.parent.mkdir(parents=True, exist_ok=True)
    page = place.with_suffix(".html")
    # A finished product's page is written after it.
    seen = options.resume and not options.overwrite and page.exists() and exists(spec.path, OutputError)
    report = page if batch.report and not seen else None
    try:
        return run_plan(plan, spec, log, began, client=client, report=report), place
    except ResumeError:
        if not options.overwrite:
            raise
        # What is unfinished was begun otherwise, and is to be replaced.
        anew = replace(batch, options=replace(batch.options, resume=False))
        return run_plan(*prepare(task, anew, client=client), log, began, client=client, report=report), place


def _facts(found: SceneRecord, place: Path, before: SceneRecord, batch: Batch) -> SceneRecord:
    """Return what the summary tells of a product; what it cost from the run that made it."""
    made = before if found.get("already_finished") else found
    fit = found["consistency"]
    facts: SceneRecord = {"product": _below(batch, found["output"]), "rmse": fit["rmse"], "sam_deg": fit["sam_deg"]}
    facts |= {k: found[k] for k in ("scale", "shape", "bands", "model", "notes") if k in found}
    page = place.with_suffix(".html")
    facts |= {"report": _below(batch, page)} if page.exists() else {}
    return facts | {k: made[k] for k in ("seconds", "peak_memory_bytes") if k in made}


def _below(batch: Batch, path: str | os.PathLike[str]) -> str:
    """Return a path from the output folder, which may be moved; a URL as it is."""
    return relative_to(path, batch.folder)


# ---- the summary -------------------------------------------------------------------------


def counts(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many scenes have each status."""
    found = Counter(r["status"] for r in records)
    return {s: found[s] for s in STATUSES}


def _sum_up(ledger: Journal, batch: Batch) -> None:
    """Write summary.csv and summary.json, and with STAC the item collection, of all in the ledger."""
    asked, scenes = ledger.read()
    records = list(scenes.values())
    said = {**asked, "counts": counts(records), "scenes": records}
    write_atomically(batch.folder / "summary.json", json.dumps(said, indent=1))
    write_atomically(batch.folder / "summary.csv", _table(records))
    if batch.stac:
        write_collection(batch.folder / "items.json", [batch.folder / r["item"] for r in records if "item" in r])


def _table(records: Iterable[SceneRecord]) -> str:
    """Return the summary as CSV, a line a scene."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for record in records:
        cells = {**record, "notes": " ".join(record.get("notes", ()))}
        table.writerow([one_line(cells.get(name, "")) for name in COLUMNS])
    return text.getvalue()
