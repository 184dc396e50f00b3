"""The authors' checkpoints, converted to weights and model cards."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dualsr_geo.errors import InputError, OptionError, ScaleError
from dualsr_geo.models.architectures import recognise
from dualsr_geo.models.networks.published_checkpoint import CheckpointSizes
from dualsr_geo.models.weights import Card

RATIOS = (2, 32)


# ---- the authors' checkpoints ------------------------------------------------------------


def convert(path: str | os.PathLike[str], scale: int | None = None) -> tuple[dict[str, Tensor], Card]:
    """Read a checkpoint of the authors' and return weights and card as we keep them.

    Parameters
    ----------
    path : path
        As their training scripts save it: ``{"epoch", "model", "optimizer"}``, or the state alone.
    scale : int, optional
        The ratio; SFPN's weights do not tell it.

    Raises
    ------
    InputError
        If the file is no checkpoint, holds code, is damaged, or of a network not known here.
    OptionError, ScaleError
        If `scale` is missing, contradicts the weights, or is none.
    """
    state = read_checkpoint(path)
    architecture = recognise(state)
    assert architecture.checkpoint is not None
    sizes = architecture.checkpoint.sizes(state)
    card = architecture.card(
        _ratio(architecture.id, sizes, scale),
        sizes.width,
        bands=sizes.bands,
        guide_bands=sizes.guide_bands,
        batch_norm=sizes.batch_norm,
        source=Path(path).name,
    )
    return architecture.checkpoint.convert(state), card


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the state of a checkpoint; nothing in the file is run.

    Raises
    ------
    InputError
        If the file is missing, damaged, holds more than tensors, or no state.
    """
    place = Path(path)
    if not place.is_file():
        raise InputError(f"The checkpoint {path} does not exist. Give the file that the authors' code saved.")
    try:
        with warnings.catch_warnings():
            # torch warns of pickles that it then refuses.
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(place, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors, or is no checkpoint of torch; it was not run. Save its state_dict alone."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged or no checkpoint of torch. Copy it again.") from error
    state = loaded.get("model", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path} holds no weights: a mapping of names to tensors, or one under `model`, is expected.")
    return dict(state)


def _ratio(network: str, sizes: CheckpointSizes, scale: int | None) -> int:
    if scale is not None and not RATIOS[0] <= scale <= RATIOS[1]:
        raise ScaleError(f"--scale {scale} is no ratio that a network sharpens by. Give {RATIOS[0]}..{RATIOS[1]}.")
    if sizes.ratio is None:
        if scale is None:
            raise OptionError(f"The weights of {network} do not tell their ratio. Give it as --scale.")
        return scale
    if scale is not None and scale != sizes.ratio:
        raise OptionError(f"The weights are for ratio {sizes.ratio}, but --scale is {scale}. Leave it out.")
    return sizes.ratio
