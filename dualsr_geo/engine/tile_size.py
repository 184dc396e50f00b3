"""The side of a tile and the number of tiles at once, within the memory of the machine or `--max-memory`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import psutil

from dualsr_geo.errors import OptionError
from dualsr_geo.io.readers.blocks.decoded import limit_bytes_for
from dualsr_geo.resources import cores

# Python with torch, rasterio and zarr loaded, and the buffers of zarr and GDAL.
BASE_BYTES = 500 * 2**20
# Sides of a core that are tried, lr pixels: the halo costs a third of a core of 128, and more than a core of 32.
TILE_SIDES = (128, 96, 64, 48, 32, 24, 16)
MIN_TILE_SIDE = 8
# Of a larger tile not even one band fits a memory of 64 GiB.
MAX_TILE_SIDE = 65536
MAX_NETWORK_TILE_SIDE = 512
# Our own networks keep ten times as much a tile; sides of 192 and 128 cost 8 and 26 % more for their halos.
MAX_OWN_TILE_SIDE = 256
# Divisions of a side that are tried; more make no difference to the cost of a scene that is so large.
MAX_PIECES = 10**5
# Smaller tiles are not made to run more of them at once: their halos cost more than the cores bring.
MIN_PARALLEL_TILE_SIDE = 64
# Most scenes have no more spectral components than this; noisier ones only take more memory.
TYPICAL_COMPONENTS = 64
# Planes of the local regression for each guide band, and one more.
REGRESSION_PLANES = 14
# Planes that the uncertainty keeps of the candidates (products of eight components), and bands in progress.
CANDIDATE_PLANES, UNCERTAINTY_PLANES = 36, 64
# Planes of every other kind in progress.
OTHER_PLANES = 24
DEFAULT_MEMORY_SHARE = 0.5
MIB = 2**20


class SizeOptions(Protocol):
    """The options that decide tile sizes; `Options` has them."""

    @property
    def tile(self) -> int | None:
        """Side of a tile's core, lr pixels."""
        ...

    @property
    def jobs(self) -> int | None:
        """Tiles at once."""
        ...

    @property
    def max_memory(self) -> int | None:
        """Bytes."""
        ...


@dataclass(frozen=True)
class MemoryRequirement:
    """What the memory of a tile depends on, besides its side.

    Attributes
    ----------
    bands, guide_bands : int
    ratio : int
    halo : int
        lr pixels.
    block : int
        lr pixels; the side of a tile is a multiple of this.
    network_planes : int
        Planes of float32 on the hr grid that a network keeps.
    streams_bands : bool
        Whether the model is a network that runs band by band, without spectral components.
    uncertainty : bool
        Whether standard deviations are computed, too.
    block_row : int
        Bytes of a row of JPEG 2000 blocks of all inputs, which are kept decoded.
    """

    bands: int
    guide_bands: int
    ratio: int
    halo: int
    block: int = 1
    network_planes: int = 0
    streams_bands: bool = False
    uncertainty: bool = False
    block_row: int = 0


@dataclass(frozen=True)
class TileSizes:
    """Side of a tile (lr pixels), tiles at once, and in bytes the estimated memory and that for decoded blocks."""

    tile: int
    jobs: int
    bytes: int
    blocks: int = 0


@dataclass(frozen=True)
class WorkerCapacity:
    """What each worker of a cluster offers.

    Attributes
    ----------
    threads : int
        Tiles that a worker runs at once; the run cannot change it.
    bytes : int or None
        Memory; None if the smallest worker has no limit.
    device : str
        Torch device.
    """

    threads: int
    bytes: int | None
    device: str


def choose_sizes(
    shape: tuple[int, int],
    requirement: MemoryRequirement,
    options: SizeOptions,
    capacity: WorkerCapacity | None = None,
) -> TileSizes:
    """Choose the side of a tile and the number of tiles at once, of this process or of each worker.

    The first tile that fits is taken. In this process one tile at a time is tried before tiles so
    small that their halos cost more than running several at once brings.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    requirement : MemoryRequirement
    options : SizeOptions
    capacity : WorkerCapacity, optional
        The workers that run the tiles; this process if left out.

    Raises
    ------
    OptionError
        If not even the smallest tile fits, or the requested tile cuts blocks.
    """
    _require_whole_blocks(options.tile, requirement.block)
    limit, jobs = _budget(options, capacity)
    blocks = limit_bytes_for(requirement.block_row, limit) if capacity is None else 0
    # Rather smaller tiles than blocks that are decoded again for each of them.
    for reserved in dict.fromkeys((blocks, 0)):
        for count in (jobs, 1) if capacity is None else (jobs,):
            may_run_fewer = count > 1 and capacity is None
            for sizes in _candidates(shape, requirement, options.tile, count, may_run_fewer=may_run_fewer):
                if sizes.bytes + reserved <= limit:
                    return replace(sizes, bytes=sizes.bytes + reserved, blocks=reserved)
    count = 1 if capacity is None else jobs
    smallest = min(_candidates(shape, requirement, options.tile, count), key=lambda sizes: sizes.tile)
    raise _too_little_memory(limit, smallest, requirement, tile=options.tile, on_workers=capacity is not None)


def _require_whole_blocks(tile: int | None, block: int) -> None:
    if tile is None or tile % block == 0:
        return
    below = tile // block * block
    raise OptionError(
        f"--tile {tile} is no whole number of the network's blocks of {block} lr pixels. "
        f"Give {below} or {below + block}."
    )


def _budget(options: SizeOptions, capacity: WorkerCapacity | None) -> tuple[int, int]:
    """Return the memory limit in bytes and the tiles at once."""
    of_workers = None if capacity is None else capacity.bytes
    limit = options.max_memory or of_workers or int(psutil.virtual_memory().total * DEFAULT_MEMORY_SHARE)
    if capacity is None:
        return limit, options.jobs or cores()
    # No option raises the limit of a worker.
    return min(limit, of_workers or limit), capacity.threads


def _candidates(
    shape: tuple[int, int],
    requirement: MemoryRequirement,
    tile: int | None,
    jobs: int,
    *,
    may_run_fewer: bool = False,
) -> Iterator[TileSizes]:
    """Yield the sizes to try, the best first; only the requested tile if there is one."""
    if tile is not None:
        sides = [tile]
    elif requirement.network_planes:
        sides = _network_sides(shape, requirement, jobs)
    else:
        sides = [side for side in TILE_SIDES if side >= MIN_PARALLEL_TILE_SIDE or not may_run_fewer]
    for side in sides:
        yield TileSizes(side, jobs, BASE_BYTES + jobs * tile_bytes(shape, side, requirement))


def _too_little_memory(
    limit: int, smallest: TileSizes, requirement: MemoryRequirement, *, tile: int | None, on_workers: bool
) -> OptionError:
    side, jobs, least = smallest.tile, smallest.jobs, smallest.bytes / MIB
    if on_workers:
        return OptionError(
            f"A worker may use {limit / MIB:.0f} MiB, too little for {jobs} tiles of {side} lr pixels and "
            f"{requirement.bands} bands at once, which need {least:.0f} MiB. Start workers with fewer --nthreads or "
            "a larger --memory-limit" + (", or give a smaller --tile." if tile else ".")
        )
    return OptionError(
        f"--max-memory {limit / MIB:.0f} MiB is too little for a tile of {side} lr pixels and "
        f"{requirement.bands} bands, which needs {least:.0f} MiB. Give --max-memory {least:.0f}MiB or more"
        + (", or a smaller --tile." if tile else ".")
    )


def _network_sides(shape: tuple[int, int], requirement: MemoryRequirement, jobs: int) -> list[int]:
    """Return the sides to try for a network, the best first.

    The halo of a network is wide and its tiles are slow, so the scene is cut evenly, and in no more
    pieces than keep all jobs busy.
    """
    longest, block = max(shape), requirement.block
    largest = MAX_NETWORK_TILE_SIDE if requirement.streams_bands else MAX_OWN_TILE_SIDE
    fewest = -(-longest // largest)
    pieces = range(fewest, min(longest // TILE_SIDES[-1] + 2, fewest + MAX_PIECES))
    sides = {-(-longest // (n * block)) * block for n in pieces}
    return sorted(sides, key=lambda side: (_effort(shape, side, requirement.halo, jobs), -side))


def _effort(shape: tuple[int, int], side: int, halo: int, jobs: int) -> float:
    """Return the cost of a run: the pixels of all tiles with their halos, and of jobs that idle in the last round."""
    counts = [-(-length // side) for length in shape]
    padded = [
        sum(min(length, (i + 1) * side + halo) - max(0, i * side - halo) for i in range(count))
        for length, count in zip(shape, counts, strict=True)
    ]
    tiles = counts[0] * counts[1]
    return padded[0] * padded[1] * (-(-tiles // jobs) * jobs) / tiles


def tile_bytes(shape: tuple[int, int], tile: int, requirement: MemoryRequirement) -> int:
    """Estimate the memory of one tile in progress, bytes."""
    r = requirement
    padded = math.prod(min(length, tile + 2 * r.halo) for length in shape)
    core = min(tile, shape[0]) * min(tile, shape[1]) * r.ratio**2
    components = 0 if r.streams_bands else min(r.bands, TYPICAL_COMPONENTS)
    planes = _regression_planes(r) + components + r.network_planes + OTHER_PLANES
    predictors = _uncertainty_planes(r, components) * math.prod(min(length, tile + 4) for length in shape)
    return 4 * ((padded * planes + predictors) * r.ratio**2 + padded * r.bands * 5 + core * 16 * 5)


def _regression_planes(requirement: MemoryRequirement) -> int:
    """Return how many planes the regressions on the guide keep."""
    guides = requirement.guide_bands
    if not guides or requirement.streams_bands:
        return 0
    return REGRESSION_PLANES * (guides + 1) + 4 * guides + 1


def _uncertainty_planes(requirement: MemoryRequirement, components: int) -> int:
    """Return how many planes the uncertainty keeps of the core and two lr pixels around it."""
    if not requirement.uncertainty:
        return 0
    return 2 * components + UNCERTAINTY_PLANES + (CANDIDATE_PLANES if requirement.guide_bands else 0)
