"""The options of a run as keywords of functions: typed for checkers and editors, and shown by `help` and `?`."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypedDict, TypeVar

from numpy.typing import DTypeLike

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.options import (
    ChangeHandling,
    Coregistration,
    Denoising,
    Device,
    FineStageName,
    Gsd,
    Options,
    Precision,
    Uncertainty,
)
from dualsr_geo.raster.packing import Nodata

Function = TypeVar("Function", bound=Callable[..., Any])
Path = str | os.PathLike[str]
# The keyword in a docstring that the documented options replace.
PLACEHOLDER = "**keywords"


class EvaluationKeywords(TypedDict, total=False):
    """The options of a run, apart from `mtf_gain`; see `Options`."""

    scale: int | None
    model: Path
    fine: FineStageName | None
    half_model: Path | None
    published: bool
    precision: Precision
    spectral: int | None
    orientations: int
    uncertainty: Uncertainty
    coregister: Coregistration
    changes: ChangeHandling
    denoise: Denoising
    psf: Psf | None
    bidx: str | None
    gsd: Gsd
    sensor: str | None
    wavelengths: Path | Sequence[float] | None
    trust_references: bool
    tile: int | None
    jobs: int | None
    max_memory: int | str | None
    device: Device
    format: str | None
    dtype: DTypeLike | None
    nodata: Nodata
    creation: Mapping[str, str] | Sequence[tuple[str, str]]
    overwrite: bool
    resume: bool
    work_dir: Path | None


class OptionKeywords(EvaluationKeywords, total=False):
    """The options of a run; see `Options`."""

    mtf_gain: float | None


def with_option_keywords(function: Function) -> Function:
    """Show the options of a run in the signature and the docstring of a function that takes them as keywords.

    Parameters
    ----------
    function : callable
        Its last parameter is ``**keywords``, typed as one of the dictionaries of this module, and its docstring has the
        entry ``**keywords``.
    """
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    named = {parameter.name for parameter in own}
    hints = {name: hint.__forward_arg__ for name, hint in OptionKeywords.__annotations__.items()}
    options = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in fields(Options)
        if field.name not in named
    ]
    function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]  # of functions
    function.__doc__ = _documented(function.__doc__ or "", [option.name for option in options])
    return function


def _default(field: Any) -> Any:  # dataclasses.Field is generic in what it holds
    return field.default if field.default is not MISSING else inspect.Parameter.empty


def option_texts() -> dict[str, str]:
    """Return the text on every option, from the docstring of `Options`."""
    lines = inspect.getdoc(Options) or ""
    entries = re.findall(r"^(\w+) : .*\n((?: {4}.*\n?)*)", lines, re.MULTILINE)
    heads = dict(re.findall(r"^(\w+) : (.*)$", lines, re.MULTILINE))
    return {name: f"{name} : {heads[name]}\n{text.rstrip()}".rstrip() for name, text in entries}


def _documented(doc: str, names: Iterable[str]) -> str:
    """Return a docstring with an entry for each option instead of the placeholder."""
    texts = option_texts()
    indent = re.search(rf"^( *){re.escape(PLACEHOLDER)}.*\n(?:\1 +.*\n)*", doc, re.MULTILINE)
    if indent is None:
        return doc
    entries = "\n".join(texts[name] for name in names)
    block = "".join(f"{indent[1]}{line}\n" for line in entries.splitlines())
    return doc[: indent.start()] + block + doc[indent.end() :]
