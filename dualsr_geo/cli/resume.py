"""What `--resume` takes from the run that it continues: every option that the command line does not give."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dualsr_geo.errors import DualSRError, ResumeError


def is_given(name: str) -> bool:
    """Return whether the command line gives a parameter of the running command."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def not_given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the parameters that the command line does not give."""
    return {name: value for name, value in values.items() if not is_given(name)}


def recorded_run(scene: str, output: str | None, chosen: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the options and guides of the interrupted run of a scene; nothing if there is none.

    Parameters
    ----------
    scene, output : str
        As given; without an output, the only work directory next to the scene is taken.
    chosen : mapping
        Values of the command line.

    Raises
    ------
    ResumeError
        If the record is damaged.
    """
    from dualsr_geo.engine.records.recorded_options import options_from_record, texts_from_record  # noqa: PLC0415
    from dualsr_geo.io.storage.work_directory.directory import RECORD  # noqa: PLC0415
    from dualsr_geo.io.writers.destination import destination_at  # noqa: PLC0415
    from dualsr_geo.io.writers.output_spec import format_of  # noqa: PLC0415

    path = output or _only_output(scene)
    if path is None:
        return {}, ()
    try:
        destination = destination_at(path, format_of(path, chosen["format"]), chosen["work_dir"])
        directory = destination.work_directory
        request = directory.read(RECORD).get("request") if directory.has(RECORD) else None
    except ResumeError:
        raise
    except (DualSRError, OSError):
        # The run itself reports what is wrong with the output or its work directory.
        return {}, ()
    if not isinstance(request, dict):
        return {}, ()
    guides = request.get("rgb")
    options = options_from_record(request.get("options"), destination.work)
    return options, () if guides is None else texts_from_record(guides, destination.work)


def _only_output(scene: str) -> str | None:
    """Return the output of the only interrupted run next to a scene that named no output."""
    from dualsr_geo.io.storage.names import fits_file_system  # noqa: PLC0415

    place = Path(scene)
    if not fits_file_system(scene):
        return None
    works = list(place.parent.glob(f"{glob.escape(place.stem)}_x*.tif.part"))
    return str(works[0]).removesuffix(".part") if len(works) == 1 else None
