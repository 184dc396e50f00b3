"""The table of all runs: a CSV that grows by whole lines only."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from dualsr_geo.errors import InputError

Row = Mapping[str, str]

KEY = ("scene", "guide", "ratio", "degradation", "disturbance", "model")
SCORES = (
    "psnr_db", "psnr_band_mean_db", "ssim", "sam_deg", "ergas", "rmse", "cc", "uqi", "q2n", "scc",
)  # fmt: skip
COLUMNS = (
    *KEY, "protocol", "psf", "bands", "size", *SCORES, "missing_percent", "seconds", "version", "date", "error",
)  # fmt: skip


def read(path: Path) -> list[Row]:
    """Return the rows of the table; none where there is no file.

    Raises
    ------
    InputError
        If the file has other columns.
    """
    if not path.exists() or not path.stat().st_size:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path} has other columns than this version writes. Move it away, or give --output.")
        return list(reader)


def key(row: Row) -> tuple[str, ...]:
    """Return the combination of a row, which is unique."""
    return tuple(row[name] for name in KEY)


def remove_torn_line(path: Path) -> None:
    """Cut off a line that a killed run left unfinished."""
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def append(path: Path, row: Row) -> None:
    """Add a row, with the heading to an empty file; on disk when this returns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    with path.open("a", newline="", encoding="utf-8") as file:
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())
