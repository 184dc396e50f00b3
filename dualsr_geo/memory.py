"""How large a tile may be, and how many at once: what the machine has, or `--max-memory`."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from dualsr_geo.errors import OptionError

# Python with torch, rasterio and zarr loaded, and zarr's and GDAL's own buffers.
BASE_BYTES = 500 * 2**20
# Cores that are tried, lr pixels: 128 costs a third for its halo, 32 more than the core itself.
TILES = (128, 96, 64, 48, 32, 24, 16)
SMALLEST_TILE = 8
COMFORTABLE_TILE = 64
# Components are at most this many for all but the noisiest scenes; more only cost memory.
TYPICAL_COMPONENTS = 64
CLUSTER_FEATURES = 14
DEFAULT_SHARE = 0.5


class _Asked(Protocol):
    @property
    def tile(self) -> int | None: ...
    @property
    def jobs(self) -> int | None: ...
    @property
    def max_memory(self) -> int | None: ...


@dataclass(frozen=True)
class Sizes:
    """Tile side (lr pixels), tiles at once, and the bytes that this is estimated to need."""

    tile: int
    jobs: int
    bytes: int


def sizes(shape: tuple[int, int], bands: int, guide_bands: int, ratio: int, halo: int, asked: _Asked) -> Sizes:
    """Choose the tile and the number of tiles at once.

    Raises
    ------
    OptionError
        If not even the smallest tile fits.
    """
    limit = asked.max_memory or int(psutil.virtual_memory().total * DEFAULT_SHARE)
    jobs = asked.jobs or cores()

    def need(tile: int, count: int) -> int:
        return BASE_BYTES + count * tile_bytes(shape, tile, bands, guide_bands, ratio, halo)

    candidates = [asked.tile] if asked.tile else list(TILES)
    for count in (jobs, 1):
        fitting = [t for t in candidates if need(t, count) <= limit]
        large_enough = [t for t in fitting if t >= COMFORTABLE_TILE] if count > 1 else fitting
        chosen = (large_enough or (fitting if asked.tile else []))[:1]
        if chosen:
            return Sizes(chosen[0], count, need(chosen[0], count))
    least = need(candidates[-1], 1)
    raise OptionError(
        f"--max-memory {limit / 2**20:.0f} MiB is too little for a tile of {candidates[-1]} lr pixels and "
        f"{bands} bands, which needs {least / 2**20:.0f} MiB. Give --max-memory {least / 2**20:.0f}MiB or more"
        + (", or a smaller --tile." if asked.tile else ".")
    )


def tile_bytes(shape: tuple[int, int], tile: int, bands: int, guide_bands: int, ratio: int, halo: int) -> int:
    """Estimate the memory of one tile at work, bytes."""
    rows, columns = (min(n, tile + 2 * halo) for n in shape)
    padded = rows * columns
    core = min(tile, shape[0]) * min(tile, shape[1]) * ratio**2
    features = CLUSTER_FEATURES * (guide_bands + 1) + 4 * guide_bands + 1 if guide_bands else 0
    planes = features + min(bands, TYPICAL_COMPONENTS) + 24
    return 4 * (padded * ratio**2 * planes + padded * bands * 5 + core * 16 * 5)


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak() -> int:
    """Return the peak resident memory of this process, bytes."""
    # Linux carries ru_maxrss over from the process that started this one; VmHWM is our own.
    status = Path("/proc/self/status")
    if status.exists():
        line = next((v for v in status.read_text().splitlines() if v.startswith("VmHWM")), None)
        if line is not None:
            return int(line.split()[1]) * 1024
    # macOS counts in bytes, others in KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Let `peak` begin anew, where the system allows it (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def device(asked: str) -> str:
    """Return the torch device to use.

    Raises
    ------
    OptionError
        If CUDA is asked for and there is none.
    """
    import torch  # noqa: PLC0415  # slow; the plan does not need it

    if asked not in ("auto", "cpu", "cuda"):
        raise OptionError(f"--device {asked} is not known. Give auto, cpu or cuda.")
    found = torch.cuda.is_available()
    if asked == "cuda" and not found:
        raise OptionError("--device cuda was asked for, but torch sees no GPU here. Give --device cpu.")
    return "cuda" if found and asked != "cpu" else "cpu"
