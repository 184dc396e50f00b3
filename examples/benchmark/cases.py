"""The scores of the table by case and model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import scenes
import table

from dualsr_geo.models.registry import models

GUIDES = ("rgb", "pan", "own", "none")


@dataclass(frozen=True)
class Figure:
    """A score as the page prints it.

    Attributes
    ----------
    name, column, unit : str
        On the page; in the table; with a leading space, if any.
    digits : int
        After the point; what is equal in print counts as equal.
    sign : int
        1 where more is better, -1 where less is.
    """

    name: str
    column: str
    unit: str
    digits: int
    sign: int

    def printed(self, value: float) -> str:
        """Return a value as text."""
        return f"{value:.{self.digits}f}"

    def lead(self, value: float, over: float) -> float:
        """Return by how much a value is better than another, as far as print shows."""
        return round(self.sign * (round(value, self.digits) - round(over, self.digits)), self.digits)


FIGURES = (
    Figure("PSNR", "psnr_db", " dB", 2, 1),
    Figure("SAM", "sam_deg", " degrees", 2, -1),
    Figure("ERGAS", "ergas", "", 2, -1),
    Figure("Q2n", "q2n", "", 3, 1),
)


@dataclass(frozen=True)
class Case:
    """A scene at a ratio with a guide, for all models to be compared on."""

    scene: str
    ratio: int
    guide: str

    def __str__(self) -> str:
        return f"{self.scene} x{self.ratio}" + (f" {self.guide}" if self.guide != "none" else "")

    @property
    def place(self) -> tuple[int, int, int]:
        """Sort key."""
        return list(scenes.SCENES).index(self.scene), self.ratio, GUIDES.index(self.guide)


@dataclass(frozen=True)
class Runs:
    """The rows of the table."""

    rows: Sequence[table.Row]

    @cached_property
    def by_key(self) -> dict[tuple[str, ...], table.Row]:
        """Rows by their key."""
        return {table.key(row): row for row in self.rows}

    @cached_property
    def models(self) -> list[str]:
        """Models that were run."""
        names = {row["model"] for row in self.rows}
        return [name for name in models() if name in names]

    def cases(self, degradation: str) -> list[Case]:
        """Return the cases of a degradation; without a guide those that a model ran both with and without."""
        rows = [row for row in self.rows if row["degradation"] == degradation]
        guided = {row["scene"] for row in rows if row["guide"] != "none"}
        either = [name for name in self.models if models()[name].guided]
        kept = {
            case_of(row)
            for row in rows
            if row["guide"] != "none" or row["model"] in either or row["scene"] not in guided
        }
        return sorted(kept, key=lambda case: case.place)

    def row(self, case: Case, degradation: str, model: str, disturbance: str = "none") -> table.Row | None:
        """Return a run; that of a model without a guide serves every case of its scene."""
        guide = case.guide if models()[model].guided else "none"
        return self.by_key.get((case.scene, guide, str(case.ratio), degradation, disturbance, model))

    def value(self, case: Case, degradation: str, model: str, figure: Figure) -> float | None:
        """Return a score of an undisturbed run, None where there is none."""
        return number(self.row(case, degradation, model), figure.column)

    def changes(self) -> Iterator[tuple[table.Row, float]]:
        """Yield each disturbed run, and by how many dB the PSNR differs from the undisturbed one."""
        for row in self.rows:
            calm = self.by_key.get((*table.key(row)[:4], "none", row["model"]))
            before, after = number(calm, "psnr_db"), number(row, "psnr_db")
            if row["disturbance"] != "none" and before is not None and after is not None:
                yield row, after - before


def case_of(row: table.Row) -> Case:
    """Return the case of a row."""
    return Case(row["scene"], int(row["ratio"]), row["guide"])


def number(row: table.Row | None, column: str) -> float | None:
    """Return a figure of a row, None where it has none."""
    return float(row[column]) if row is not None and row[column] else None
