"""Store that the tiles of a run are written to, and from which its output is written.

Its work directory, ``<path>.part``, is the checkpoint of the run. It is removed when the output is in its
place. That of a Zarr group for an object store is in the store, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from dualsr_geo.errors import OutputError, TileError
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.work_directory import MARKS, RECORD, VALUES, WorkDirectory
from dualsr_geo.io.writers.creation_options import require_options
from dualsr_geo.io.writers.disk_space import disk_full_errors
from dualsr_geo.io.writers.geotiff import make_tiff
from dualsr_geo.io.writers.geozarr import write_geozarr_metadata
from dualsr_geo.io.writers.output_records import PROVENANCE, fingerprint, full_identity, require_same_run
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import plain_values


@dataclass(frozen=True)
class TileStore:
    """Store of the tiles of an output until it is finished; picklable.

    Attributes
    ----------
    spec : OutputSpec
        The output.
    """

    spec: OutputSpec

    @classmethod
    def begin(cls, spec: OutputSpec, identity: Mapping[str, object], *, resume: bool, overwrite: bool) -> TileStore:
        """Start a run, or continue an interrupted one.

        Parameters
        ----------
        spec : OutputSpec
        identity : mapping
            Everything that decides the values: inputs, model, options. JSON.
        resume : bool
            Continue in the work directory of the same identity if it exists.
        overwrite : bool
            Replace an existing output once the new one is finished.

        Raises
        ------
        OutputError
            If the output exists and `overwrite` is False, or cannot be written there.
        OptionError
            If a creation option is unknown, or the format takes none.
        ResumeError
            If the interrupted run had another identity.
        """
        store, destination = cls(spec), spec.destination
        destination.roll_back()
        destination.require_free(overwrite=overwrite)
        require_options(spec)
        destination.require_writable()
        with disk_full_errors(destination):
            work = store._work
            if resume and work.has(RECORD):
                require_same_run(spec, store.record()["identity"], full_identity(spec, identity))
                work.remove_partial_files()
            else:
                work.remove()
                work.create()
                work.put(RECORD, {"identity": full_identity(spec, identity)})
            # Not a part of the identity: an output in another format keeps the tiles.
            store.remember("fingerprint", fingerprint(spec, identity))
            store._create_arrays()
        return store

    def record(self) -> dict[str, Any]:
        """Return the record of the run: ``"identity"`` of `begin`, and the keys of `remember`."""
        return self._work.read(RECORD)

    def remember(self, key: str, value: object) -> None:
        """Add a JSON value to the record of the run, atomically."""
        with disk_full_errors(self.spec.destination):
            self._work.put(RECORD, {**self.record(), key: value})

    def file(self, name: str) -> AbstractContextManager[Path]:
        """Return a context with the path of a file of the work directory; a file that is written there is kept."""
        return self._work.file(name)

    def abandon(self) -> None:
        """Remove the work directory of a run that has nothing to resume."""
        self._work.remove()

    def band_ranges(self) -> tuple[slice, ...]:
        """Return the blocks of bands in which a tile is to be written."""
        count, step = self.spec.shape[0], self.spec.chunks[0]
        return tuple(slice(b, min(b + step, count)) for b in range(0, count, step))

    def write(self, window: Window, bands: slice, values: NDArray[Any]) -> None:
        """Store a part of the output.

        Parameters
        ----------
        window : Window
            On the target grid.
        bands : slice
            One of `band_ranges`, or several that follow each other; beyond the bands of the output
            those of their standard deviations.
        values : array, shape (band, y, x)
            Packed, in the dtype of the output.

        Raises
        ------
        ValueError
            If the region does not end on borders of chunks or of the array, or does not match the
            values. Two writers that share a chunk would overwrite each other.
        OutputError
            If the disk is full, or the object store refuses or goes away.
        """
        count, dtype = self.spec.shape[0], self.spec.packing.dtype
        start, stop, _ = bands.indices(count * len(self.spec.variables))
        variable, first = divmod(start, count)
        region = (slice(first, stop - variable * count), *window.slices)
        self._require_whole_chunks(region)
        expected = tuple(s.stop - s.start for s in region)
        if values.shape != expected or values.dtype != dtype:
            raise ValueError(f"values are {values.dtype} {values.shape}, the region holds {dtype} {expected}")
        with self._errors():
            self._arrays("r+")[variable][region] = values

    def mark(self, index: int, stats: Mapping[str, object]) -> None:
        """Mark a tile as finished, atomically; only after all its writes returned."""
        with disk_full_errors(self.spec.destination):
            self._work.put(f"{MARKS}/{index}.json", plain_values(stats))

    def done(self) -> dict[int, dict[str, Any]]:
        """Return the statistics of the finished tiles by index."""
        return self._work.marks()

    def finish(self, provenance: Mapping[str, object], survey: Mapping[str, object] | None) -> None:
        """Write the output, put it in its place at once, and remove the work directory.

        Parameters
        ----------
        provenance : mapping
            Software, model, parameters; JSON. The fingerprint of the run is added.
        survey : mapping or None
            The survey of the scene; JSON.

        Raises
        ------
        TileError
            If tiles are missing.
        OutputError
            If the disk is full, GDAL refuses an option, or the object store refuses or goes away; the
            finished tiles are kept.
        """
        self._require_all_tiles()
        fingerprint = self.record()["fingerprint"]
        records = plain_values({PROVENANCE: {**provenance, "fingerprint": fingerprint}, "survey": survey})
        destination = self.spec.destination
        with self._errors():
            if self.spec.format == "Zarr":
                write_geozarr_metadata(self._work.values(), self.spec, records)
                destination.put_group()
            else:
                destination.put_file(make_tiff(self.spec.stacked, StackedArrays(self._arrays("r")), records))
            self._work.remove()

    def _require_all_tiles(self) -> None:
        missing = sorted(set(range(self.spec.tiles)) - set(self.done()))
        if missing:
            raise TileError(
                f"{len(missing)} of {self.spec.tiles} tiles are not finished, the first is tile "
                f"{missing[0]}. Run again with --resume."
            )

    @property
    def _work(self) -> WorkDirectory:
        return self.spec.destination.work_directory

    def _arrays(self, mode: str) -> list[Any]:
        """Open the arrays of the values, and of the standard deviations where they are stored."""
        values = self._work.values()
        return [zarr.open_array(values, path=v.name, mode=mode, zarr_format=3) for v in self.spec.variables]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise the errors of a full disk and of an object store as ours."""
        with disk_full_errors(self.spec.destination), store_errors_as(OutputError, self.spec.path):
            yield

    def _create_arrays(self) -> None:
        """Create the arrays unless they exist; marks without an array mean nothing."""
        if all(self._work.has(f"{VALUES}/{v.name}/zarr.json") for v in self.spec.variables):
            return
        self._work.remove_marks()
        group = zarr.open_group(self._work.values(), mode="w", zarr_format=3)
        for variable in self.spec.variables:
            group.create_array(
                variable.name,
                shape=variable.shape,
                chunks=variable.chunks,
                dtype=variable.packing.dtype,
                fill_value=variable.fill,
                compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
                dimension_names=("band", "y", "x"),
            )

    def _require_whole_chunks(self, region: tuple[slice, ...]) -> None:
        axes = zip(("bands", "rows", "columns"), region, self.spec.shape, self.spec.chunks, strict=True)
        for axis, part, size, chunk in axes:
            inside = 0 <= part.start < part.stop <= size
            if not inside or part.start % chunk or (part.stop % chunk and part.stop != size):
                raise ValueError(
                    f"{axis} {part.start}:{part.stop} of {size} do not end on chunk borders, which are {chunk} apart"
                )


@dataclass(frozen=True)
class StackedArrays:
    """Arrays of the same shape (band, y, x), read as one whose bands follow each other."""

    arrays: Sequence[Any]

    def __getitem__(self, region: tuple[slice, slice, slice]) -> NDArray[Any]:
        """Return some bands, rows and columns."""
        bands, rows, columns = region
        count = self.arrays[0].shape[0]
        parts = []
        for i, array in enumerate(self.arrays):
            first, last = max(bands.start - i * count, 0), min(bands.stop - i * count, count)
            if first < last:
                parts.append(array[first:last, rows, columns])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
