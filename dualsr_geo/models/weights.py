"""Weights on disk: safetensors with a model card in the header. No pickle is loaded here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from dualsr_geo.errors import InputError, OutputError
from dualsr_geo.serialization import write_atomically

# Where the card is kept in the file's header.
KEY = "dualsr-geo"


@dataclass(frozen=True)
class Card:
    """What weights are and what they promise.

    Attributes
    ----------
    network : str
        ``"coarsr"``, ``"coarsenet"`` or ``"finenet"``.
    ratio : int
    width : int
        Channels inside.
    bands, guide_bands : int
        Of scene and guide that the weights are bound to; 0 where any number serves, or none is used.
    block : int
        lr pixels that tiles must be a multiple of.
    halo : int
        lr pixels of context.
    seam : float
        Largest difference between tiled and whole that the halo leaves, share of the data range.
    batch_norm : bool
        Whether normalisation layers of the checkpoint are folded in.
    source, licence, note : str
        Where the weights come from, under which terms, and what else is to be known.
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
    """Write weights at once.

    Raises
    ------
    OutputError
        If the folder is missing, the file exists and may not be replaced, or there is no room.
    """
    place = Path(path)
    if not place.parent.is_dir():
        raise OutputError(f"The folder {place.parent} of {place} does not exist. Create it, or give another --output.")
    if place.exists() and not overwrite:
        raise OutputError(f"{place} exists. Give --overwrite to replace it, or another --output.")
    ready = {k: v.detach().to(torch.float32).contiguous().cpu() for k, v in tensors.items()}
    try:
        # Written here, because safetensors' own file is for its owner's eyes only.
        write_atomically(place, to_bytes(ready, metadata={KEY: json.dumps(asdict(card), sort_keys=True)}))
    except OSError as error:
        raise OutputError(
            f"{place} could not be written: {error.strerror}. Make room, or give another --output."
        ) from error


def read_card(path: str | os.PathLike[str]) -> Card:
    """Return the card of a weights file.

    Raises
    ------
    InputError
        If the file is missing, damaged, no safetensors, or not ours.
    """
    try:
        with safe_open(path, "pt") as file:
            said = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if said is None:
        raise InputError(f"{path} carries no model card of dualsr-geo. Make one by `dualsr-geo models import`.")
    try:
        return _card(json.loads(said))
    except (ValueError, TypeError) as error:
        raise InputError(f"The model card of {path} cannot be read: {error}. It may be of a newer version.") from error


def read_tensors(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file; raises as `read_card`."""
    try:
        with safe_open(path, "pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(path: str | os.PathLike[str], error: Exception) -> InputError:
    if not Path(path).exists():
        return InputError(
            f"{path} does not exist. Give a file of `dualsr-geo models import`, or a name of `models list`."
        )
    return InputError(
        f"{path} is no whole safetensors file ({error}). "
        "Copy it again; a checkpoint of the authors (.pth) is read by `dualsr-geo models import`."
    )


def _card(said: Any) -> Card:  # whatever JSON held
    if not isinstance(said, Mapping):
        raise TypeError(f"it is a {type(said).__name__}")
    known = {f.name for f in fields(Card)}
    return Card(**{k: v for k, v in said.items() if k in known})
