"""Sharpen hyperspectral and multispectral scenes on their map grid, guided by a sharper image or unguided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

from dualsr_geo.version import __version__

if TYPE_CHECKING:
    from dualsr_geo.batching.batch import batch
    from dualsr_geo.degradation.psf import Psf
    from dualsr_geo.engine.degrade_raster import degrade
    from dualsr_geo.engine.on_the_fly.sharpen_chunk import sharpen_chunk
    from dualsr_geo.engine.on_the_fly.sharpen_window import sharpen_window
    from dualsr_geo.engine.on_the_fly.stored_survey import StoredSurvey
    from dualsr_geo.engine.on_the_fly.survey import survey
    from dualsr_geo.engine.options import Options
    from dualsr_geo.engine.upscale import upscale
    from dualsr_geo.errors import DualSRError, DualSRWarning
    from dualsr_geo.evaluation.evaluate import evaluate, score_product
    from dualsr_geo.evaluation.guide_check import check_guide
    from dualsr_geo.evaluation.reproduction import reproduce
    from dualsr_geo.io.scenes import Scene, open_scene
    from dualsr_geo.models.cards.export import export_models
    from dualsr_geo.models.loading import load_model
    from dualsr_geo.training.function import train

__all__ = [
    "DualSRError",
    "DualSRWarning",
    "Options",
    "Psf",
    "Scene",
    "StoredSurvey",
    "__version__",
    "batch",
    "check_guide",
    "degrade",
    "evaluate",
    "export_models",
    "load_model",
    "open_scene",
    "reproduce",
    "score_product",
    "sharpen_chunk",
    "sharpen_window",
    "survey",
    "train",
    "upscale",
]

# The modules that define the public names; they are imported on first use, so that this module loads quickly.
_MODULES = {
    "DualSRError": "errors",
    "DualSRWarning": "errors",
    "Options": "engine.options",
    "Psf": "degradation.psf",
    "Scene": "io.scenes",
    "StoredSurvey": "engine.on_the_fly.stored_survey",
    "batch": "batching.batch",
    "check_guide": "evaluation.guide_check",
    "degrade": "engine.degrade_raster",
    "evaluate": "evaluation.evaluate",
    "export_models": "models.cards.export",
    "load_model": "models.loading",
    "open_scene": "io.scenes",
    "reproduce": "evaluation.reproduction",
    "score_product": "evaluation.evaluate",
    "sharpen_chunk": "engine.on_the_fly.sharpen_chunk",
    "sharpen_window": "engine.on_the_fly.sharpen_window",
    "survey": "engine.on_the_fly.survey",
    "train": "training.function",
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
