"""What our own networks add to the training-free start of one window.

Where the guide is, the guided network corrects the mixture of candidates; where it is not, the
other one adds the detail that interpolation lacks. Both correct a few anchors, and the scene's own
linear relations carry that to all bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualsr_geo import alone, guided
from dualsr_geo.anchors import Anchors
from dualsr_geo.coarse import Added
from dualsr_geo.degrade import Psf
from dualsr_geo.fine import Consistency
from dualsr_geo.terms import Terms
from dualsr_geo.tile import Window
from dualsr_geo.trained import guided_network, lone_network


@dataclass(frozen=True)
class Correction:
    """How our networks correct a scene; part of the survey.

    Attributes
    ----------
    guided : Terms or None
        Where the guide is; None without one.
    alone : Known
        Where it is not.
    """

    guided: Terms | None
    alone: alone.Known

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; `from_json` is its exact inverse."""
        return {"guided": self.guided and self.guided.to_json(), "alone": self.alone.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Correction:
        """Read what `to_json` wrote."""
        told = value["guided"]
        return cls(None if told is None else Terms.from_json(told), alone.Known.from_json(value["alone"]))


def halo() -> int:
    """Return the lr pixels of context that leave less than 1e-6 of the data range."""
    return max(guided.HALO, alone.reach(lone_network("cpu")))


def added(
    known: Correction, window: guided.Window | None, seen: Tensor, psf: Psf, plain: Consistency, core: Window
) -> tuple[Added, ...]:
    """Return what is added to the start of a window's core.

    Parameters
    ----------
    known : Correction
    window : guided.Window or None
        The start where a guide is; None without one.
    seen : Tensor, shape (band, y, x)
        The filled lr window, as `alone.observed` gives it.
    psf : Psf
    plain : Consistency
        The closed form of bands, without ridges.
    core : Window
        hr pixels, in the window's own coordinates.
    """
    blend = None if window is None else window.guided.guide.blend
    made: list[tuple[Tensor, Anchors]] = []
    if window is not None and known.guided is not None and known.guided.share > 0:
        network = guided_network(seen.device.type)
        made.append((guided.correct(network, window, known.guided), known.guided.anchors))
    if window is None or blend is not None:
        made.append((_alone(known.alone, seen, psf, plain, blend), known.alone.anchors))
    rows, columns = core.slices
    return tuple(
        Added(planes[:, rows, columns].flatten(1), torch.from_numpy(a.spread).to(planes)) for planes, a in made
    )


def _alone(known: alone.Known, seen: Tensor, psf: Psf, plain: Consistency, blend: Tensor | None) -> Tensor:
    """Return the correction of the anchors without a guide, faded out where there is one."""
    network = lone_network(seen.device.type)
    made = alone.correct(network, seen, known.levels, known.anchors.bands, psf, plain)
    return made if blend is None else alone.null(made * (1 - blend), plain)
