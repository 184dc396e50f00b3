"""Sharpen hyperspectral and multispectral scenes on their map grid, guided by a sharper image or unguided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

from dualsr_geo.version import __version__

if TYPE_CHECKING:
    from dualsr_geo.degradation.psf import Psf
    from dualsr_geo.engine.options import Options
    from dualsr_geo.engine.upscale import upscale
    from dualsr_geo.errors import DualSRError, DualSRWarning
    from dualsr_geo.io.scenes import Scene, open_scene
    from dualsr_geo.models.loading import load_model

__all__ = [
    "DualSRError",
    "DualSRWarning",
    "Options",
    "Psf",
    "Scene",
    "__version__",
    "load_model",
    "open_scene",
    "upscale",
]

# The modules that define the public names; they are imported on first use, so that this module loads quickly.
_MODULES = {
    "DualSRError": "errors",
    "DualSRWarning": "errors",
    "Options": "engine.options",
    "Psf": "degradation.psf",
    "Scene": "io.scenes",
    "load_model": "models.loading",
    "open_scene": "io.scenes",
    "upscale": "engine.upscale",
}


@wrapt.when_imported("xarray")
def _register(_: object) -> None:
    """Register `.dualsr` when xarray is imported; `dualsr-geo --help` does not wait for that import."""
    from dualsr_geo import accessor  # noqa: F401, PLC0415


def __getattr__(name: str) -> Any:  # whatever the module defines
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
