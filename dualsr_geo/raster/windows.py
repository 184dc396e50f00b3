"""Windows and tiles of a grid, in exact integers.

A scene is divided into tiles. The cores of all tiles partition the scene; a tile is computed from its
core and a halo around it, which is clipped at the edge of the scene, never padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Window:
    """Rows ``y0 <= y < y1`` and columns ``x0 <= x < x1`` of a grid."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices for an array on the same grid."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def scaled(self, ratio: int) -> Window:
        """Return the same extent on a grid with pixels `ratio` times smaller."""
        return Window(self.y0 * ratio, self.y1 * ratio, self.x0 * ratio, self.x1 * ratio)

    def grown(self, margin: int) -> Window:
        """Return the window with `margin` more pixels on every side; it may extend beyond the grid."""
        return Window(self.y0 - margin, self.y1 + margin, self.x0 - margin, self.x1 + margin)

    def moved(self, rows: int, columns: int) -> Window:
        """Return the window moved by that many pixels down and right; it may extend beyond the grid."""
        return Window(self.y0 + rows, self.y1 + rows, self.x0 + columns, self.x1 + columns)

    def clipped(self, shape: tuple[int, int]) -> Window:
        """Return the part of the window that is inside a grid of this shape."""
        height, width = shape
        y0, x0 = min(max(self.y0, 0), height), min(max(self.x0, 0), width)
        return Window(y0, max(y0, min(self.y1, height)), x0, max(x0, min(self.x1, width)))

    def within(self, outer: Window) -> Window:
        """Return this window in the coordinates of an array that covers `outer`."""
        return self.moved(-outer.y0, -outer.x0)


@dataclass(frozen=True, slots=True)
class Tile:
    """A piece of a scene, in lr pixels.

    Attributes
    ----------
    index : int
        Its place in row-major order.
    core : Window
        The part of the product that it gives; the cores of all tiles partition the scene.
    padded : Window
        The core and its halo, clipped at the edge of the scene.
    """

    index: int
    core: Window
    padded: Window


@dataclass(frozen=True)
class Tiling:
    """A scene of `shape` (y, x) divided into tiles of `size` lr pixels with `halo` around each."""

    shape: tuple[int, int]
    size: int
    halo: int

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.shape[0] // self.size), -(-self.shape[1] // self.size)

    def __len__(self) -> int:
        return self.grid[0] * self.grid[1]

    def __getitem__(self, index: int) -> Tile:
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        row, column = divmod(index, self.grid[1])
        y0, x0 = row * self.size, column * self.size
        core = Window(y0, y0 + self.size, x0, x0 + self.size).clipped(self.shape)
        return Tile(index, core, core.grown(self.halo).clipped(self.shape))

    def __iter__(self) -> Iterator[Tile]:
        return (self[i] for i in range(len(self)))
