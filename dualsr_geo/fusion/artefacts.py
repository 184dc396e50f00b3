"""Artefacts of a product that need no reference: a lattice of the scene's pixels, and overshoot.

Both are measured on one plane, the mean over the bands (32 evenly spaced ones at most). The steps between neighbouring hr pixels are as large, on
average, at each position within a lr pixel, unless the product repeats something with the scene's pixels. So in
windows of 8 x 8 lr px, whose steps are divided by their mean, the steps are summed up by their position in two lr
pixels. The variance of the sums over the positions, less what independent windows give by chance, is the square of
the *lattice*: 0 if all positions have equal steps, about 0.6 if every other lr pixel repeats the one before. It is
the test of Gallagher (2005, Detection of linear and cubic interpolation in JPEG compressed images), on first
differences, which show the imprint of the scene's pixels and hardly that of smooth interpolation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# Side of the windows whose steps are divided by their mean, lr pixels.
WINDOW_LR = 8
# Fewest windows that tell a lattice; on fewer the figure is chance.
MIN_WINDOWS = 16
# Widening of the neighbours' range to either side, relative to that range, within which a value is no overshoot.
OVERSHOOT_MARGIN = 0.25
# Most bands whose mean is measured; all of 200 would cost 3.5 % of a tile's time.
MAX_BANDS = 32


@dataclass(frozen=True)
class ArtefactSums:
    """Sums over one plane of a tile, which add up over tiles.

    Attributes
    ----------
    windows : int
        Number of windows with steps.
    steps : array, shape (axis, 2 * ratio)
        Sum over the windows of the relative size of the steps at each position, 1 on average; empty without windows.
    squares : float
        Sum of their squares over windows, axes and positions.
    pixels, beyond : int
        Numbers of valid hr pixels, and of those beyond the range of the lr pixels around them.
    """

    windows: int = 0
    steps: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 0)))
    squares: float = 0.0
    pixels: int = 0
    beyond: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return a mapping that JSON can hold."""
        return {
            "windows": self.windows,
            "steps": self.steps.tolist(),
            "squares": self.squares,
            "pixels": self.pixels,
            "beyond": self.beyond,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ArtefactSums:
        """Return what `to_json` wrote."""
        return cls(**{**value, "steps": np.asarray(value["steps"], np.float64)})

    @property
    def lattice(self) -> float | None:
        """Root mean square modulation of the steps over the positions, less chance; None with too few windows."""
        return mean_lattice([self])

    @property
    def modulation(self) -> float:
        """Variance of the steps over the positions, less chance, which may be negative; needs two windows."""
        mean = self.steps / self.windows
        variance = (self.squares / mean.size - (mean**2).mean() * self.windows) / (self.windows - 1)
        return float(((mean - 1) ** 2).mean() - variance / self.windows)

    @property
    def overshoot(self) -> float | None:
        """Share of the pixels beyond the range of their neighbours, 0..1; None without pixels."""
        return self.beyond / self.pixels if self.pixels else None


def mean_lattice(sums: Sequence[ArtefactSums]) -> float | None:
    """Return the lattice of separate planes whose first pixels may be at different positions within two lr pixels.

    None if they have too few windows in all.
    """
    used = [s for s in sums if s.windows > 1]
    windows = sum(s.windows for s in used)
    if windows < MIN_WINDOWS:
        return None
    return float(np.sqrt(max(0.0, sum(s.windows * s.modulation for s in used) / windows)))


def measured_bands(used: Sequence[int]) -> tuple[int, ...]:
    """Return the bands whose mean is measured: the used ones, or some of them, evenly spaced."""
    return tuple(used[:: -(-len(used) // MAX_BANDS)])


def total(sums: Iterable[ArtefactSums]) -> ArtefactSums:
    """Add up the sums of all tiles."""
    each = list(sums)
    steps = [s.steps for s in each if s.windows]
    return ArtefactSums(
        sum(s.windows for s in each),
        np.sum(steps, axis=0) if steps else np.zeros((2, 0)),
        float(sum(s.squares for s in each)),
        sum(s.pixels for s in each),
        sum(s.beyond for s in each),
    )


def measure(
    plane: torch.Tensor,
    scene: torch.Tensor,
    valid: NDArray[np.bool_],
    core: tuple[slice, slice],
    origin: tuple[int, int],
) -> ArtefactSums:
    """Measure the artefacts of a plane.

    Parameters
    ----------
    plane : Tensor, shape (ratio * y, ratio * x)
        The core of the sharpened plane.
    scene : Tensor, shape (y', x')
        The lr plane of the padded window, without NaN.
    valid : array of bool, shape (y, x)
        Pixels of the core that have values.
    core : (slice, slice)
        Rows and columns of the core in the window.
    origin : (int, int)
        First row and column of the core in the scene, lr pixels.
    """
    pixels, beyond = _overshoot(plane, scene, valid, core, plane.shape[0] // valid.shape[0])
    return replace(measure_steps(plane, valid, origin), pixels=pixels, beyond=beyond)


def measure_steps(plane: torch.Tensor, valid: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> ArtefactSums:
    """Measure the steps of a plane, without its overshoot; see `measure`."""
    shares = _relative_steps(plane, valid, origin, plane.shape[0] // valid.shape[0])
    return ArtefactSums(len(shares), shares.sum(0), float((shares**2).sum())) if len(shares) else ArtefactSums()


def _relative_steps(
    plane: torch.Tensor, valid: NDArray[np.bool_], origin: tuple[int, int], ratio: int
) -> NDArray[np.float64]:
    """Return the relative steps of each window, (window, axis, position)."""
    # A pair of lr pixels begins at an even row and column of the scene; the first hr pixel of the core has no step.
    first = [2 - n % 2 for n in origin]
    counts = [(n - at) // WINDOW_LR for n, at in zip(valid.shape, first, strict=True)]
    if min(counts) < 1:
        return np.zeros((0, 2, 2 * ratio))
    low_y, low_x = (at * ratio for at in first)
    high_y, high_x = (at * ratio + n * WINDOW_LR * ratio for at, n in zip(first, counts, strict=True))
    inside = plane[low_y:high_y, low_x:high_x]
    down = (inside - plane[low_y - 1 : high_y - 1, low_x:high_x]).abs()
    right = (inside - plane[low_y:high_y, low_x - 1 : high_x - 1]).abs()
    parts = torch.stack([_by_position(down.T, counts[::-1], ratio).transpose(0, 1), _by_position(right, counts, ratio)])
    sums = parts.flatten(1, 2).transpose(0, 1).numpy(force=True).astype(np.float64)
    mean = sums.mean(2)
    used = _whole(valid, first, counts) & (mean > 0).all(1)
    shares: NDArray[np.float64] = sums[used] / mean[used][..., None]
    return shares


def _by_position(steps: torch.Tensor, counts: list[int], ratio: int) -> torch.Tensor:
    """Sum steps along x over each window by their position in two lr pixels, (window row, window column, position)."""
    side = WINDOW_LR * ratio
    return steps.reshape(counts[0], side, counts[1], WINDOW_LR // 2, 2 * ratio).sum((1, 3))


def _whole(valid: NDArray[np.bool_], first: list[int], counts: list[int]) -> NDArray[np.bool_]:
    """Return which windows have no hole, (window,)."""
    rows, columns = (slice(at, at + n * WINDOW_LR) for at, n in zip(first, counts, strict=True))
    cells = valid[rows, columns].reshape(counts[0], WINDOW_LR, counts[1], WINDOW_LR)
    whole: NDArray[np.bool_] = cells.all((1, 3)).ravel()
    return whole


def _overshoot(
    plane: torch.Tensor, scene: torch.Tensor, valid: NDArray[np.bool_], core: tuple[slice, slice], ratio: int
) -> tuple[int, int]:
    """Return the number of valid hr pixels, and of those beyond the widened range of 3 x 3 lr pixels."""
    high = torch.nn.functional.max_pool2d(scene[None], 3, 1, 1)[0][core]
    low = -torch.nn.functional.max_pool2d(-scene[None], 3, 1, 1)[0][core]
    margin = OVERSHOOT_MARGIN * (high - low)
    cells = plane.view(len(valid), ratio, -1, ratio)
    beyond = (cells > (high + margin)[:, None, :, None]) | (cells < (low - margin)[:, None, :, None])
    counted = beyond & torch.from_numpy(valid).to(plane.device)[:, None, :, None]
    return int(valid.sum()) * ratio**2, int(torch.count_nonzero(counted))
