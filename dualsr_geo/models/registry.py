"""The registry of models: those of the package, of plugins, and of weights files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType

from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.io.storage.names import require_name
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.checkpoint_import import MIN_RATIO
from dualsr_geo.models.definition import Model
from dualsr_geo.models.loading import require_weights
from dualsr_geo.models.methods import BUILT_IN, GROUP, model_names
from dualsr_geo.models.methods.band_network import BandNetworkModel
from dualsr_geo.models.methods.learned import with_own_network
from dualsr_geo.models.weights import PRECISIONS, Card, read_card, weights_of

__all__ = ["load_model", "model_names", "models"]


@cache
def models() -> Mapping[str, Model]:
    """Return all models by name: those of the package, then those of the entry points ``dualsr_geo.models``.

    An entry point has the name of its model. One that cannot be loaded, or whose name is already used, is
    left out with a warning.
    """
    registered = {name: _built_in(place) for name, place in BUILT_IN.items()}
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.value):
        try:
            model = point.load()
        except Exception as error:  # noqa: BLE001  # the other models do not depend on this plugin
            _warn(point, f"cannot be loaded ({type(error).__name__}: {error})")
            continue
        if not isinstance(model, Model) or model.name != point.name:
            _warn(point, f"is {model!r:.60}, no Model of that name")
        elif model.name in registered:
            _warn(point, f"brings `{model.name}`, a name that another model has")
        else:
            registered[model.name] = model
    return MappingProxyType(registered)


def load_model(name: str | os.PathLike[str], *, published: bool = False, precision: str = "float32") -> Model:
    """Return a model by name, or the model of a weights file.

    Parameters
    ----------
    name : str or path
        A name in `models`, or a file of `dualsr-geo train` or `models import`.
    published : bool
        Whether a network reproduces its authors' published code, defects included.
    precision : str
        Floating-point type of a network's convolutions, ``"float32"`` or ``"bfloat16"``.

    Raises
    ------
    OptionError
        If there is no model of that name.
    InputError
        If the file is damaged or of another kind.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"--precision {precision} is not known. Give {' or '.join(PRECISIONS)}.")
    if name in models():
        return models()[str(name)].configured(published=published, precision=precision)
    path = Path(require_name(name, "model", OptionError) if os.fspath(name) else "")
    require_no_special_file(path, "--model")
    if not path.is_file():
        raise OptionError(
            f"There is no model `{name}`, and no file of that name. "
            f"Give --model {', '.join(models())}, or a file of `dualsr-geo train` or `models import`."
        )
    return _of_weights(path, published=published, precision=precision)


def _of_weights(path: Path, *, published: bool, precision: str) -> Model:
    card = read_card(path)
    require_tiling(path, card)
    weights = weights_of(path, published=published, precision=precision)
    require_weights(weights)
    if architecture_of(card.network).standalone:
        return BandNetworkModel.of(path, card, published=published, precision=precision)
    return with_own_network(path, weights, card.licence)


def require_tiling(path: Path, card: Card) -> None:
    """Check that a card's sizes of tiles are those that its network needs: smaller ones leave seams in a product.

    Raises
    ------
    InputError
        If they are not, or a network of one ratio has none.
    """
    architecture = architecture_of(card.network)
    if card.halo < architecture.halo or card.block % architecture.block:
        raise InputError(
            f"The model card of {path} has a halo of {card.halo} and blocks of {card.block} lr pixels; the network "
            f"`{card.network}` needs {architecture.halo} and {architecture.block}. Copy the file again."
        )
    if architecture.standalone and card.ratio < MIN_RATIO:
        raise InputError(
            f"The model card of {path} has the ratio {card.ratio}; the network `{card.network}` has one of {MIN_RATIO} "
            "or more. Copy the file again."
        )


def _built_in(place: str) -> Model:
    module, _, name = place.partition(":")
    model = getattr(import_module(f"dualsr_geo.models.methods.{module}"), name)
    assert isinstance(model, Model)
    return model


def _warn(point: EntryPoint, problem: str) -> None:
    of = f" of {point.dist.name}" if point.dist is not None else ""
    warnings.warn(
        f"The model plugin {point.name}{of} {problem}; it is left out. Repair or uninstall it.",
        DualSRWarning,
        stacklevel=3,
    )
