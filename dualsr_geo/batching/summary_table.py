"""The summary of a batch as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.serialization import csv_cell

COLUMNS = ("scene", "product", "status", "reason", "seconds", "rmse", "sam_deg", "peak_memory_bytes", "notes")


def summary_table(records: Iterable[SceneRecord]) -> str:
    """Return the records as CSV, one line a scene."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for record in records:
        cells = {**record.to_json(), "notes": " ".join(record.notes or ())}
        table.writerow([csv_cell(cells.get(name, "")) for name in COLUMNS])
    return text.getvalue()
