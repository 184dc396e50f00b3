"""Results of functions: dictionaries that a notebook shows as tables."""

from __future__ import annotations

from typing import Any

from dualsr_geo.option_names import rendered
from dualsr_geo.raster.html_tables import grid_of_cells, two_columns
from dualsr_geo.report.summary import describe_run

# Scores that a comparison shows, with their names.
SHOWN_SCORES = {
    "psnr_db": "PSNR (dB)",
    "ssim": "SSIM",
    "sam_deg": "SAM (deg)",
    "ergas": "ERGAS",
    "rmse": "RMSE",
    "q2n": "Q2n",
    "seconds": "Time (s)",
}


class RunResult(dict[str, Any]):
    """What `dualsr_geo.upscale` returns: a dictionary whose summary a notebook shows."""

    def _repr_html_(self) -> str:
        first, *others = rendered(
            describe_run({"output": "", "seconds": 0.0, "peak_memory_bytes": 0, **self})
        ).splitlines()
        notes = [("Warning", rendered(note)) for note in self.get("notes", ())]
        return two_columns(first, [_named(line) for line in others] + notes)


class Comparison(dict[str, Any]):
    """What `dualsr_geo.evaluate` returns: a dictionary whose scores a notebook shows."""

    def _repr_html_(self) -> str:
        rows = [
            [name, *(_number(scores.get(score)) for score in SHOWN_SCORES)] for name, scores in self["models"].items()
        ]
        title = f"{self['scene']}: models at ratio {self['scale']}, by the Wald protocol"
        return grid_of_cells(title, ["Model", *SHOWN_SCORES.values()], rows)


class Facts(dict[str, Any]):
    """A dictionary that a notebook shows as a table.

    Attributes
    ----------
    title : str
    """

    title = "Result"

    def _repr_html_(self) -> str:
        return two_columns(self.title, [(str(name), _text(value)) for name, value in self.items()])


class GuideCheck(Facts):
    """What `dualsr_geo.check_guide` returns."""

    title = "How the guide fits the scene"


class Scores(Facts):
    """What `dualsr_geo.score_product` returns."""

    title = "Scores against the reference"


def _named(line: str) -> tuple[str, str]:
    """Split a line of the summary into its name and its sentence."""
    name, colon, sentence = line.partition(": ")
    return (name, sentence) if colon and len(name.split()) <= 2 else ("", line)


def _number(value: Any) -> str:  # a number, or None
    return "" if value is None else f"{value:.4g}"


def _text(value: Any) -> str:  # whatever JSON holds
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return rendered("; ".join(_text(item) for item in value))
    if isinstance(value, dict):
        return "; ".join(f"{name} {_text(item)}" for name, item in value.items())
    return rendered(str(value))
