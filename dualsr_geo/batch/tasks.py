"""What is to be done with each scene of an archive; none is opened but to plan it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from dualsr_geo import resources
from dualsr_geo.batch.guide_matching import Rule, belongs, guides_of
from dualsr_geo.batch.inputs import entries
from dualsr_geo.batch.journal import one_line
from dualsr_geo.batch.scene_entry import SceneEntry
from dualsr_geo.engine import tile_size, upscale
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.errors import DualSRError, InputError
from dualsr_geo.io.storage.urls import for_display
from dualsr_geo.io.writers.output_records import is_same_output
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.version import __version__

# Options that decide how a product is made, not what it is.
HOW = ("overwrite", "resume", "jobs", "max_memory", "device", "work_dir")
# Processor seconds a scene takes besides its pixels; docs/archives.md.
SETUP_SECONDS = 0.5

SceneRecord = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """What is asked of an archive.

    Attributes
    ----------
    folder : Path
        Where ledger, summary, pages and items go, and the products unless `store` is given.
    store : str or None
        The URL below which the products go.
    rule : Rule
        How guides are found.
    options : Options
        Of every scene.
    asset : str or None
        Which asset of a STAC item is the scene.
    report, stac : bool
        Whether each product gets a page to look at, and a STAC item.
    at_once : int
        Scenes at once.
    """

    folder: Path
    rule: Rule = field(default_factory=Rule)
    options: Options = field(default_factory=Options)
    asset: str | None = None
    report: bool = False
    stac: bool = False
    at_once: int = 1
    store: str | None = None

    def product(self, name: str) -> str:
        """Return where a product goes, a path or a URL, given its path below the output."""
        return str(self.folder / name) if self.store is None else f"{self.store.rstrip('/')}/{name}"

    @property
    def asked(self) -> SceneRecord:
        """What decides the products, as the ledger keeps it."""
        options = {k: v for k, v in asdict(self.options).items() if k not in HOW}
        return {"software": f"dualsr-geo {__version__}", "options": options}

    @property
    def each(self) -> Options:
        """The options of a scene: what the machine has is shared by those at once."""
        jobs, limit = self.options.jobs, self.options.max_memory
        options = self.options if self.store is None else replace(self.options, work_dir=str(self.folder))
        if self.at_once == 1:
            return options
        return replace(
            options,
            jobs=max(1, (jobs or resources.cores()) // self.at_once),
            max_memory=(limit or int(psutil.virtual_memory().total * tile_size.DEFAULT_MEMORY_SHARE)) // self.at_once,
        )


@dataclass(frozen=True)
class Task:
    """A scene with its guides and the place of its product; or why there is nothing to do."""

    entry: SceneEntry
    guides: tuple[str, ...] = ()
    status: str = "planned"
    reason: str = ""

    @property
    def record(self) -> SceneRecord:
        """Its line in the ledger."""
        said = {"reason": one_line(for_display(self.reason))} if self.reason else {}
        return {"scene": self.entry.key, "status": self.status, **said}


# ---- what there is to do -----------------------------------------------------------------


def tasks(sources: Sequence[str], batch: Batch) -> list[Task]:
    """List the scenes of an archive with their guides; open none.

    Raises
    ------
    DualSRError
        If the sources hold nothing, or cannot be read.
    """
    listed = entries(sources, asset=batch.asset, guides=batch.rule.patterns, avoid=batch.store or str(batch.folder))
    matched = [_matched(e, batch.rule) for e in listed if belongs(e, batch.rule)]
    if not matched:
        raise InputError(
            f"None of {len(listed)} scenes matches --match {batch.rule.match and batch.rule.match.pattern}."
        )
    lending = {os.path.realpath(g): t.entry.key for t in matched for g in t.guides}
    owners: dict[tuple[str, str], str] = {}
    return [_distinct(_no_guide(t, lending), owners) for t in matched]


def _matched(entry: SceneEntry, rule: Rule) -> Task:
    try:
        guides = guides_of(entry, rule)
    except (InputError, OSError) as error:
        return Task(entry, status="failed", reason=entry.wrong or str(error))
    # Also what cannot be a scene has a guide, which is none either.
    return Task(entry, guides, "failed" if entry.wrong else "planned", entry.wrong)


def _no_guide(task: Task, lending: Mapping[str, str]) -> Task:
    """Skip what was found beside the scenes, but is the guide of one."""
    lent = lending.get(os.path.realpath(task.entry.path)) if task.entry.found else None
    return task if lent is None else Task(task.entry, status="skipped", reason=f"The guide of {lent}.")


def _distinct(task: Task, owners: dict[tuple[str, str], str]) -> Task:
    """Refuse a second scene whose product would be that of a first."""
    if task.status != "planned":
        return task
    entry = task.entry
    first = owners.setdefault((entry.folder, entry.stem), entry.key)
    if first == entry.key:
        return task
    reason = f"Its product would be that of {first}. Give the folder around both, or two --output folders."
    return Task(entry, status="failed", reason=reason)


def plans(sources: Sequence[str], batch: Batch) -> list[SceneRecord]:
    """Return what a run would do with each scene, and what it would cost; write nothing.

    Returns
    -------
    list of dict
        Those of `pipeline.dry_run`, with scene, status and reason.
    """
    return [_planned(task, batch) for task in tasks(sources, batch)]


def _planned(task: Task, batch: Batch) -> SceneRecord:
    if task.status != "planned":
        return task.record
    try:
        job, layout = prepare(task, batch)
        if job.options.resume and is_same_output(layout, job.identity):
            return {**task.record, "status": "done", "output": layout.path}
        # Its folder is made when the scene is sharpened; until then nothing can be in the way.
        if (Path(layout.path).parent if batch.store is None else batch.folder).is_dir():
            upscale.require_output(job, layout)
        found = upscale.plan_json(job, layout)
    except Exception as error:  # noqa: BLE001  # whatever a scene raises, the others are planned
        return failed(task, error)
    return {**task.record, **found, "estimated_seconds": seconds(job)}


def prepare(task: Task, batch: Batch, *, client: Any = None) -> tuple[RunPlan, OutputSpec]:
    """Open the scene and its guides and plan the run; the ratio of the plan is part of the product's name.

    Parameters
    ----------
    task : Task
    batch : Batch
    client : distributed.Client, optional
        The cluster that will run the tiles.

    Raises
    ------
    DualSRError
        If the scene cannot be sharpened.
    """
    return upscale.prepare(
        task.entry.path,
        lambda ratio: batch.product(name_of(task, batch, ratio)),
        rgb=task.guides,
        options=batch.each,
        client=client,
    )


def seconds(job: RunPlan) -> float:
    """Estimate the time of a scene from that of its model, measured on one machine."""
    each = job.model.seconds_per_million
    height, width = job.target.shape
    values = int(height) * int(width) * job.scene.count / 1e6
    at_work = min(job.sizes.jobs, len(job.tiling))
    return round(SETUP_SECONDS + each[0 if job.guide is not None else 1] * values / at_work, 1)


def name_of(task: Task, batch: Batch, ratio: int) -> str:
    """Return the path of a product below the output folder."""
    suffix = ".zarr" if (batch.options.format or "").lower() == "zarr" else ".tif"
    return str(Path(task.entry.folder, f"{task.entry.stem}_x{ratio}{suffix}"))


def failed(task: Task, error: BaseException) -> SceneRecord:
    """Return the record of a failure; of one that nobody foresaw also how it came to be."""
    if isinstance(error, DualSRError):
        return {**task.record, "status": "failed", "reason": one_line(for_display(str(error)))}
    reason = one_line(for_display(f"{type(error).__name__}: {error}"))
    return {
        **task.record,
        "status": "failed",
        "reason": reason,
        "traceback": [for_display(line) for line in traceback.format_exception(error)],
    }
