"""Speed of the published networks: time per hr pixel and band, and rate, compared with plain convolutions.

Run: python examples/benchmark/networks.py [--sizes 96 192 384 1024] [--device cpu] [--threads N] [--batch 1]
     [--processor-time]

The rate counts the products of a tile of that size, as torch counts them, not those that the
published code would run (2.33 MFLOP per hr pixel and band for CoarseNet, 0.40 for CoarSR at ratio 4), nor
repeated work where pieces of a tile meet. The plain stack is of 3 x 3 convolutions and ReLUs of 64
features on tensors of the same size and type. The stack and the networks run alternately, and the minimum of each
counts, since other processes only add time. The first band is left out where it includes work that is done
once a tile.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dualsr_geo.models.networks.coarsenet import CoarseNet
from dualsr_geo.models.networks.coarsr import CoarSR

RATIO, GUIDE_BANDS, WIDTH = 4, 3, 64
LAYERS = 6
# Of a turn: fewer bands of larger tiles, so that a run takes seconds.
PIXELS = 400_000
LEAST_BANDS = 5


def cube(size: int, bands: int, batch: int, device: str) -> tuple[Tensor, Tensor]:
    """Return a random scene (tile, band, y, x) and its guide."""
    lr = torch.rand(batch, bands, size // RATIO, size // RATIO, device=device)
    return lr, torch.rand(batch, GUIDE_BANDS, size, size, device=device)


def networks(dtype: torch.dtype, device: str) -> dict[str, Callable[[Tensor, Tensor], Iterator[Tensor]]]:
    """Return the networks' bands by name; nine tenths of CoarseNet compute in `dtype`."""
    torch.manual_seed(0)
    coarsenet, coarsr = CoarseNet(RATIO, WIDTH, GUIDE_BANDS).to(device), CoarSR(RATIO, WIDTH).to(device)
    if dtype != torch.float32:
        coarsenet.lowered(dtype)
        coarsr.lowered(dtype)
    return {"CoarseNet": coarsenet.bands, "CoarSR": lambda lr, _: coarsr.bands(lr)}


def plain(dtype: torch.dtype, device: str) -> nn.Sequential:
    """Return the stack of plain convolutions."""
    layers = [m for _ in range(LAYERS) for m in (nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(inplace=True))]
    stack = nn.Sequential(*layers).to(device, dtype)
    return stack.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # torch types it for tensors only


def clock(device: str, *, processor: bool) -> float:
    """Return the time when all queued work is done, seconds."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.process_time() if processor else time.perf_counter()


@dataclass(frozen=True)
class Turn:
    """The plain stack or a network; `skipped` of its `count` outputs are made before the clock starts."""

    start: Callable[[], Iterator[Tensor]]
    count: int = 1
    skipped: int = 0

    def seconds(self, now: Callable[[], float]) -> float:
        """Return the time of an output."""
        begin = now()
        for i, _ in enumerate(self.start()):
            if i + 1 == self.skipped:
                begin = now()
        return (now() - begin) / (self.count - self.skipped)


def flop(bands: Callable[[Tensor, Tensor], Iterator[Tensor]], size: int) -> float:
    """Return the operations of a band after the first, per hr pixel, without work that is done once a tile."""
    done: list[int] = []
    for count in (LEAST_BANDS, 2 * LEAST_BANDS):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            for _ in bands(*cube(size, count, 1, "meta")):
                pass
        done.append(counter.get_total_flops())
    return (done[1] - done[0]) / LEAST_BANDS / size**2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 192, 384, 1024])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--processor-time", action="store_true", help="for one thread on a machine with neighbours")
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--pixels", type=int, default=PIXELS, help="hr pixels of all bands of a turn, at least")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{'network':10} {'type':9} {'tile':>5} {'us/px/band':>11} {'MFLOP':>6} {'GFLOP/s':>8} {'plain':>8} {'share':>6} "
        f"{'tiles/s':>8}"
    )
    for dtype in (torch.float32, torch.bfloat16):
        for size in arguments.sizes:
            rows(dtype, size, arguments)


def rows(dtype: torch.dtype, size: int, arguments: argparse.Namespace) -> None:
    """Measure one type and size, all networks, and print."""
    device, batch = arguments.device, arguments.batch
    count = max(LEAST_BANDS, arguments.pixels // (size**2 * batch))
    lr, guide = cube(size, count, batch, device)
    x = torch.rand(batch, WIDTH, size, size, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    stack = plain(dtype, device)
    work = {name: flop(bands, size) for name, bands in networks(torch.float32, "meta").items()}
    turns = {"plain": Turn(lambda: iter([stack(x)]))}
    for name, bands in networks(dtype, device).items():
        # CoarSR computes several bands together, before the first is there.
        turns[name] = Turn(partial(bands, lr, guide), count, int(name == "CoarseNet"))
    with torch.inference_mode():
        took = in_turn(turns, partial(clock, device, processor=arguments.processor_time), arguments.repeat)
    area = size**2 * batch
    yardstick = LAYERS * 18 * WIDTH**2 * area / took["plain"] / 1e9
    for name, operations in work.items():
        rate = operations * area / took[name] / 1e9
        print(
            f"{name:10} {str(dtype).removeprefix('torch.'):9} {size:5} {took[name] / area * 1e6:11.3f} "
            f"{operations / 1e6:6.3f} {rate:8.0f} {yardstick:8.0f} {rate / yardstick:6.2f} "
            f"{batch / took[name] / count:8.2f}",
            flush=True,
        )


def in_turn(turns: dict[str, Turn], now: Callable[[], float], repeat: int) -> dict[str, float]:
    """Return the minimum time of each, seconds."""
    measured = [{name: turn.seconds(now) for name, turn in turns.items()} for _ in range(repeat)]
    return {name: min(m[name] for m in measured) for name in turns}


if __name__ == "__main__":
    main()
