"""Local steps of a network on a large tile, piece by piece in reused memory, which is faster on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dualsr_geo.raster.windows import Tiling

# Side of a piece, output pixels: 64 features of float32 are 9 MiB. Larger tensors leave the cache, and their
# memory is mapped and unmapped each time: an addition took 20 times as long per pixel at 384 x 384 as at 96 x 96.
PIECE_SIDE_PX = 192

# Size of the block that raises glibc's mmap threshold to its maximum, 32 MiB, less glibc's own header.
FREED_BLOCK_BYTES = 31 << 20

Step = Callable[..., tuple[Tensor, ...]]


class Workspace:
    """Runs local steps on a tile, piece by piece if it is large, and reuses the memory of their outputs.

    The outputs of a step are overwritten by the next step of the same name, unless gradients are enabled.
    """

    def __init__(self) -> None:
        self._outputs: dict[str, tuple[Tensor, ...]] = {}
        keep_freed_memory()

    def run(
        self, name: str, step: Step, reach: int, *inputs: Tensor, ratio: int = 1, side: int = PIECE_SIDE_PX
    ) -> tuple[Tensor, ...]:
        """Apply a step to a tile; the result does not depend on the pieces.

        Parameters
        ----------
        name : str
            Key of the output's memory; no input may be an output of this name.
        step : callable
            Takes tensors (tile, feature, y, x) and returns a tuple of such, `ratio` times finer.
        reach : int
            Pixels of its inputs around one that a step reads.
        *inputs : Tensor, shape (tile, feature, y, x)
            All of the same tile, y, x.
        ratio : int
            Of the outputs to the inputs.
        side : int
            Largest side of a piece, pixels of the outputs.

        Returns
        -------
        tuple of Tensor, shape (tile, feature, ratio * y, ratio * x)
        """
        tiles, _, height, width = inputs[0].shape
        if not inputs[0].is_cpu or tiles * height * width * ratio**2 <= side**2:
            return step(*inputs)
        outputs: tuple[Tensor, ...] = ()
        for k in range(tiles):
            for piece in Tiling((height, width), _equal_side(max(height, width), max(1, side // ratio)), reach):
                results = step(*(x[k : k + 1, :, *piece.padded.slices] for x in inputs))
                outputs = outputs or self._memory(name, results, (tiles, height * ratio, width * ratio))
                core = piece.core.scaled(ratio).slices
                inner = piece.core.within(piece.padded).scaled(ratio).slices
                for output, part in zip(outputs, results, strict=True):
                    output[k, :, *core] = part[0, :, *inner]
        return outputs

    def _memory(self, name: str, results: tuple[Tensor, ...], shape: tuple[int, int, int]) -> tuple[Tensor, ...]:
        """Return uninitialised outputs for results of these features and dtypes, those of the last call if they fit."""
        tiles, height, width = shape
        layout = [((tiles, part.shape[1], height, width), part.dtype) for part in results]
        outputs = self._outputs.get(name, ())
        if torch.is_grad_enabled() or [(o.shape, o.dtype) for o in outputs] != layout:
            outputs = tuple(torch.empty(s, dtype=d, memory_format=torch.channels_last) for s, d in layout)
        self._outputs[name] = outputs
        return outputs


def _equal_side(length: int, max_side: int) -> int:
    """Return the side of pieces of equal size, none longer than `max_side`."""
    return -(-length // -(-length // max_side))


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next allocation.

    glibc maps a large block for each allocation, and its pages one by one at their first use, until
    a block of that size has been freed once (mallopt(3), M_MMAP_THRESHOLD). With another C library
    this has no effect.
    """
    torch.empty(FREED_BLOCK_BYTES, dtype=torch.uint8)
