"""The record of a scene in the journal and in the summary of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from dualsr_geo.serialization import from_json

Status = Literal["planned", "running", "done", "failed", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class SceneRecord:
    """The state of a scene of a batch.

    Attributes
    ----------
    scene : str
        `SceneEntry.key`.
    status : str
        One of `STATUSES`.
    reason : str
        Why the scene failed or is skipped, one line.
    interrupted : bool
        Whether a process died while it worked on the scene, which is not finished since.
    traceback : tuple of str or None
        Of an unforeseen error.
    seconds : float or None
        The time of the run that wrote the product, or that failed.
    product : str or None
        The path of the product from the output folder, or its URL; None until it is finished.
    rmse, sam_deg : float or None
        The consistency of the product with the scene: root mean square, in the scene's unit, and spectral angle.
    scale, shape, bands, model, notes
        Of the product, as `upscale` returns them.
    report, item : str or None
        The paths of the page and of the STAC item of the product from the output folder.
    peak_memory_bytes : int or None
        The peak memory of the process that wrote the product.
    """

    scene: str
    status: Status
    reason: str = ""
    interrupted: bool = False
    traceback: tuple[str, ...] | None = None
    seconds: float | None = None
    product: str | None = None
    rmse: float | None = None
    sam_deg: float | None = None
    scale: int | None = None
    shape: tuple[int, ...] | None = None
    bands: int | None = None
    model: str | None = None
    notes: tuple[str, ...] | None = None
    report: str | None = None
    peak_memory_bytes: int | None = None
    item: str | None = None

    @property
    def may_kill(self) -> bool:
        """Whether a process died while it worked on the scene."""
        return self.status == "running" or self.interrupted

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set; the record of a product also has a consistency that is null."""
        consistency = ("rmse", "sam_deg") if self.product is not None else ()
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default or name in consistency}

    @classmethod
    def from_journal(cls, values: Mapping[str, Any]) -> SceneRecord:
        """Return the record of a line of the journal; the fields of other versions are ignored.

        Raises
        ------
        ValueError
            If `to_json` cannot have written it.
        """
        names = {f.name for f in fields(cls)}
        fields_of_line = {k: v for k, v in values.items() if k in names}
        record = from_json(cls, fields_of_line)
        for name, types in _TYPES.items():
            value = getattr(record, name)
            if not all(isinstance(v, types) for v in (value if isinstance(value, tuple) else (value,))):
                raise ValueError(f"{name} is {value!r}")
        if record.status not in STATUSES:
            raise ValueError(f"status is {record.status!r}")
        return record


_NOTHING = type(None)
# The types of fields, or of their elements.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("scene", "status", "reason"), (str,)),
    **dict.fromkeys(("product", "model", "report", "item", "traceback", "notes"), (str, _NOTHING)),
    **dict.fromkeys(("seconds", "rmse", "sam_deg"), (int, float, _NOTHING)),
    **dict.fromkeys(("scale", "shape", "bands", "peak_memory_bytes"), (int, _NOTHING)),
    "interrupted": (bool,),
}


def count_statuses(records: Iterable[SceneRecord]) -> dict[str, int]:
    """Return the number of scenes of each status."""
    counts = Counter(r.status for r in records)
    return {status: counts[status] for status in STATUSES}
