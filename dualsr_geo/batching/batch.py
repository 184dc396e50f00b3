"""`dualsr_geo.batch`: the scenes of an archive, as the command `dualsr-geo batch` sharpens them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from dualsr_geo.argument_types import (
    checked,
    cluster_client,
    flag,
    function,
    integer,
    only_guide,
    path,
    path_or_paths,
    text,
)
from dualsr_geo.batching.guide_matching import guide_rule
from dualsr_geo.batching.run import run
from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.batching.tasks import Batch, plan_scenes
from dualsr_geo.engine.option_keywords import OptionKeywords, with_option_keywords
from dualsr_geo.engine.options import Options, changed, require_valid
from dualsr_geo.errors import OptionError, OutputError
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.storage.names import require_name
from dualsr_geo.io.storage.urls import is_url
from dualsr_geo.models.definition import choose_fine
from dualsr_geo.models.registry import load_model

Where = str | os.PathLike[str]


@with_option_keywords
@reports_defects
@checked(
    scenes=path_or_paths,
    output=path,
    rgb=path_or_paths,
    pan=path_or_paths,
    guide=path_or_paths,
    match=text,
    allow_unguided=flag,
    asset=text,
    report=flag,
    stac=flag,
    scenes_at_once=integer,
    client=cluster_client,
    progress=function,
    dry_run=flag,
)
def batch(
    scenes: Where | Sequence[Where],
    output: Where,
    *,
    rgb: Where | Sequence[Where] | None = None,
    pan: Where | Sequence[Where] | None = None,
    guide: Where | Sequence[Where] | None = None,
    match: str | None = None,
    allow_unguided: bool = False,
    asset: str | None = None,
    report: bool = False,
    stac: bool = False,
    scenes_at_once: int | None = None,
    client: Any = None,  # distributed.Client is not typed
    progress: Callable[[dict[str, Any]], None] | None = None,
    dry_run: bool = False,
    options: Options | None = None,
    **keywords: Unpack[OptionKeywords],
) -> list[dict[str, Any]]:
    """Sharpen many scenes into a folder; the failure of a scene does not stop the others.

    Parameters
    ----------
    scenes : path or sequence of paths
        Rasters, products as delivered, folders and globs of these, ``.txt`` lists, and STAC items, item collections or
        catalogs (``.json``).
    output : path
        Folder of the products and the journal; or a URL of a store for the products, with `work_dir`.
    rgb, pan, guide : str or sequence of str
        The guide of a scene, by any of these names: a path with ``{stem}``, ``{name}``, ``{parent}`` or a group of
        `match`, relative to the scene's folder; the key of a STAC asset; or a ``.csv`` with the columns scene and guide.
    match : str, optional
        Regular expression that selects scenes of folders and globs by their paths.
    allow_unguided : bool
        Sharpen a scene without a guide if its guide is missing.
    asset : str, optional
        Key of the asset of a STAC item that is the scene, or its assets of one band each: keys, names of bands and
        patterns, with commas between them.
    report : bool
        Also write an HTML page for each product.
    stac : bool
        Also write a STAC item for each product, and ``items.json`` and ``catalog.json`` of all.
    scenes_at_once : int, optional
        Scenes that run at the same time: 1, and 2 on a cluster, if left out.
    client : distributed.Client, optional
        Run the tiles there.
    progress : callable, optional
        Called with the record of each scene that is finished or failed.
    dry_run : bool
        Return the plan of each scene, with estimates; write nothing.
    options : Options, optional
        Options to start from; the keywords replace single ones.
    **keywords
        Fields of `Options`.

    Returns
    -------
    list of dict
        A record for each scene, as in ``summary.json``: status ("done", "failed" or "skipped"), product, reason, scale,
        shape, rmse, sam_deg, seconds and others.

    Raises
    ------
    DualSRError
        If the batch cannot start, or the journal cannot be written. The failure of a scene raises nothing.
    """
    chosen = changed(options, keywords, batch)
    patterns = _as_list(only_guide(rgb=rgb, pan=pan, guide=guide))
    rule = guide_rule(patterns, match=match, allow_unguided=allow_unguided)
    folder, store = _places(os.fspath(output), chosen.work_dir)
    at_once = scenes_at_once if scenes_at_once is not None else (1 if client is None else 2)
    if at_once < 1:
        raise OptionError(f"--scenes-at-once {at_once} runs nothing. Give 1 or more.")
    require_valid(chosen)
    # What no scene could be sharpened with is refused before the first one.
    choose_fine(load_model(chosen.model, published=chosen.published, precision=chosen.precision), chosen.fine)
    settings = Batch(folder, rule, chosen, asset, report, stac, at_once, store)
    sources = _as_list(scenes)
    if dry_run:
        return plan_scenes(sources, settings)

    def on_record(record: SceneRecord) -> None:
        if progress is not None:
            progress(record.to_json())

    return [record.to_json() for record in run(sources, settings, client=client, on_record=on_record)]


def _as_list(value: Where | Sequence[Where] | None) -> list[str]:
    if value is None:
        return []
    return [os.fspath(value)] if isinstance(value, str | os.PathLike) else [os.fspath(item) for item in value]


def _places(output: str, work_dir: str | None) -> tuple[Path, str | None]:
    """Return the folder of the journal, and the URL of the products if they are written to a store."""
    require_name(output, "folder of --output", OutputError)
    if not is_url(output):
        if Path(output).exists() and not Path(output).is_dir():
            raise OutputError(f"--output {output} is a file. Give a folder.")
        return Path(output), None
    if work_dir is None:
        raise OptionError("The --output is in an object store. Give --work-dir too: a folder on disk for the journal.")
    return Path(work_dir), output
