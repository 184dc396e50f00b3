"""How large a tile may be, and how many at once: what the machine has, or `--max-memory`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import psutil

from dualsr_geo.errors import OptionError
from dualsr_geo.resources import cores

# Python with torch, rasterio and zarr loaded, and zarr's and GDAL's own buffers.
BASE_BYTES = 500 * 2**20
# Cores that are tried, lr pixels: 128 costs a third for its halo, 32 more than the core itself.
TILES = (128, 96, 64, 48, 32, 24, 16)
SMALLEST_TILE = 8
LARGEST_TILE = 512
# Of our own networks, whose tiles hold ten times as much; 192 and 128 cost 8 and 26 % more for their halos.
LARGEST_OWN_TILE = 256
COMFORTABLE_TILE = 64
# Components are at most this many for all but the noisiest scenes; more only cost memory.
TYPICAL_COMPONENTS = 64
CLUSTER_FEATURES = 14
# What uncertainty keeps of the candidates: products of eight components; and bands at work.
CANDIDATE_PLANES, DOUBT_PLANES = 36, 64
DEFAULT_SHARE = 0.5


class _Asked(Protocol):
    @property
    def tile(self) -> int | None: ...
    @property
    def jobs(self) -> int | None: ...
    @property
    def max_memory(self) -> int | None: ...


@dataclass(frozen=True)
class MemoryRequirement:
    """What a tile's memory depends on beside its side.

    Attributes
    ----------
    bands, guide_bands : int
    ratio : int
    halo : int
        lr pixels.
    block : int
        lr pixels that a tile is a multiple of.
    features : int
        Planes of float32 on the hr grid that a network keeps.
    published : bool
        Whether it is a published network: no spectral components.
    uncertainty : bool
        Whether errors are told of, too.
    """

    bands: int
    guide_bands: int
    ratio: int
    halo: int
    block: int = 1
    features: int = 0
    published: bool = False
    uncertainty: bool = False


@dataclass(frozen=True)
class TileSizes:
    """Tile side (lr pixels), tiles at once, and the bytes that this is estimated to need."""

    tile: int
    jobs: int
    bytes: int


@dataclass(frozen=True)
class WorkerCapacity:
    """What each worker of a cluster offers.

    Attributes
    ----------
    threads : int
        Tiles that a worker runs at once; only whoever starts it can change that.
    bytes : int or None
        Of memory; None where the smallest worker has no limit.
    device : str
        torch's.
    """

    threads: int
    bytes: int | None
    device: str


def choose_sizes(
    shape: tuple[int, int], need: MemoryRequirement, asked: _Asked, room: WorkerCapacity | None = None
) -> TileSizes:
    """Choose the tile and the number of tiles at once, of this process or of each worker.

    Raises
    ------
    OptionError
        If not even the smallest tile fits, or the one asked for cuts blocks.
    """
    if asked.tile is not None and asked.tile % need.block:
        below = asked.tile // need.block * need.block
        raise OptionError(
            f"--tile {asked.tile} is no whole number of the network's blocks of {need.block} lr pixels. "
            f"Give {below} or {below + need.block}."
        )
    limit = asked.max_memory or int(psutil.virtual_memory().total * DEFAULT_SHARE)
    jobs = asked.jobs or cores()
    if room is not None:
        # A worker's limit holds whatever is asked for; without one nothing is known but this machine.
        limit, jobs = min(asked.max_memory or room.bytes or limit, room.bytes or limit), room.threads

    def total(tile: int, count: int) -> int:
        return BASE_BYTES + count * tile_bytes(shape, tile, need)

    for count in (jobs, 1) if room is None else (jobs,):
        candidates = [asked.tile] if asked.tile else _candidates(shape, need, count)
        fitting = [t for t in candidates if total(t, count) <= limit]
        fewer = count > 1 and room is None and not need.features
        large_enough = [t for t in fitting if t >= COMFORTABLE_TILE] if fewer else fitting
        chosen = (large_enough or (fitting if asked.tile else []))[:1]
        if chosen:
            return TileSizes(chosen[0], count, total(chosen[0], count))
    smallest = min(candidates)
    if room is not None:
        least = total(smallest, jobs)
        raise OptionError(
            f"A worker may use {limit / 2**20:.0f} MiB, too little for {jobs} tiles of {smallest} lr pixels and "
            f"{need.bands} bands at once, which need {least / 2**20:.0f} MiB. Start workers with fewer --nthreads or "
            "a larger --memory-limit" + (", or give a smaller --tile." if asked.tile else ".")
        )
    least = total(smallest, 1)
    raise OptionError(
        f"--max-memory {limit / 2**20:.0f} MiB is too little for a tile of {smallest} lr pixels and "
        f"{need.bands} bands, which needs {least / 2**20:.0f} MiB. Give --max-memory {least / 2**20:.0f}MiB or more"
        + (", or a smaller --tile." if asked.tile else ".")
    )


def _candidates(shape: tuple[int, int], need: MemoryRequirement, jobs: int) -> list[int]:
    """Return the tiles to try, the best first.

    A network's halo is dear and its tiles are slow, so the scene is cut evenly, and in no more
    pieces than keep all jobs busy.
    """
    if not need.features:
        return list(TILES)
    longest, largest = max(shape), LARGEST_TILE if need.published else LARGEST_OWN_TILE
    pieces = range(-(-longest // largest), longest // TILES[-1] + 2)
    even = {-(-longest // (n * need.block)) * need.block for n in pieces}

    def effort(tile: int) -> float:
        counts = [-(-n // tile) for n in shape]
        seen = [
            sum(min(n, (i + 1) * tile + need.halo) - max(0, i * tile - need.halo) for i in range(k))
            for n, k in zip(shape, counts, strict=True)
        ]
        rounds = -(-counts[0] * counts[1] // jobs) * jobs
        return seen[0] * seen[1] * rounds / (counts[0] * counts[1])

    return sorted(even, key=lambda tile: (effort(tile), -tile))


def tile_bytes(shape: tuple[int, int], tile: int, need: MemoryRequirement) -> int:
    """Estimate the memory of one tile at work, bytes."""
    rows, columns = (min(n, tile + 2 * need.halo) for n in shape)
    padded = rows * columns
    core = min(tile, shape[0]) * min(tile, shape[1]) * need.ratio**2
    guides = need.guide_bands
    clusters = CLUSTER_FEATURES * (guides + 1) + 4 * guides + 1 if guides and not need.published else 0
    components = 0 if need.published else min(need.bands, TYPICAL_COMPONENTS)
    planes = clusters + components + need.features + 24
    # Of the core and two lr pixels around it.
    marked = 2 * components + DOUBT_PLANES + (CANDIDATE_PLANES if guides else 0)
    marks = need.uncertainty * marked * math.prod(min(n, tile + 4) for n in shape)
    return 4 * ((padded * planes + marks) * need.ratio**2 + padded * need.bands * 5 + core * 16 * 5)
