"""How fast the published networks run: time per hr pixel and band, and rate, beside plain convolutions.

Run: python examples/benchmark/networks.py [--sizes 96 192 384 1024] [--device cpu] [--threads N] [--batch 1]

The rate counts the convolutions that are run, as torch counts them, not those that the published code
would run (2.33 MFLOP per hr pixel and band for CoarseNet, 0.40 for CoarSR at ratio 4). The plain stack
is of 3 x 3 convolutions and ReLUs of 64 features on tensors of the same size and type.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dualsr_geo.networks.coarsenet import CoarseNet
from dualsr_geo.networks.coarsr import CoarSR

RATIO, GUIDE_BANDS, WIDTH = 4, 3, 64
LAYERS = 6
# Bands of a tile: fewer of larger ones, so that a run takes seconds.
PIXELS = 2_000_000
LEAST_BANDS = 5
Bands = Callable[[], Iterator[Tensor]]


def cube(size: int, bands: int, batch: int, device: str) -> tuple[Tensor, Tensor]:
    """Return a random scene (tile, band, y, x) and its guide."""
    lr = torch.rand(batch, bands, size // RATIO, size // RATIO, device=device)
    return lr, torch.rand(batch, GUIDE_BANDS, size, size, device=device)


def networks(dtype: torch.dtype, device: str) -> dict[str, Callable[[Tensor, Tensor], Iterator[Tensor]]]:
    """Return the networks' bands by name; `dtype` is what nine tenths of CoarseNet compute in."""
    torch.manual_seed(0)
    coarsenet, coarsr = CoarseNet(RATIO, WIDTH, GUIDE_BANDS).to(device), CoarSR(RATIO, WIDTH).to(device)
    if dtype != torch.float32:
        coarsenet.lowered(dtype)
        coarsr.lowered(dtype)
    return {"CoarseNet": coarsenet.bands, "CoarSR": lambda lr, _: coarsr.bands(lr)}


def plain(dtype: torch.dtype, device: str) -> nn.Sequential:
    """Return the yardstick."""
    layers = [m for _ in range(LAYERS) for m in (nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(inplace=True))]
    return nn.Sequential(*layers).to(device, dtype, memory_format=torch.channels_last)


def seconds(run: Callable[[], object], device: str, repeat: int) -> float:
    """Return the least of several measurements: what else runs on the machine only adds."""
    times = []
    for _ in range(repeat + 1):
        begin = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def flop(bands: Callable[[Tensor, Tensor], Iterator[Tensor]], size: int = 96) -> float:
    """Return the operations of a band after the first, per hr pixel; what is once a tile is left out."""
    done = []
    for count in (LEAST_BANDS, 2 * LEAST_BANDS):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            for _ in bands(*cube(size, count, 1, "cpu")):
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
    parser.add_argument("--repeat", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    work = {name: flop(bands) for name, bands in networks(torch.float32, "cpu").items()}
    for name, operations in work.items():
        print(f"{name}: {operations / 1e6:.3f} MFLOP per hr pixel and band")
    print(
        f"\n{'network':10} {'type':9} {'tile':>5} {'us/px/band':>11} {'GFLOP/s':>8} {'plain':>8} {'share':>6} {'tiles/s':>8}"
    )
    for dtype in (torch.float32, torch.bfloat16):
        for size in asked.sizes:
            row(dtype, size, work, asked)


def row(dtype: torch.dtype, size: int, work: dict[str, float], asked: argparse.Namespace) -> None:
    """Measure one type and size, all networks, and print."""
    device, batch = asked.device, asked.batch
    count = max(LEAST_BANDS, PIXELS // (size**2 * batch))
    lr, guide = cube(size, count, batch, device)
    x = torch.rand(batch, WIDTH, size, size, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    stack = plain(dtype, device)
    area = size**2 * batch
    with torch.inference_mode():
        yardstick = LAYERS * 18 * WIDTH**2 * area / seconds(lambda: stack(x), device, 3 * asked.repeat) / 1e9
        for name, bands in networks(dtype, device).items():
            took = seconds(lambda bands=bands: [None for _ in bands(lr, guide)], device, asked.repeat)
            rate = work[name] * area * count / took / 1e9
            kind = str(dtype).removeprefix("torch.")
            print(
                f"{name:10} {kind:9} {size:5} {took / area / count * 1e6:11.3f} {rate:8.0f} {yardstick:8.0f} "
                f"{rate / yardstick:6.2f} {batch / took:8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
