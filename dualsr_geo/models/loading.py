"""Networks built from weights files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dualsr_geo.argument_types import checked, flag
from dualsr_geo.argument_types import path as path_argument
from dualsr_geo.errors import DualSRError, InputError
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.messages import one_line
from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.networks.architecture import BandNetwork
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.networks.unguided import UnguidedNetwork
from dualsr_geo.models.weights import SHIPPED, Card, Weights, read_card, read_tensors, sha256

# What torch reports of weights that do not fit, and how a message states it.
STATE_DIFFERENCES = {"Missing key(s)": "it lacks", "Unexpected key(s)": "it also has"}
# Characters of a foreign message.
MAX_SHOWN = 160


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its weights: ``model(cube, guide)``.

    Attributes
    ----------
    card : Card
    network : BandNetwork
    """

    card: Card
    network: BandNetwork

    def __call__(self, cube: NDArray[np.float32], guide: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Sharpen a whole cube: no tiles, no scaling.

        Parameters
        ----------
        cube : array of float32, shape (band, y, x)
            In the units that the network was trained in: 0..1 for published weights.
        guide : array of float32, shape (guide band, ratio * y, ratio * x), optional
            Needed by a guided network, CoarseNet.

        Returns
        -------
        array of float32, shape (band, ratio * y, ratio * x)

        Raises
        ------
        InputError
            If there are too few bands, or guide and weights do not fit.
        """
        lr = torch.from_numpy(np.ascontiguousarray(cube, dtype=np.float32))
        if lr.dim() != 3:
            raise InputError(f"The cube has {lr.dim()} axes, {tuple(lr.shape)}. Give (band, y, x).")
        with torch.inference_mode():
            hr_guide = None if guide is None else torch.from_numpy(np.ascontiguousarray(guide, dtype=np.float32))
            bands = list(self.network.stream(lr, hr_guide))
        return torch.stack(bands).numpy()


@lru_cache(maxsize=4)
def guided_network(weights: Weights, device: str) -> GuidedNetwork:
    """Return the guided network, one for all tiles of a process; raises as `band_network`."""
    network = cast("GuidedNetwork", _correction(weights, device))
    return network if weights.precision == "float32" else network.lowered(getattr(torch, weights.precision))


@lru_cache(maxsize=4)
def unguided_network(weights: Weights, device: str) -> UnguidedNetwork:
    """Return the unguided network, one for all tiles of a process; raises as `band_network`."""
    return cast("UnguidedNetwork", _correction(weights, device))


def _correction(weights: Weights, device: str) -> nn.Module:
    path = _unchanged(weights)
    network = _build(path, read_card(path), published=False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only
    return network.to(device).eval()


def require_weights(weights: Weights) -> None:
    """Check that a file holds the weights of its network, also where a scene would not use them.

    Raises
    ------
    InputError
        If it does not.
    """
    _require_buildable(weights.path, weights.sha256, published=weights.published)


@lru_cache(maxsize=16)
def _require_buildable(path: str, _sha256: str, *, published: bool) -> None:
    _build(path, read_card(path), published=published)


def _build(path: str | os.PathLike[str], card: Card, *, published: bool) -> nn.Module:
    tensors = read_tensors(path)
    _require_numbers(path, tensors)
    try:
        _require_width(card, tensors)
        return architecture_of(card.network).build(card, tensors, published)
    except (MemoryError, DualSRError):
        raise
    except Exception as error:  # whatever a network raises that gets weights of other shapes
        raise InputError(
            f"{path} does not hold the weights that its card names: {_difference(error)}. Copy it again, or give a file of "
            f"the network `{card.network}`."
        ) from error


def _require_numbers(path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that all weights are finite floating-point numbers: others make every value of a product invalid."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InputError(
                f"The weight `{name}` of {path} is {tensor.dtype}, no floating-point number. Copy it again."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"The weight `{name}` of {path} has values that are not finite. Copy it again.")


def _require_width(card: Card, tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that some weight has the width of the card, before a network of that width is made."""
    if not any(card.width in tensor.shape for tensor in tensors.values()):
        raise ValueError(f"it has no weight with the {card.width} features of the card")


def _difference(error: Exception) -> str:
    """Return how weights differ from those of a network; torch reports each weight on a line of its own."""
    lines = str(error).splitlines()
    if isinstance(error, KeyError):
        return f"it lacks {lines[0]}"
    parts = []
    for line in lines[1:]:
        names = re.findall(r'"([^"]+)"', line)
        kind = next((text for begin, text in STATE_DIFFERENCES.items() if begin in line), None)
        if kind is not None and names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            parts.append(f"{kind} {names[0]}{more}")
    mismatches = [line.split(":")[0].split()[-1] for line in lines if "size mismatch for" in line]
    if mismatches:
        more = f" and {len(mismatches) - 1} more have" if len(mismatches) > 1 else " has"
        parts.append(f"{mismatches[0]}{more} another shape")
    return "; ".join(parts) or one_line(lines[0] if lines else type(error).__name__, MAX_SHOWN).rstrip(".:")


@lru_cache(maxsize=4)
def band_network(weights: Weights, device: str) -> BandNetwork:
    """Return a network in the precision of a run, one for all tiles of a process.

    Raises
    ------
    InputError
        If the file has changed since the run was planned.
    """
    network = load_model(_unchanged(weights), weights.published).network
    if weights.precision != "float32":
        network.lowered(getattr(torch, weights.precision))
    return network.to(device).eval()


def _unchanged(weights: Weights) -> str:
    """Return the path of the weights on this machine, checked to be those that the run was planned with."""
    shipped = SHIPPED / Path(weights.path).name
    # On a worker the package may be installed elsewhere than where the run was planned.
    path = str(shipped) if shipped.exists() and not Path(weights.path).exists() else weights.path
    checksum = sha256(path)
    if checksum != weights.sha256:
        raise InputError(
            f"{path} has changed: its SHA-256 is {checksum[:12]}..., the run was planned with "
            f"{weights.sha256[:12]}... Start again with --overwrite."
        )
    return path


@reports_defects
@checked(path=path_argument, published=flag)
def load_model(path: str | os.PathLike[str], published: bool = False) -> TrainedNetwork:  # noqa: FBT001, FBT002  # the documented call
    """Load a network from its weights.

    Parameters
    ----------
    path : path
        A file written by `dualsr-geo models import` or `dualsr-geo train`.
    published : bool
        Compute what the authors' published code computes, its errors included, rather than what
        their papers describe.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of a network that does not sharpen by itself.
    """
    card = read_card(path)
    if not architecture_of(card.network).standalone:
        raise InputError(
            f"{path} holds `{card.network}`, which corrects the training-free estimate and does not sharpen by itself. "
            "Give it to `upscale` as model."
        )
    network = cast("BandNetwork", _build(path, card, published=published))
    return TrainedNetwork(card, network.eval())
