"""What `dualsr-geo batch` prints of its scenes."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsr_geo.cli.progress import Display, duration
from dualsr_geo.cli.surface import print_progress, print_result
from dualsr_geo.report.summary import counted

if TYPE_CHECKING:
    from dualsr_geo.batching.scene_record import SceneRecord

# Failed scenes that are printed; all of them are in the summary.
MAX_PRINTED = 20


class BatchProgress:
    """Prints the record of each scene when it ends, and counts the scenes.

    Attributes
    ----------
    printed : set of str
        Scenes whose failure is printed.
    new : int
        Scenes that were sharpened, rather than kept.
    """

    def __init__(self, display: Display, *, silent: bool) -> None:
        self._display, self._silent = display, silent
        self._began = time.monotonic()
        self._ended = self._total = 0
        self._previous: Mapping[str, SceneRecord] = {}
        self.printed: set[str] = set()
        self.new = 0

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._began

    def start(self, total: int, previous: Mapping[str, SceneRecord]) -> None:
        """Show how many scenes will be run."""
        self._total, self._previous = total, previous
        if total:
            self._display.count("Sharpening", 0, total, "scenes")

    def add(self, record: SceneRecord) -> None:
        """Print a record; a failure to standard error, once."""
        is_kept = record.status == "done" and record == self._previous.get(record.scene)
        self._ended += 1
        self.new += record.status == "done" and not is_kept
        if not self._silent:
            failed = record.status == "failed"
            print_progress(_line(record.to_json(), is_kept=is_kept), err=failed)
            if failed:
                self.printed.add(record.scene)
        self._display.count("Sharpening", self._ended, self._total, "scenes", without=is_kept)

    def interrupted(self) -> str:
        """Return what an interrupt leaves, and how to go on."""
        done = f"{self._ended} of {counted(self._total, 'scene')} ended; the finished tiles of the others are kept"
        return f"Stopped. {done}. To continue, run the same command with --resume."


def _shown(path: str) -> str:
    """Return a path as one line, from the current folder if it is in it."""
    from dualsr_geo.batching.journal import one_line  # noqa: PLC0415

    folder = f"{Path.cwd()}{os.sep}"
    return one_line(path.removeprefix(folder))


def _line(record: Mapping[str, Any], *, is_kept: bool = False) -> str:
    """Return the line of a scene, from its record or plan as JSON; `is_kept` is a product that an earlier run finished."""
    scene, product = str(record["scene"]), record.get("product") or record.get("output")
    target = f" -> {_shown(str(product))}" if product and record["status"] != "failed" else ""
    time_ = f" ({record['seconds']:.1f} s)" if record.get("seconds") and not is_kept else ""
    reason = (
        str(record.get("reason") or "")
        .removeprefix(f"{scene} ")
        .removeprefix(f"{scene}: ")
        .replace(scene, _shown(scene))
    )
    status = "kept" if is_kept else record["status"]
    return f"{status:8}{_shown(scene)}{target}{time_}{f': {reason}' if reason else ''}"


def cost(plans: Sequence[Mapping[str, Any]]) -> str:
    """Return what a batch would cost, by the plans of its scenes."""
    planned = [p for p in plans if p["status"] == "planned"]
    seconds = sum(p["estimated_seconds"] for p in planned)
    time = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    memory = max((p["estimated_memory_bytes"] for p in planned), default=0)
    disk = max((p["largest_disk_bytes"] for p in planned), default=0)
    size = sum(p["raw_bytes"] for p in planned)
    scenes = sum(p["status"] != "skipped" for p in plans)
    return (
        f"{len(planned)} of {counted(scenes, 'scene')}: about {time}, {memory / 2**20:.0f} MiB of memory, "
        f"{size / 2**20:.1f} MiB of products before compression, and at most {disk / 2**20:.1f} MiB of disk space while "
        "a scene is sharpened. These are estimates; nothing was written."
    )


def _counts(records: Sequence[SceneRecord]) -> str:
    from dualsr_geo.batching.scene_record import count_statuses  # noqa: PLC0415

    counts = count_statuses(records)
    guides = counts.pop("skipped")
    text = ", ".join(f"{n} {status}" for status, n in counts.items() if n) or "no scene"
    return text + (
        f"; {counted(guides, 'file')} of the sources {'is a guide' if guides == 1 else 'are guides'}" if guides else ""
    )


def print_end(records: Sequence[SceneRecord], folder: Path, progress: BatchProgress, *, quiet: bool) -> None:
    """Print the scenes that failed and were not printed yet, and last the number of scenes of each status."""
    summary = folder / "summary.csv"
    failed = [r for r in records if r.status == "failed" and r.scene not in progress.printed]
    for record in failed[:MAX_PRINTED]:
        print_progress(_line(record.to_json()))
    if len(failed) > MAX_PRINTED:
        print_progress(f"{len(failed) - MAX_PRINTED} more scenes failed; see {summary}.")
    if quiet:
        return
    rate = f", {progress.seconds / progress.new:.1f} s a scene" if progress.new else ""
    print_result(f"{_counts(records)}. Finished in {duration(progress.seconds)}{rate}. The summary is {summary}.")


def print_lines(records: Iterable[Mapping[str, Any]], *, verbose: bool) -> None:
    """Print the line of each scene; guides, which are skipped as scenes, only on request."""
    for record in records:
        if verbose or record["status"] != "skipped":
            print_result(_line(record))


def print_status(folder: Path, *, as_json: bool, verbose: bool) -> None:
    """Print the state of the scenes of a batch."""
    from dualsr_geo.batching.journal import Journal  # noqa: PLC0415
    from dualsr_geo.batching.scene_record import count_statuses  # noqa: PLC0415
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
    print_lines((r.to_json() for r in records), verbose=verbose)
    state = "Not running."
    if any(r.status in ("planned", "running", "failed") for r in records):
        state = f"Not running. Continue with: dualsr-geo batch -o {shlex.quote(str(folder))} --resume"
    if owner is not None:
        state = f"Process {owner['pid']} on {owner['host']} is running since {owner['since']}."
    print_result(f"{_counts(records)}. {state}")
