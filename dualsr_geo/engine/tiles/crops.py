"""Crops of a scene that are unlike each other: what is fitted on them has seen the scene's variety."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.raster.windows import Window


def choose(cubes: Sequence[Tensor], side: int, count: int) -> list[tuple[int, Window]]:
    """Choose crops by farthest points: each is as unlike those before it as there is.

    Parameters
    ----------
    cubes : sequence of Tensor, shape (band, y, x)
        Windows of one scene; NaN where nothing is.
    side : int
        Of a crop, lr pixels; less where a window is smaller.
    count : int
        Most crops.

    Returns
    -------
    list of (int, Window)
        Which cube, and where in it; the most varied crop first. Pixels of two crops never coincide.
        None of a cube without valid pixels.
    """
    places = [(i, w) for i, cube in enumerate(cubes) for w in _grid((cube.shape[1], cube.shape[2]), side)]
    looks = [_look(cubes[i][(slice(None), *w.slices)]) for i, w in places]
    seen = [k for k, look in enumerate(looks) if look is not None]
    if not seen:
        return []
    features = np.stack([look for look in looks if look is not None])
    features /= np.maximum(features.std(0), 1e-12)
    return [places[seen[k]] for k in _farthest(features, count)]


def _grid(shape: tuple[int, int], side: int) -> list[Window]:
    """Return the whole crops that fit into a window, spread evenly over it."""
    (height, width), starts = (min(side, n) for n in shape), []
    for length, size in zip(shape, (height, width), strict=True):
        fit = length // size
        starts.append([(2 * i + 1) * (length - fit * size) // (2 * fit) + i * size for i in range(fit)])
    return [Window(y, y + height, x, x + width) for y in starts[0] for x in starts[1]]


def _look(cube: Tensor) -> NDArray[np.float64] | None:
    """Return what a crop looks like: the mean and the spread of its bands; None where a pixel is missing."""
    if not bool(torch.isfinite(cube).all()):
        return None
    flat = cube.flatten(1).double()
    return torch.cat([flat.mean(1), flat.std(1, correction=0)]).numpy()


def _farthest(features: NDArray[np.float64], count: int) -> list[int]:
    first = int(features[:, features.shape[1] // 2 :].sum(1).argmax())
    chosen, distance = [first], ((features - features[first]) ** 2).sum(1)
    while len(chosen) < min(count, len(features)):
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((features - features[chosen[-1]]) ** 2).sum(1))
    return chosen
