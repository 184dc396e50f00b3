"""Networks ready to use: weights on disk, in the network that they are for."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dualsr_geo.errors import InputError, OptionError, ScaleError
from dualsr_geo.models.definition import Weights
from dualsr_geo.models.networks import coarsenet, coarsr, finenet, published_checkpoint
from dualsr_geo.models.networks.coarsenet import CoarseNet
from dualsr_geo.models.networks.coarsr import CoarSR
from dualsr_geo.models.networks.guided import Guided
from dualsr_geo.models.networks.unguided import Alone
from dualsr_geo.models.weights import Card, read_card, read_tensors, sha256

READERS = {"coarsr": coarsr, "coarsenet": coarsenet, "finenet": finenet}
RATIOS = (2, 32)
SHIPPED = Path(__file__).with_name("data")
Own = TypeVar("Own", Guided, Alone)
HALOS = {"coarsr": coarsr.HALO, "coarsenet": coarsenet.HALO}
SEAMS = {"coarsenet": coarsenet.SEAM}


@dataclass(frozen=True)
class Trained:
    """A network with its weights: ``model(cube, guide)``.

    Attributes
    ----------
    card : Card
    network : Module
    """

    card: Card
    network: nn.Module

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
            bands = list(self._stream(lr, guide))
        return torch.stack(bands).numpy()

    def _stream(self, lr: Tensor, guide: NDArray[np.float32] | None) -> Any:  # an iterator of planes
        if isinstance(self.network, CoarSR):
            if guide is not None:
                raise InputError("CoarSR takes no guide, and one is given. Leave it out, or use CoarseNet's weights.")
            return self.network.stream(lr)
        if guide is None:
            raise InputError(f"CoarseNet needs a guide of {self.card.guide_bands} bands, and none is given.")
        if not isinstance(self.network, CoarseNet):
            raise TypeError(type(self.network).__name__)
        return self.network.stream(lr, torch.from_numpy(np.ascontiguousarray(guide, dtype=np.float32)))


@lru_cache(maxsize=4)
def guided_network(weights: Weights, device: str) -> Guided:
    """Return our network with a guide; one for all tiles of a process. Raises as `ready`."""
    network = _own(Guided, weights, device)
    return network if weights.precision == "float32" else network.lowered(getattr(torch, weights.precision))


@lru_cache(maxsize=4)
def lone_network(weights: Weights, device: str) -> Alone:
    """Return our network without a guide; one for all tiles of a process. Raises as `ready`."""
    return _own(Alone, weights, device)


def _own(kind: type[Own], weights: Weights, device: str) -> Own:
    network = _filled(kind, _unchanged(weights))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors alone
    return network.to(device).eval()


def _filled(kind: type[Own], path: str | os.PathLike[str]) -> Own:
    try:
        return kind.of(read_tensors(path))
    except (RuntimeError, KeyError, IndexError) as error:
        # As torch says it, over many lines.
        raise InputError(
            f"{path} does not hold the weights that its card names: {str(error).splitlines()[0]} Copy it again."
        ) from error


@lru_cache(maxsize=4)
def ready(weights: Weights, device: str) -> nn.Module:
    """Return a network as the pipeline uses it; one for all tiles of a process.

    Raises
    ------
    InputError
        If the file is not what it was when the run was planned.
    """
    network = load_model(_unchanged(weights), weights.published).network
    if weights.precision != "float32":
        assert isinstance(network, CoarSR | CoarseNet)
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


def load_model(path: str | os.PathLike[str], published: bool = False) -> Trained:  # noqa: FBT001, FBT002  # the documented call
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
    if card.network in ("guided", "alone"):
        raise InputError(
            f"{path} holds `{card.network}`, which corrects a start that dualsr_geo makes and is no model by itself. "
            "Give it to `upscale` as model."
        )
    network: nn.Module
    if card.network == "coarsr":
        network = CoarSR(card.ratio, card.width, published=published)
    elif card.network == "coarsenet":
        network = CoarseNet(card.ratio, card.width, card.guide_bands, published=published)
    else:
        raise InputError(f"{path} holds {card.network}, which refines what a coarse network made. Load one of those.")
    network.load_state_dict(read_tensors(path))
    return Trained(card, network.eval())


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
    reader = READERS[published_checkpoint.network_of(state)]
    found = reader.recognise(state)
    ratio = _ratio(found, scale)
    card = Card(
        found.network,
        ratio,
        found.width,
        found.bands,
        found.guide_bands,
        block=3 if found.network == "coarsenet" else 1,
        halo=HALOS.get(found.network, 0),
        seam=SEAMS.get(found.network, 0.0),
        batch_norm=found.batch_norm,
        source=Path(path).name,
    )
    return reader.from_published(state), card


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


def _ratio(found: published_checkpoint.Recognised, scale: int | None) -> int:
    if scale is not None and not RATIOS[0] <= scale <= RATIOS[1]:
        raise ScaleError(f"--scale {scale} is no ratio that a network sharpens by. Give {RATIOS[0]}..{RATIOS[1]}.")
    if found.ratio is None:
        if scale is None:
            raise OptionError(f"The weights of {found.network} do not tell their ratio. Give it as --scale.")
        return scale
    if scale is not None and scale != found.ratio:
        raise OptionError(f"The weights are for ratio {found.ratio}, but --scale is {scale}. Leave it out.")
    return found.ratio
