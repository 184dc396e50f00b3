"""Networks ready to use: weights on disk, in the network that they are for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dualsr_geo.errors import InputError
from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.definition import Weights
from dualsr_geo.models.networks.architecture import BandNetwork
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.networks.unguided import UnguidedNetwork
from dualsr_geo.models.weights import Card, read_card, read_tensors, sha256

SHIPPED = Path(__file__).with_name("data")


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
            In the network's own units: 0..1 for published weights.
        guide : array of float32, shape (guide band, ratio * y, ratio * x), optional
            Of CoarseNet.

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
    """Return our network with a guide; one for all tiles of a process. Raises as `ready`."""
    network = cast("GuidedNetwork", _correction(weights, device))
    return network if weights.precision == "float32" else network.lowered(getattr(torch, weights.precision))


@lru_cache(maxsize=4)
def unguided_network(weights: Weights, device: str) -> UnguidedNetwork:
    """Return our network without a guide; one for all tiles of a process. Raises as `ready`."""
    return cast("UnguidedNetwork", _correction(weights, device))


def _correction(weights: Weights, device: str) -> nn.Module:
    path = _unchanged(weights)
    network = _built(path, read_card(path), published=False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only
    return network.to(device).eval()


def _built(path: str | os.PathLike[str], card: Card, *, published: bool) -> nn.Module:
    tensors = read_tensors(path)
    try:
        return architecture_of(card.network).build(card, tensors, published)
    except (RuntimeError, KeyError, IndexError) as error:
        # As torch says it, over many lines.
        raise InputError(
            f"{path} does not hold the weights that its card names: {str(error).splitlines()[0]} Copy it again."
        ) from error


@lru_cache(maxsize=4)
def ready(weights: Weights, device: str) -> BandNetwork:
    """Return a network as the pipeline uses it; one for all tiles of a process.

    Raises
    ------
    InputError
        If the file is not what it was when the run was planned.
    """
    network = load_model(_unchanged(weights), weights.published).network
    if weights.precision != "float32":
        network.lowered(getattr(torch, weights.precision))
    return network.to(device).eval()


def _unchanged(weights: Weights) -> str:
    """Return where the weights lie on this machine, once they are known to be those that the run was planned with."""
    own = SHIPPED / Path(weights.path).name
    # On a worker the package may lie elsewhere than where the run was planned.
    path = str(own) if own.exists() and not Path(weights.path).exists() else weights.path
    found = sha256(path)
    if found != weights.sha256:
        raise InputError(
            f"{path} has changed: its SHA-256 is {found[:12]}..., the run was planned with "
            f"{weights.sha256[:12]}... Begin anew with --overwrite."
        )
    return path


def load_model(path: str | os.PathLike[str], published: bool = False) -> TrainedNetwork:  # noqa: FBT001, FBT002  # the documented call
    """Load a network by its weights.

    Parameters
    ----------
    path : path
        A file that `dualsr-geo models import` wrote.
    published : bool
        Compute what the authors' published code computes, its defects included, rather than what
        their papers describe.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of a network that sharpens nothing by itself.
    """
    card = read_card(path)
    if not architecture_of(card.network).standalone:
        raise InputError(
            f"{path} holds `{card.network}`, which corrects a start that dualsr_geo makes and is no model by itself. "
            "Give it to `upscale` as model."
        )
    network = cast("BandNetwork", _built(path, card, published=published))
    return TrainedNetwork(card, network.eval())
