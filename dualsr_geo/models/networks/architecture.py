"""Architecture of a network: what a registry must know to recognise, build and tile it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from dualsr_geo.models.networks.alba import Lead
from dualsr_geo.models.networks.published_checkpoint import PublishedCheckpoint
from dualsr_geo.models.weights import Card


@dataclass(frozen=True)
class Architecture:
    """A kind of network. A module of `dualsr_geo.models.networks` defines one as ``ARCHITECTURE``.

    Attributes
    ----------
    id : str
        Its name in model cards.
    build : callable
        (card, tensors, published) -> the network with these weights. `published`: compute what the
        authors' published code computes rather than what their paper describes.
    planes : callable
        (width, ratio) -> planes of float32 on the hr grid that a tile keeps for it.
    halo : int
        lr pixels of context of a tile.
    seam : float
        Largest difference between tiled and whole that the halo leaves, share of the data range.
    block : int
        lr pixels; tiles are multiples of this.
    guided : bool
        Whether it reads a guide.
    min_bands : int
        Fewest bands of a scene.
    standalone : bool
        Whether it is a `BandNetwork`, which sharpens a scene by itself. Else it corrects the
        training-free estimate.
    checkpoint : PublishedCheckpoint, optional
        How its authors save its weights.
    """

    id: str
    build: Callable[[Card, Mapping[str, Tensor], bool], nn.Module]
    planes: Callable[[int, int], int]
    halo: int
    seam: float = 0.0
    block: int = 1
    guided: bool = False
    min_bands: int = 1
    standalone: bool = True
    checkpoint: PublishedCheckpoint | None = None

    def card(self, ratio: int, width: int, **fields: Any) -> Card:
        """Return the card of weights of this architecture; `fields` are further fields of `Card`."""
        return Card(self.id, ratio, width, block=self.block, halo=self.halo, seam=self.seam, **fields)


class BandNetwork(nn.Module, ABC):
    """A network that sharpens a scene by itself, one band after another."""

    @abstractmethod
    def stream(self, cube: Tensor, guide: Tensor | None = None, lead: Lead | None = None) -> Iterator[Tensor]:
        """Yield the bands of a window, each of shape (ratio * y, ratio * x).

        Parameters
        ----------
        cube : Tensor of float32, shape (band, y, x)
            Values 0..1 where the weights are published ones.
        guide : Tensor of float32, shape (guide band, ratio * y, ratio * x), optional
        lead : (int, int), optional
            hr pixels (y, x) of the first blocks that are before the window, `alba.lead_at`; by
            default the window is a whole scene.

        Raises
        ------
        InputError
            If there are too few bands, or guide and weights do not fit.
        """

    @abstractmethod
    def lowered(self, dtype: torch.dtype = torch.bfloat16) -> Self:
        """Compute most of the work in `dtype`, and return the network."""
