"""Weights files: safetensors with a model card in the header. No pickle is loaded here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from dualsr_geo.errors import InputError, OutputError
from dualsr_geo.io.storage.names import require_name
from dualsr_geo.io.storage.side_files import require_side_file
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.messages import one_line
from dualsr_geo.serialization import write_atomically

# Key of the card in the file's header.
KEY = "dualsr-geo"
# The weights that come with the package.
SHIPPED = Path(__file__).with_name("data")
PRECISIONS = ("float32", "bfloat16")
# Characters of a value in a message.
MAX_SHOWN = 60
# Smallest and largest value of each number of a card. The upper ends are far beyond any network of this package, and
# keep a damaged card from asking for terabytes.
CARD_RANGES: Mapping[str, tuple[float, float]] = {
    "ratio": (0, 32),
    "width": (1, 4096),
    "bands": (0, 4096),
    "guide_bands": (0, 4096),
    "block": (1, 256),
    "halo": (0, 512),
    "seam": (0, 1),
}


@dataclass(frozen=True)
class Weights:
    """A network's weights, and how they are used.

    Attributes
    ----------
    path : str
        Absolute.
    sha256 : str
    network : str
        Id of its architecture: ``"coarsr"``, ``"coarsenet"``, ``"guided"`` or ``"alone"``.
    ratio : int
        0 where one set of weights serves all.
    width : int
    guide_bands : int
        0 for a network without a guide.
    block : int
        lr pixels that its tiles are a multiple of.
    halo : int
        lr pixels of context.
    published : bool
        Compute what the published code computes.
    precision : str
        ``"float32"`` or ``"bfloat16"``.
    """

    path: str
    sha256: str
    network: str
    ratio: int
    width: int
    guide_bands: int = 0
    block: int = 1
    halo: int = 0
    published: bool = False
    precision: str = "float32"

    @property
    def identity(self) -> dict[str, object]:
        """All that decides what it computes."""
        return {"sha256": self.sha256, "published": self.published, "precision": self.precision}


@dataclass(frozen=True)
class Card:
    """The model card of a weights file.

    Attributes
    ----------
    network : str
        Id of its `Architecture`.
    ratio : int
        0 for a network of several ratios.
    width : int
        Features.
    bands, guide_bands : int
        Of the scene and the guide that the weights are bound to; 0 where any number serves, or none is used.
    block : int
        lr pixels; tiles are multiples of this.
    halo : int
        lr pixels of context.
    seam : float
        Largest difference between tiled and whole that the halo leaves, share of the data range.
    batch_norm : bool
        Whether normalisation layers of the checkpoint are folded in.
    source, licence, note : str
        Origin and terms of the weights, and other remarks.
    """

    network: str
    ratio: int
    width: int
    bands: int = 0
    guide_bands: int = 0
    block: int = 1
    halo: int = 0
    seam: float = 0.0
    batch_norm: bool = False
    source: str = ""
    licence: str = "unknown"
    note: str = ""


def save(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], card: Card, *, overwrite: bool = False
) -> None:
    """Write weights and card to a file, atomically.

    Raises
    ------
    OutputError
        If the folder is missing, the file exists and may not be replaced, or it cannot be written.
    """
    output = Path(require_name(path, "output", OutputError))
    if not output.parent.is_dir():
        raise OutputError(
            f"The folder {output.parent} of {output} does not exist. Create it, or give another --output."
        )
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists. Give --overwrite to replace it, or another --output.")
    on_cpu = {k: v.detach().to(torch.float32).contiguous().cpu() for k, v in tensors.items()}
    try:
        # Not by safetensors itself, whose files only their owner may read.
        write_atomically(output, to_bytes(on_cpu, metadata={KEY: json.dumps(asdict(card), sort_keys=True)}))
    except OSError as error:
        raise OutputError(
            f"{output} could not be written: {error.strerror}. Free some space, or give another --output."
        ) from error


def require_weights_file(path: Path, inputs: Iterable[str | os.PathLike[str]], *, resume: bool = False) -> None:
    """Check, before a training, that weights can be written to a path without loss.

    Parameters
    ----------
    path : Path
    inputs : iterable of path
        What the training reads.
    resume : bool
        Whether an existing file has to be one of weights, which the training then continues.

    Raises
    ------
    OutputError
        As `require_side_file`.
    InputError
        If an existing file holds no weights.
    """
    require_side_file(path, "--output", inputs=inputs, overwrite=True)
    if resume and path.exists():
        read_card(path)


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card of a weights file.

    Raises
    ------
    InputError
        If the file is missing, damaged, not safetensors, or has no card.
    """
    _require_regular(path)
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if text is None:
        raise InputError(f"{path} has no model card of dualsr-geo. Create one with `dualsr-geo models import`.")
    try:
        return _card(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"The model card of {path} cannot be read: {error}. It may be of a newer version.") from error


def read_tensors(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read the tensors of a weights file; raises as `read_card`."""
    _require_regular(path)
    try:
        with safe_open(path, "pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  # not a mapping
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_regular(path: str | os.PathLike[str]) -> None:
    """Check that a path is that of a file, neither a folder nor a pipe or a device, which have no end."""
    file = Path(require_name(path, "weights file"))
    require_no_special_file(file)
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is no regular file. Give a file of `dualsr-geo train` or `models import`.")


def _unreadable(path: str | os.PathLike[str], error: Exception) -> InputError:
    if not Path(path).exists():
        return InputError(
            f"{path} does not exist. Give a file of `dualsr-geo models import`, or a name of `models list`."
        )
    return InputError(
        f"{path} is not a whole safetensors file ({error}). "
        "Copy it again; a checkpoint of the authors (.pth) is read by `dualsr-geo models import`."
    )


def _card(value: Any) -> Card:  # any JSON value
    if not isinstance(value, Mapping):
        raise TypeError(f"it is a {type(value).__name__}")
    declared = {f.name: f for f in fields(Card)}
    if missing := [name for name, f in declared.items() if f.default is MISSING and name not in value]:
        raise TypeError(f"it lacks {', '.join(missing)}")
    return Card(**{k: _field(k, v, str(declared[k].type)) for k, v in value.items() if k in declared})


def _field(name: str, value: Any, kind: str) -> Any:
    """Return a value of a card; raise TypeError or ValueError where it has another type, or is out of range."""
    kinds: dict[str, type | tuple[type, ...]] = {"str": str, "bool": bool, "int": int, "float": (int, float)}
    expected = kinds[kind]
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "bool"):
        raise TypeError(f"{name} is {one_line(repr(value), MAX_SHOWN)}, which is no {kind}")
    if name in CARD_RANGES:
        low, high = CARD_RANGES[name]
        assert isinstance(value, int | float)
        if not low <= value <= high:
            raise ValueError(f"{name} is {one_line(repr(value), MAX_SHOWN)}, not within {low:g}..{high:g}")
    return value


def weights_of(path: Path, *, published: bool = False, precision: str = PRECISIONS[0]) -> Weights:
    """Return the weights of a file, with what its card says of them."""
    card = read_card(path)
    sizes = (card.ratio, card.width, card.guide_bands, card.block, card.halo)
    return Weights(str(path.resolve()), sha256(path), card.network, *sizes, published, precision)
