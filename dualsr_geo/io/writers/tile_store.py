"""Store that the tiles of a run are written to, and from which its output is written.

Its work directory, ``<path>.part``, is the checkpoint of the run. It is removed when the output is in its
place. That of a Zarr group for an object store is in the store, too. A run holds the lock of its destination
(`Destination.locked`) from before `begin` until after `finish`; workers that write tiles need none.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from dualsr_geo.errors import DualSRWarning, OutputError, ResumeError, TileError
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.work_directory.checksums import checksum
from dualsr_geo.io.storage.work_directory.directory import MARKS, RECORD, WorkDirectory
from dualsr_geo.io.writers import netcdf
from dualsr_geo.io.writers.creation_options import require_options
from dualsr_geo.io.writers.disk_space import disk_errors
from dualsr_geo.io.writers.geotiff import make_tiff, require_possible
from dualsr_geo.io.writers.geozarr import write_geozarr_metadata
from dualsr_geo.io.writers.multiscales.overviews import write_overviews
from dualsr_geo.io.writers.output_records import PROVENANCE, fingerprint, full_identity, require_same_run
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.io.writers.stored_values import (
    CHUNKS,
    STATISTICS,
    TILE,
    chunk_keys,
    damaged_tiles,
    has_no_empty_chunk,
    restore_documents,
)
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import plain_values

# Key of the record with the checksums of the files of `TileStore.file`.
FILES = "files"


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
            If the interrupted run had another identity, or its record is damaged.

        Warns
        -----
        DualSRWarning
            If finished tiles of the interrupted run are damaged; they are computed again.
        """
        store, destination = cls(spec), spec.destination
        destination.roll_back()
        for place in spec.destinations:
            place.require_free(overwrite=overwrite)
        require_options(spec)
        require_possible(spec)
        destination.require_writable()
        with disk_errors(spec):
            work = store._work
            if resume and work.has(RECORD):
                require_same_run(spec, store.record().get("identity", {}), full_identity(spec, identity))
                work.remove_partial_files()
                store._redo_damaged()
            else:
                work.remove()
                work.create()
                work.put(RECORD, {"identity": full_identity(spec, identity)})
                work.remove_marks()
            # Not a part of the identity: an output in another format keeps the tiles.
            store.remember("fingerprint", fingerprint(spec, identity))
            restore_documents(work, spec)
        return store

    def record(self) -> dict[str, Any]:
        """Return the record of the run: ``"identity"`` of `begin`, and the keys of `remember`."""
        return self._work.read(RECORD)

    def remember(self, key: str, value: object) -> None:
        """Add a JSON value to the record of the run, atomically."""
        with disk_errors(self.spec):
            self._work.put(RECORD, {**self.record(), key: value})

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Return a context with the path of a file of the work directory; a file that is written there is kept.

        A file that is not as it was written does not exist in the context.
        """
        files = self.record().get(FILES, {})
        with self._work.file(name) as path:
            intact = path.exists() and checksum(path.read_bytes()) == files.get(name)
            if name in files and not intact:
                self._warn(f"{name} is damaged or missing and is made again.")
            if not intact:
                path.unlink(missing_ok=True)
            yield path
            if path.exists() and not intact:
                self.remember(FILES, {**files, name: checksum(path.read_bytes())})

    def abandon(self) -> None:
        """Remove the work directory of a run that has nothing to resume."""
        self._work.remove()

    def remove_leftovers(self, identity: Mapping[str, object]) -> None:
        """Remove the work directory of the run whose output is in its place, if it was killed while it did so itself."""
        spec, work = self.spec, self._work
        with suppress(OutputError, ResumeError):
            if not spec.destination.has_leftovers():
                return
            if work.has(RECORD) and self.record().get("fingerprint") != fingerprint(spec, identity):
                return
            with spec.destination.locked():
                work.remove()

    def band_ranges(self) -> tuple[slice, ...]:
        """Return the blocks of bands in which a tile is to be written."""
        count, step = self.spec.shape[0], self.spec.chunks[0]
        return tuple(slice(b, min(b + step, count)) for b in range(0, count, step))

    def write(self, window: Window, bands: slice, values: NDArray[Any]) -> dict[str, int | None]:
        """Store a part of the output, and wait until the disk or the store has it.

        Parameters
        ----------
        window : Window
            On the target grid.
        bands : slice
            One of `band_ranges`, or several that follow each other; beyond the bands of the output
            those of their standard deviations.
        values : array, shape (band, y, x)
            Packed, in the dtype of the output.

        Returns
        -------
        dict of str to int or None
            The checksums of the chunks by key, for `mark`; None for a chunk of nothing but the fill value.

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
            store = self._work.checked_values()
            written = self.spec.variables[variable]
            # Zarr compares every value of a chunk with the fill value, unless it may write empty chunks as well.
            array = zarr.open_array(store, path=written.name, mode="r+", zarr_format=3)
            array.with_config({"write_empty_chunks": has_no_empty_chunk(written, values)})[region] = values
        return store.checksums

    def mark(self, index: int, stats: Mapping[str, object], chunks: Mapping[str, int | None]) -> None:
        """Mark a tile as finished, atomically; only after all its writes returned.

        Parameters
        ----------
        index : int
        stats : mapping
            JSON; `done` returns it.
        chunks : mapping of str to int or None
            What the writes of the tile returned.
        """
        mark = {TILE: index, CHUNKS: dict(chunks), STATISTICS: plain_values(stats)}
        with disk_errors(self.spec):
            self._work.sync(key for key, value in chunks.items() if value is not None)
            self._work.put(f"{MARKS}/{index}.json", mark)

    def done(self) -> dict[int, dict[str, Any]]:
        """Return the statistics of the finished tiles by index."""
        return {i: mark[STATISTICS] for i, mark in self._work.marks().items() if mark is not None}

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
                group = self._work.values()
                write_geozarr_metadata(group, self.spec, records, write_overviews(group, self.spec))
                destination.put_group()
            elif self.spec.format == netcdf.FORMAT:
                destination.put_file(netcdf.make_netcdf(self.spec, self._arrays("r"), records))
            else:
                self._put_tiffs(records)
            self._work.remove()

    def _put_tiffs(self, records: Mapping[str, Any]) -> None:
        """Write the TIFF, and the one of the standard deviations; put both in their places when both are written."""
        arrays, deviations = self._arrays("r"), self.spec.deviations_destination
        if deviations is None:
            self.spec.destination.put_file(make_tiff(self.spec.stacked, StackedArrays(arrays), records))
            return
        # Without the domains that GDAL writes next to a TIFF, which are those of the product.
        second = replace(self.spec.variables[1], tags={}, bands=self.spec.deviation_bands)
        written = make_tiff(second, arrays[1], records)
        deviations_file = written.with_name(f"sigma{written.suffix}")
        written.replace(deviations_file)
        first = make_tiff(self.spec.stacked, arrays[0], records)
        # The product last: where it is, the run is finished.
        deviations.put_file(deviations_file)
        self.spec.destination.put_file(first)

    def _require_all_tiles(self) -> None:
        done = set(self.done())
        if self.spec.destination.keeps_values_on_disk:
            # What is published is read once more; in a store that would take as long as writing it.
            done -= set(damaged_tiles(self._work, self.spec))
        missing = sorted(set(range(self.spec.tiles)) - done)
        if missing:
            raise TileError(
                f"{len(missing)} of {self.spec.tiles} tiles are not finished or damaged, the first is tile "
                f"{missing[0]}. Run again{' with --resume' * self.spec.resumable}."
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
        with disk_errors(self.spec), store_errors_as(OutputError, self.spec.path):
            yield

    def _redo_damaged(self) -> None:
        """Verify the finished tiles and the documents of the arrays; what is damaged is made again, with a warning."""
        work, spec = self._work, self.spec
        damaged = damaged_tiles(work, spec)
        work.remove_marks(damaged)
        marked = set(work.marks())
        for index in set(range(spec.tiles)) - marked:
            work.make_room(chunk_keys(spec, index))
        documents = restore_documents(work, spec)
        if damaged:
            total = len(damaged) + len(marked)
            self._warn(f"{len(damaged)} of {total} finished tiles are damaged and are computed again.")
        elif documents and marked:
            self._warn("the description of the stored values is damaged and is written again.")

    def _warn(self, text: str) -> None:
        warnings.warn(f"The interrupted run in {self.spec.destination.work}: {text}", DualSRWarning, stacklevel=4)

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
