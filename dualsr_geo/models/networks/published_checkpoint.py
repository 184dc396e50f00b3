"""Checkpoints in their authors' layout: which network they are of, its sizes, and its weights, folded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dualsr_geo.errors import InputError

# nn.DataParallel puts this before every key.
PREFIX = "module."


@dataclass(frozen=True)
class CheckpointSizes:
    """Sizes of a network, from the shapes of the weights in a checkpoint.

    Attributes
    ----------
    ratio : int or None
        None where the shape of no weight depends on it: SFPN's networks.
    width : int
        Features.
    bands, guide_bands : int
        Of the scene and the guide that the weights are bound to; 0 where any number serves, or none is used.
    batch_norm : bool
        Whether it has normalisation layers.
    """

    ratio: int | None
    width: int
    bands: int = 0
    guide_bands: int = 0
    batch_norm: bool = False


@dataclass(frozen=True)
class PublishedCheckpoint:
    """How the authors of a network save its weights.

    Attributes
    ----------
    title : str
        The network and its publication.
    key : str
        Name of a weight that only this network's checkpoints have.
    sizes : callable
        state -> sizes of the network.
    convert : callable
        state -> weights by the names of this package.
    """

    title: str
    key: str
    sizes: Callable[[Mapping[str, Tensor]], CheckpointSizes]
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]

    def matches(self, state: Mapping[str, Tensor]) -> bool:
        """Return whether a checkpoint is of this network."""
        return self.key in without_prefix(state)


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state without the prefix of nn.DataParallel."""
    return {key.removeprefix(PREFIX): value for key, value in state.items()}


def require_key(state: Mapping[str, Tensor], key: str, title: str) -> None:
    """Check that a checkpoint is of a network by a weight that only this one has.

    Raises
    ------
    InputError
        If it is not.
    """
    if key not in without_prefix(state):
        raise InputError(
            f"The checkpoint lacks `{key}`, so it is not of {title}. Give one that its authors' code saved."
        )


def shape_of(state: Mapping[str, Tensor], key: str, rank: int) -> tuple[int, ...]:
    """Return the shape of an entry that a checkpoint must have.

    Raises
    ------
    InputError
        If it is missing, or of another rank.
    """
    value = without_prefix(state).get(key)
    if value is None:
        raise InputError(f"The checkpoint lacks `{key}`; it is not whole. Copy it again.")
    if value.dim() != rank:
        raise InputError(f"`{key}` of the checkpoint has {value.dim()} axes, not {rank}. It is of another version.")
    return tuple(value.shape)


class Reader:
    """Entries of a checkpoint, each of which must be taken once."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._remaining = without_prefix(state)

    def take(self, key: str) -> Tensor:
        """Return an entry in float64, so that folding loses no accuracy.

        Raises
        ------
        InputError
            If it is missing, or has values that are not finite.
        """
        if key not in self._remaining:
            raise InputError(f"The checkpoint lacks `{key}`; it is not whole. Copy it again.")
        value = self._remaining.pop(key).detach().to("cpu", torch.float64)
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"`{key}` of the checkpoint has values that are not finite. Take an earlier epoch.")
        return value

    def conv(self, name: str) -> tuple[Tensor, Tensor]:
        """Return weight and bias of a convolution, weight normalisation folded: ``w = g v / |v|``."""
        bias = self.take(f"{name}.bias")
        if f"{name}.weight" in self._remaining:
            return self.take(f"{name}.weight"), bias
        gain, direction = self.take(f"{name}.weight_g"), self.take(f"{name}.weight_v")
        length = direction.flatten(1).norm(dim=1).reshape(gain.shape)
        return gain * direction / length, bias

    def has(self, key: str) -> bool:
        """Return whether there is an entry that is not taken yet."""
        return key in self._remaining

    def normalised(self, name: str, norm: str, epsilon: float = 1e-5) -> tuple[Tensor, Tensor]:
        """Return a convolution with the batch normalisation after it, if there is one, folded in.

        `epsilon` is torch's default, which the published code uses.
        """
        weight, bias = self.conv(name)
        if not self.has(f"{norm}.running_var"):
            return weight, bias
        self.take(f"{norm}.num_batches_tracked")
        gain = self.take(f"{norm}.weight") / (self.take(f"{norm}.running_var") + epsilon).sqrt()
        shift = self.take(f"{norm}.bias") - gain * self.take(f"{norm}.running_mean")
        return weight * gain.reshape(-1, 1, 1, 1), bias * gain + shift

    def finish(self) -> None:
        """Check that every entry was taken.

        Raises
        ------
        InputError
            If some were not.
        """
        if self._remaining:
            first = ", ".join(list(self._remaining)[:5])
            raise InputError(
                f"{len(self._remaining)} entries of the checkpoint have no place in the network: {first}. "
                "It is of another version than the published one."
            )


def float32(folded: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return folded weights in float32, checked against the network that they are for.

    Parameters
    ----------
    folded : mapping
        Folded weights by the names of this package.
    network : nn.Module
        May be on the meta device.

    Raises
    ------
    InputError
        If names or shapes are not the network's.
    """
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    actual = {key: tuple(value.shape) for key, value in folded.items()}
    wrong = [f"{k} is {actual.get(k)}, not {wanted.get(k)}" for k in wanted | actual if actual.get(k) != wanted.get(k)]
    if wrong:
        raise InputError(
            f"{len(wrong)} weights of the checkpoint do not fit: {'; '.join(wrong[:3])}. "
            "It is of another version than the published one."
        )
    return {key: value.to(torch.float32).contiguous() for key, value in folded.items()}
