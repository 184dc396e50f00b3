"""Choose crops of a scene that differ from each other, so that a fit covers the scene's variety."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.raster.windows import Window


def choose(cubes: Sequence[Tensor], side: int, count: int) -> list[tuple[int, Window]]:
    """Choose crops by farthest-point sampling: each differs most from those before.

    Parameters
    ----------
    cubes : sequence of Tensor, shape (band, y, x)
        Windows of one scene; NaN where it has no value.
    side : int
        Side of a crop, lr pixels; less where a window is smaller.
    count : int
        Largest number of crops.

    Returns
    -------
    list of (int, Window)
        Index of the cube, and window in it, the crop with the largest contrast first. Crops do not overlap, and
        contain valid pixels only.
    """
    places = [(i, w) for i, cube in enumerate(cubes) for w in _grid((cube.shape[1], cube.shape[2]), side)]
    described = [(place, _features(cubes[place[0]][(slice(None), *place[1].slices)])) for place in places]
    candidates = [(place, f) for place, f in described if f is not None]
    if not candidates:
        return []
    features = np.stack([f for _, f in candidates])
    features /= np.maximum(features.std(0), 1e-12)
    return [candidates[k][0] for k in _farthest(features, count)]


def _grid(shape: tuple[int, int], side: int) -> list[Window]:
    """Return as many crops as fit into a window, spread evenly over it."""
    (height, width), starts = (min(side, n) for n in shape), []
    for length, size in zip(shape, (height, width), strict=True):
        fit = length // size
        starts.append([(2 * i + 1) * (length - fit * size) // (2 * fit) + i * size for i in range(fit)])
    return [Window(y, y + height, x, x + width) for y in starts[0] for x in starts[1]]


def _features(cube: Tensor) -> NDArray[np.float64] | None:
    """Return the means of a crop's bands and their standard deviations; None where a pixel is missing."""
    if not bool(torch.isfinite(cube).all()):
        return None
    flat = cube.flatten(1).double()
    return torch.cat([flat.mean(1), flat.std(1, correction=0)]).numpy()


def _farthest(features: NDArray[np.float64], count: int) -> list[int]:
    """Return indices of crops, each the farthest from those before; the first has the largest contrast."""
    first = int(features[:, features.shape[1] // 2 :].sum(1).argmax())
    chosen, distance = [first], ((features - features[first]) ** 2).sum(1)
    while len(chosen) < min(count, len(features)):
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((features - features[chosen[-1]]) ** 2).sum(1))
    return chosen
