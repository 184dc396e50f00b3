"""How a large tile goes through a network on a CPU: piece by piece, in memory that stays."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dualsr_geo.raster.windows import Tiling

# Side of a piece: 64 features of float32 are 9 MiB then. Larger tensors leave the cache, and the
# memory of each is mapped anew and given back, which made an addition 20 times dearer a pixel at
# 384 x 384 than at 96 x 96.
PIECE = 192

# The most that glibc takes for the threshold below, less what it needs itself.
KEPT_BYTES = 31 << 20

Step = Callable[..., tuple[Tensor, ...]]


class Workspace:
    """Runs local steps on a tile, piece by piece where it is large, and keeps their outputs' memory.

    What a step returned is overwritten by the next step of the same name, unless gradients are wanted.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Tensor, ...]] = {}
        keep_freed()

    def run(
        self, name: str, step: Step, reach: int, *inputs: Tensor, ratio: int = 1, side: int = PIECE
    ) -> tuple[Tensor, ...]:
        """Apply a step; the result is that of the whole tile at once.

        Parameters
        ----------
        name : str
            Whose memory to use again; no input may have been made under it.
        step : callable
            Takes tensors (tile, feature, y, x), returns a tuple of such, `ratio` times finer.
        reach : int
            How many pixels of its inputs it sees around one.
        *inputs : Tensor, shape (tile, feature, y, x)
            All of the same tile, y, x.
        ratio : int
            Of the outputs to the inputs.
        side : int
            Largest side of a piece in pixels of the outputs.

        Returns
        -------
        tuple of Tensor, shape (tile, feature, ratio * y, ratio * x)
        """
        tiles, _, height, width = inputs[0].shape
        if not inputs[0].is_cpu or tiles * height * width * ratio**2 <= side**2:
            return step(*inputs)
        outputs: tuple[Tensor, ...] = ()
        for k in range(tiles):
            for piece in Tiling((height, width), _even(max(height, width), max(1, side // ratio)), reach):
                made = step(*(x[k : k + 1, :, *piece.padded.slices] for x in inputs))
                outputs = outputs or self._memory(name, made, (tiles, height * ratio, width * ratio))
                core = piece.core.scaled(ratio).slices
                inner = piece.core.within(piece.padded).scaled(ratio).slices
                for output, part in zip(outputs, made, strict=True):
                    output[k, :, *core] = part[0, :, *inner]
        return outputs

    def _memory(self, name: str, made: tuple[Tensor, ...], shape: tuple[int, int, int]) -> tuple[Tensor, ...]:
        tiles, height, width = shape
        wanted = [((tiles, part.shape[1], height, width), part.dtype) for part in made]
        kept = self._kept.get(name, ())
        if torch.is_grad_enabled() or [(k.shape, k.dtype) for k in kept] != wanted:
            kept = tuple(torch.empty(s, dtype=d, memory_format=torch.channels_last) for s, d in wanted)
        self._kept[name] = kept
        return kept


def _even(length: int, most: int) -> int:
    """Return the side of equal pieces of a length, none longer than `most`."""
    return -(-length // -(-length // most))


def keep_freed() -> None:
    """Have the C library keep memory that is given back for what is asked for next.

    glibc maps a large block anew each time, and its pages one by one as they are touched, until a
    block of that size was once given back (mallopt(3), M_MMAP_THRESHOLD). Elsewhere this does nothing.
    """
    torch.empty(KEPT_BYTES, dtype=torch.uint8)
