"""What the work directory of a run has to hold, and which of its tiles are intact when the run is resumed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import zarr
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from dualsr_geo.io.storage.work_directory.directory import WorkDirectory
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.raster.windows import Tiling

# Keys of a mark: the index of its tile, the checksums of its chunks by key, and the statistics.
TILE, CHUNKS, STATISTICS = "tile", "chunks", "statistics"


def array_documents(spec: OutputSpec) -> dict[str, bytes]:
    """Return the ``zarr.json`` of the group and of its arrays, by key."""
    objects: dict[str, Buffer] = {}
    group = zarr.open_group(MemoryStore(objects), mode="w", zarr_format=3)
    for variable in spec.variables:
        group.create_array(
            variable.name,
            shape=variable.shape,
            chunks=variable.chunks,
            dtype=variable.packing.dtype,
            fill_value=variable.fill,
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
            dimension_names=("band", "y", "x"),
        )
    return {key: value.to_bytes() for key, value in objects.items()}


def has_structure(content: bytes | None, expected: bytes) -> bool:
    """Return whether a document describes the same array or group; attributes are added when a run ends."""
    try:
        return content is not None and _structure(content) == _structure(expected)
    except (ValueError, AttributeError, RecursionError):
        return False


def _structure(document: bytes) -> dict[str, Any]:
    return {k: v for k, v in json.loads(document).items() if k not in ("attributes", "consolidated_metadata")}


def chunk_keys(spec: OutputSpec, index: int) -> list[str]:
    """Return the keys of all chunks of a tile, which shares them with no other."""
    core = Tiling(spec.shape[1:], spec.tile, 0)[index].core
    spans = ((0, spec.shape[0]), (core.y0, core.y1), (core.x0, core.x1))
    numbers = [range(a // step, -(-b // step)) for (a, b), step in zip(spans, spec.chunks, strict=True)]
    places = list(itertools.product(*numbers))
    return [f"{v.name}/c/{b}/{y}/{x}" for v in spec.variables for b, y, x in places]


def is_intact(work: WorkDirectory, spec: OutputSpec, index: int, mark: Mapping[str, Any] | None) -> bool:
    """Return whether a mark is that of its tile, and all chunks of the tile are as they were written."""
    if mark is None or mark.get(TILE) != index or not index < spec.tiles:
        return False
    chunks = mark.get(CHUNKS)
    keys = chunk_keys(spec, index)
    return isinstance(chunks, dict) and sorted(chunks) == sorted(keys) and work.checksums(keys) == chunks


def damaged_tiles(work: WorkDirectory, spec: OutputSpec) -> list[int]:
    """Return the tiles that are marked as finished, but are not intact."""
    return [i for i, mark in work.marks().items() if not is_intact(work, spec, i, mark)]


def restore_documents(work: WorkDirectory, spec: OutputSpec) -> int:
    """Write the documents of the arrays that are missing or describe something else; return their number."""
    expected = array_documents(spec)
    wrong = [key for key, content in expected.items() if not has_structure(work.metadata(key), content)]
    for key in wrong:
        work.put_metadata(key, expected[key])
    return len(wrong)
