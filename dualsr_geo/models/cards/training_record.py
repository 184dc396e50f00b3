"""What the card of a weights file states of its training: scenes, scores, limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Values of a score: PSNR of the start and with the network, dB.
START, RESULT = "start_psnr", "psnr"


@dataclass(frozen=True)
class TrainingRecord:
    """The record of a training, as far as a card has one.

    Attributes
    ----------
    scenes, validation : tuple of str
        Names of the scenes that the weights were trained and tested on.
    scores : mapping of str to (float, float)
        PSNR of the start without the network and with it, dB, by the name of the test.
    limits : str
        Where the network does not help.
    torch : str
        Version of PyTorch that trained it.
    command : str
        That trained it.
    has_any : bool
        Whether the note of the card is such a record.
    """

    scenes: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    scores: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    limits: str = ""
    torch: str = ""
    command: str = ""
    has_any: bool = False

    @property
    def mean_psnr(self) -> tuple[float, float] | None:
        """Mean PSNR of the start and with the network over the tests, dB; None without scores."""
        if not self.scores:
            return None
        before, after = (sum(values) / len(self.scores) for values in zip(*self.scores.values(), strict=True))
        return before, after


def training_record(note: str) -> TrainingRecord:
    """Return the record in the note of a card; entries of other types are left out.

    Parameters
    ----------
    note : str
        `Card.note`: JSON of a training, or any text.
    """
    content = _content(note)
    return TrainingRecord(
        scenes=_names(content.get("scenes")),
        validation=_names(content.get("validation")),
        scores=_scores(content.get("scores")),
        limits=_text(content.get("does_not_help")),
        torch=_text(content.get("torch")),
        command=_text(content.get("command")),
        has_any=bool(content),
    )


def _content(note: str) -> dict[str, Any]:
    try:
        content = json.loads(note)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _scores(value: object) -> dict[str, tuple[float, float]]:
    """Return the scores of all tests; none where one is incomplete or no number."""
    rows = value if isinstance(value, dict) else {}
    pairs = {str(name): (row[START], row[RESULT]) for name, row in rows.items() if _has_scores(row)}
    complete = all(isinstance(v, int | float) for pair in pairs.values() for v in pair)
    return pairs if complete else {}


def _has_scores(row: object) -> bool:
    return isinstance(row, dict) and {START, RESULT} <= set(row)
