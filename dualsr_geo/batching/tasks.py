"""Decide the task of each scene of a batch, and plan it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from dualsr_geo import resources
from dualsr_geo.batching.guide_matching import GuideRule, guides_of, matches_rule
from dualsr_geo.batching.inputs import list_entries
from dualsr_geo.batching.journal import one_line
from dualsr_geo.batching.scene_entry import SceneEntry, is_remote
from dualsr_geo.batching.scene_record import SceneRecord, Status
from dualsr_geo.engine import preparation, tile_size
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.pixel_sizes import coarse_gsds
from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.records.recorded_options import options_to_record, recordable
from dualsr_geo.errors import DualSRError, InputError
from dualsr_geo.io.storage.urls import for_display
from dualsr_geo.io.writers.output_records import is_same_output
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.version import __version__

# Processor seconds of a scene apart from its pixels; docs/archives.md.
SETUP_SECONDS = 0.5


@dataclass(frozen=True)
class Batch:
    """The options of a batch.

    Attributes
    ----------
    folder : Path
        The folder of the journal, the summary, the pages and the items, and of the products unless `store` is set.
    rule : GuideRule
        How guides are found.
    options : Options
        Of each scene.
    asset : str or None
        The key of the asset of a STAC item that is the scene, or patterns of assets of one band each.
    report, stac : bool
        Whether each product gets an HTML page and a STAC item.
    scenes_at_once : int
        Scenes that run at the same time.
    store : str or None
        The URL below which the products are written.
    """

    folder: Path
    rule: GuideRule = field(default_factory=GuideRule)
    options: Options = field(default_factory=Options)
    asset: str | None = None
    report: bool = False
    stac: bool = False
    scenes_at_once: int = 1
    store: str | None = None

    def product(self, name: str) -> str:
        """Return the path or URL of a product from its path below the output."""
        return str(self.folder / name) if self.store is None else f"{self.store.rstrip('/')}/{name}"

    @property
    def settings(self) -> dict[str, Any]:
        """What the products depend on, as the journal keeps it."""
        return {"software": f"dualsr-geo {__version__}", "options": options_to_record(self.options)}

    def request(self, sources: Sequence[str]) -> dict[str, Any]:
        """Return sources and rules as given, JSON, for a batch that resumes this one; URLs, which may hold secrets, are None."""
        match = self.rule.match
        return {
            "sources": recordable([s if is_remote(s) else os.path.abspath(s) for s in sources]),
            "rgb": recordable([*self.rule.patterns, *map(os.path.abspath, self.rule.tables)]),
            "match": None if match is None else match.pattern,
            "alone": self.rule.allow_unguided,
            "asset": self.asset,
            "report": self.report,
            "stac": self.stac,
        }

    @property
    def scene_options(self) -> Options:
        """The options of one scene: scenes that run at the same time share cores and memory."""
        jobs, limit = self.options.jobs, self.options.max_memory
        options = self.options if self.store is None else replace(self.options, work_dir=str(self.folder))
        if self.scenes_at_once == 1:
            return options
        return replace(
            options,
            jobs=max(1, (jobs or resources.cores()) // self.scenes_at_once),
            max_memory=(limit or int(psutil.virtual_memory().total * tile_size.DEFAULT_MEMORY_SHARE))
            // self.scenes_at_once,
        )


@dataclass(frozen=True)
class Task:
    """A scene with its guides, or the reason why it is not sharpened.

    Attributes
    ----------
    entry : SceneEntry
    guides : tuple of str
        Paths or URLs.
    status : str
        ``"planned"``, ``"failed"`` or ``"skipped"``.
    reason : str
        Of a task that is not planned.
    """

    entry: SceneEntry
    guides: tuple[str, ...] = ()
    status: Status = "planned"
    reason: str = ""

    @property
    def record(self) -> SceneRecord:
        """Its line in the journal."""
        return SceneRecord(self.entry.key, self.status, one_line(for_display(self.reason)))


# ---- tasks -------------------------------------------------------------------------------


def list_tasks(sources: Sequence[str], batch: Batch) -> list[Task]:
    """List the scenes of a batch with their guides; none is opened, unless each of its pixel sizes is a scene.

    Raises
    ------
    DualSRError
        If the sources have no scene, or cannot be read.
    """
    entries = list_entries(
        sources, asset=batch.asset, guides=batch.rule.patterns, exclude=batch.store or str(batch.folder)
    )
    tasks = [
        t for e in entries if matches_rule(e, batch.rule) for t in _of_each_gsd(_with_guides(e, batch.rule), batch)
    ]
    if not tasks:
        pattern = batch.rule.match and batch.rule.match.pattern
        raise InputError(f"None of {len(entries)} scenes matches --match {pattern}. Give another expression.")
    scene_of_guide = {os.path.realpath(guide): t.entry.key for t in tasks for guide in t.guides}
    scene_of_product: dict[tuple[str, str], str] = {}
    return [_require_own_product(_skip_guide(t, scene_of_guide), scene_of_product) for t in tasks]


def _with_guides(entry: SceneEntry, rule: GuideRule) -> Task:
    try:
        guides = guides_of(entry, rule)
    except (InputError, OSError) as error:
        return Task(entry, status="failed", reason=entry.error or str(error))
    # An entry with an error keeps its guide, so that the guide is skipped as a scene.
    return Task(entry, guides, "failed" if entry.error else "planned", entry.error)


def _of_each_gsd(task: Task, batch: Batch) -> list[Task]:
    """Return a task for each pixel size of a product with --gsd all; one that cannot be opened, or has one pixel size, fails."""
    if batch.options.gsd != "all" or task.status != "planned":
        return [task]
    try:
        gsds = coarse_gsds(task.entry.path, batch.options)
    except (DualSRError, OSError) as error:
        return [Task(task.entry, status="failed", reason=str(error))]
    return [replace(task, entry=task.entry.of_gsd(gsd)) for gsd in gsds]


def _skip_guide(task: Task, scene_of_guide: Mapping[str, str]) -> Task:
    """Skip an entry of a folder or a glob that is the guide of a scene."""
    scene = scene_of_guide.get(os.path.realpath(task.entry.path)) if task.entry.listed else None
    return task if scene is None else Task(task.entry, status="skipped", reason=f"The guide of {scene}.")


def _require_own_product(task: Task, scene_of_product: dict[tuple[str, str], str]) -> Task:
    """Fail a scene whose product has the path of the product of an earlier scene."""
    if task.status != "planned":
        return task
    entry = task.entry
    first = scene_of_product.setdefault((entry.folder, entry.stem), entry.key)
    if first == entry.key:
        return task
    reason = f"Its product would replace that of {first}. Give the folder around both, or two --output folders."
    return Task(entry, status="failed", reason=reason)


def failure(task: Task, error: BaseException) -> SceneRecord:
    """Return the record of a failure; that of an unforeseen error has a traceback."""
    record = replace(task.record, status="failed")
    if isinstance(error, DualSRError):
        return replace(record, reason=one_line(for_display(str(error))))
    return replace(
        record,
        reason=one_line(for_display(f"{type(error).__name__}: {error}")),
        traceback=tuple(for_display(line) for line in traceback.format_exception(error)),
    )


# ---- plans -------------------------------------------------------------------------------


def prepare(task: Task, batch: Batch, *, client: Any = None) -> tuple[RunPlan, OutputSpec]:
    """Open a scene and its guides, once, and plan the run.

    Parameters
    ----------
    task : Task
    batch : Batch
    client : distributed.Client, optional
        The cluster that runs the tiles.

    Raises
    ------
    DualSRError
        If the scene cannot be sharpened.
    """
    options = batch.scene_options
    return preparation.prepare(
        task.entry.path,
        lambda ratio: batch.product(product_name(task, batch, ratio)),
        rgb=task.guides,
        options=options if task.entry.gsd is None else replace(options, gsd=task.entry.gsd),
        client=client,
    )


def product_name(task: Task, batch: Batch, ratio: int) -> str:
    """Return the path of a product below the output."""
    suffix = {"zarr": ".zarr", "netcdf": ".nc"}.get((batch.options.format or "").lower(), ".tif")
    return str(Path(task.entry.folder, f"{task.entry.stem}_x{ratio}{suffix}"))


def plan_scenes(sources: Sequence[str], batch: Batch) -> list[dict[str, Any]]:
    """Return what a run would do with each scene, and its cost; write nothing.

    Returns
    -------
    list of dict
        The record of each scene, with the plan of `engine.preparation.dry_run` and ``estimated_seconds``.
    """
    return [_plan_scene(task, batch) for task in list_tasks(sources, batch)]


def _plan_scene(task: Task, batch: Batch) -> dict[str, Any]:
    if task.status != "planned":
        return task.record.to_json()
    try:
        plan, spec = prepare(task, batch)
        if plan.options.resume and is_same_output(spec, plan.identity):
            return {**replace(task.record, status="done").to_json(), "output": spec.path}
        # The run creates the folder; a folder that does not exist has nothing that could be replaced.
        if (Path(spec.path).parent if batch.store is None else batch.folder).is_dir():
            preparation.require_output(plan, spec)
        values = preparation.plan_json(plan, spec)
    except Exception as error:  # noqa: BLE001  # the failure of a scene does not stop the others
        return failure(task, error).to_json()
    return {**task.record.to_json(), **values, "estimated_seconds": estimate_seconds(plan)}


def estimate_seconds(plan: RunPlan) -> float:
    """Return the estimated time of a run, seconds, from that of its model on one machine."""
    guided, unguided = plan.model.seconds_per_million
    height, width = plan.target.shape
    millions = int(height) * int(width) * plan.scene.count / 1e6
    tiles_at_once = min(plan.sizes.jobs, len(plan.tiling))
    return round(SETUP_SECONDS + (guided if plan.guide is not None else unguided) * millions / tiles_at_once, 1)
