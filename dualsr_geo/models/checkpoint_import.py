"""Conversion of checkpoints in their authors' layout to weights and model cards."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dualsr_geo.errors import DualSRError, InputError, OptionError, ScaleError
from dualsr_geo.io.storage.defects import describe
from dualsr_geo.io.storage.names import require_name
from dualsr_geo.models.architectures import recognise
from dualsr_geo.models.networks.published_checkpoint import CheckpointSizes
from dualsr_geo.models.weights import Card

# Smallest and largest ratio of a network.
MIN_RATIO, MAX_RATIO = 2, 32


def convert(path: str | os.PathLike[str], scale: int | None = None) -> tuple[dict[str, Tensor], Card]:
    """Read a checkpoint in its authors' layout and return its weights and card in those of this package.

    Parameters
    ----------
    path : path
        As saved by the authors' training scripts, ``{"epoch", "model", "optimizer"}``, or the state only.
    scale : int, optional
        The ratio, which the shapes of SFPN's weights do not depend on.

    Raises
    ------
    InputError
        If the file is not a checkpoint, contains code, is damaged, or of an unknown network.
    OptionError
        If `scale` is missing, or contradicts the weights.
    ScaleError
        If `scale` is not within 2..32.
    """
    state = read_checkpoint(path)
    architecture = recognise(state)
    assert architecture.checkpoint is not None
    try:
        sizes = architecture.checkpoint.sizes(state)
        ratio = _ratio(architecture.id, sizes, scale)
        tensors = architecture.checkpoint.convert(state)
    except (MemoryError, DualSRError):
        raise
    except Exception as error:  # whatever tensors of other shapes and types lead to
        raise InputError(
            f"{path} does not hold the weights of {architecture.checkpoint.title} ({describe(error)}). Copy it again."
        ) from error
    card = architecture.card(
        ratio,
        sizes.width,
        bands=sizes.bands,
        guide_bands=sizes.guide_bands,
        batch_norm=sizes.batch_norm,
        source=Path(path).name,
    )
    return tensors, card


def require_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Return the path of a checkpoint.

    Raises
    ------
    InputError
        If there is no file at the path.
    """
    checkpoint = Path(require_name(path, "checkpoint"))
    if checkpoint.exists() and not checkpoint.is_file():
        raise InputError(f"{path} is no regular file. Give the file that the authors' code saved.")
    if not checkpoint.is_file():
        raise InputError(f"The checkpoint {path} does not exist. Give the file that the authors' code saved.")
    return checkpoint


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the state of a checkpoint; no code in the file is executed.

    Raises
    ------
    InputError
        If the file is missing, damaged, contains more than tensors, or no state.
    """
    checkpoint = require_checkpoint(path)
    try:
        with warnings.catch_warnings():
            # torch warns about pickles that it then refuses.
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors, or is not a checkpoint of torch; it was not run. Save its state_dict only."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # torch's reader and pickle's raise whatever a damaged file leads to
        raise InputError(f"{path} is damaged or not a checkpoint of torch. Copy it again.") from error
    state = loaded.get("model", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(_is_weight(k, v) for k, v in state.items()):
        raise InputError(f"{path} holds no weights: a mapping of names to tensors, or one under `model`, is expected.")
    return dict(state)


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def _ratio(network: str, sizes: CheckpointSizes, scale: int | None) -> int:
    if scale is not None and not MIN_RATIO <= scale <= MAX_RATIO:
        raise ScaleError(f"--scale {scale} is not a ratio of a network. Give {MIN_RATIO}..{MAX_RATIO}.")
    if sizes.ratio is None:
        if scale is None:
            raise OptionError(f"The ratio cannot be read from weights of {network}. Give it as --scale.")
        return scale
    if scale is not None and scale != sizes.ratio:
        raise OptionError(f"The weights are for ratio {sizes.ratio}, but --scale is {scale}. Leave it out.")
    return sizes.ratio
