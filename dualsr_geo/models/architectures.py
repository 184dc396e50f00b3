"""Registry of network architectures: one for each module of `models/networks` that defines ``ARCHITECTURE``."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from torch import Tensor

from dualsr_geo.errors import InputError
from dualsr_geo.models import networks
from dualsr_geo.models.networks.architecture import Architecture
from dualsr_geo.models.networks.published_checkpoint import without_prefix


def architectures() -> Mapping[str, Architecture]:
    """Return all architectures by id."""
    return MappingProxyType(_registry())


def register(architecture: Architecture) -> None:
    """Add an architecture from outside the package.

    Raises
    ------
    ValueError
        If another architecture has its id.
    """
    if architecture.id in _registry():
        raise ValueError(f"There is an architecture `{architecture.id}` already. Give another id.")
    _registry()[architecture.id] = architecture


def architecture_of(network: str) -> Architecture:
    """Return the architecture of an id, as model cards give it.

    Raises
    ------
    InputError
        If there is none.
    """
    if network not in _registry():
        raise InputError(f"There is no network `{network}`. Give weights of {' or '.join(_registry())}.")
    return _registry()[network]


def recognise(state: Mapping[str, Tensor]) -> Architecture:
    """Return the architecture of a checkpoint in its authors' layout.

    Raises
    ------
    InputError
        If it is of none known here.
    """
    published = [a for a in _registry().values() if a.checkpoint is not None]
    for architecture in published:
        assert architecture.checkpoint is not None
        if architecture.checkpoint.matches(state):
            return architecture
    first = ", ".join(list(without_prefix(state))[:3]) or "nothing"
    titles = ", ".join(a.checkpoint.title for a in published if a.checkpoint is not None)
    raise InputError(
        f"The checkpoint is of no network known here: it begins with {first} (of {len(state)} entries). "
        f"Give one of {titles}, as their authors' code saves it."
    )


@cache
def _registry() -> dict[str, Architecture]:
    modules = [import_module(f"{networks.__name__}.{m.name}") for m in pkgutil.iter_modules(networks.__path__)]
    built_in: list[Architecture] = [m.ARCHITECTURE for m in modules if hasattr(m, "ARCHITECTURE")]
    return {architecture.id: architecture for architecture in built_in}
