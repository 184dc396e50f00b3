"""The store that tiles stream into, its done marks, and its way to a finished product.

The work folder `<path>.part` holds `run.json` (what the run is), `store.zarr` (the values)
and `done/<index>.json` (one mark a finished tile). It is the checkpoint of the run and goes
when the product is in its place. That of a Zarr product in an object store lies there, too.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from dualsr_geo.errors import OutputError, ResumeError, TileError
from dualsr_geo.io.storage.object_store import named
from dualsr_geo.io.storage.urls import is_url
from dualsr_geo.io.storage.work_directory import MARKS, RECORD, VALUES, WorkDirectory, work_directory_at
from dualsr_geo.io.writers.destination import (
    publish_file,
    publish_folder,
    publish_group,
    require_place,
    require_writable,
    roll_back,
    upload,
)
from dualsr_geo.io.writers.geotiff import make_tiff, require_options
from dualsr_geo.io.writers.geozarr import write_geozarr_metadata
from dualsr_geo.io.writers.output_spec import (
    OutputSpec,
    disk_full,
    fingerprint,
    format_of,
    full_identity,
    is_same_product,
)
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import plain_values

__all__ = ["OutputSpec", "TileStore", "format_of", "is_same_product"]


@dataclass(frozen=True)
class TileStore:
    """Where tiles are kept until the product is finished from them; picklable.

    Attributes
    ----------
    layout : OutputSpec
        The product to be.
    folder : str
        The work folder, a path or a URL.
    """

    layout: OutputSpec
    folder: str

    @classmethod
    def begin(cls, layout: OutputSpec, identity: Mapping[str, object], *, resume: bool, overwrite: bool) -> TileStore:
        """Start a run, or continue an interrupted one.

        Parameters
        ----------
        layout : OutputSpec
        identity : mapping
            All that decides the values: inputs, model, options. JSON.
        resume : bool
            Continue in the work folder of the same identity if there is one.
        overwrite : bool
            Replace a product that lies at the path, once the new one is finished.

        Raises
        ------
        OutputError
            If the product exists and `overwrite` is False, or cannot be written there.
        OptionError
            If a creation option is unknown, or the format takes none.
        ResumeError
            If the interrupted run had another identity.
        """
        store = cls(layout, layout.work)
        if not is_url(layout.path):
            roll_back(store._old, Path(layout.path))
        require_place(layout, overwrite=overwrite)
        require_options(layout)
        if is_url(layout.path) and not is_url(layout.work):
            require_writable(layout)
        with full_disk_named(layout):
            if resume and store._work.has(RECORD):
                _require_same(layout, store.record()["identity"], full_identity(layout, identity))
                store._work.sweep()
            else:
                store._work.remove()
                store._work.make()
                store._work.put(RECORD, {"identity": full_identity(layout, identity)})
            # Not a part of the identity: another form of the product keeps the tiles.
            store.remember("fingerprint", fingerprint(layout, identity))
            store._lay_out()
        return store

    def record(self) -> dict[str, Any]:
        """Return what `begin` wrote (``"identity"``) and `remember` added."""
        return self._work.read(RECORD)

    def remember(self, key: str, value: object) -> None:
        """Add a JSON value to the run's record, atomically."""
        with full_disk_named(self.layout):
            self._work.put(RECORD, {**self.record(), key: value})

    def file(self, name: str) -> AbstractContextManager[Path]:
        """Lend a file of the work folder; what is written to it is kept when it is given back."""
        lent: AbstractContextManager[Path] = self._work.file(name)
        return lent

    def abandon(self) -> None:
        """Remove the work folder of a run that has nothing to resume."""
        self._work.remove()

    def band_ranges(self) -> tuple[slice, ...]:
        """Return the blocks of bands in which a tile is to be written."""
        count, step = self.layout.shape[0], self.layout.chunks[0]
        return tuple(slice(b, min(b + step, count)) for b in range(0, count, step))

    def write(self, window: Window, bands: slice, values: NDArray[Any]) -> None:
        """Store a part of the product.

        Parameters
        ----------
        window : Window
            On the target grid.
        bands : slice
            One of `band_ranges`, or several that follow each other; beyond the product's bands
            those of their standard deviations.
        values : array, shape (band, y, x)
            Packed, in the layout's dtype.

        Raises
        ------
        ValueError
            If the region does not lie on chunk borders or the array's end, or does not
            match the values. Two writers that share a chunk would overwrite each other.
        OutputError
            If the disk is full, or the object store refuses or goes away.
        """
        count = self.layout.shape[0]
        start, stop, _ = bands.indices(count * len(self.layout.variables))
        which, first = divmod(start, count)
        region = (slice(first, stop - which * count), *window.slices)
        self._require_whole_chunks(region)
        expected = tuple(s.stop - s.start for s in region)
        if values.shape != expected or values.dtype != self.layout.packing.dtype:
            raise ValueError(
                f"values are {values.dtype} {values.shape}, the region holds {self.layout.packing.dtype} {expected}"
            )
        with full_disk_named(self.layout), self._store_named():
            self._arrays("r+")[which][region] = values

    def mark(self, index: int, stats: Mapping[str, object]) -> None:
        """Mark a tile as finished, atomically; only after all its writes returned."""
        with full_disk_named(self.layout):
            self._work.put(f"{MARKS}/{index}.json", plain_values(stats))

    def done(self) -> dict[int, dict[str, Any]]:
        """Return the finished tiles and what was said of each."""
        return self._work.marks()

    def finish(self, lineage: Mapping[str, object], survey: Mapping[str, object] | None) -> None:
        """Make the product, put it in its place at once, and remove the work folder.

        Parameters
        ----------
        lineage : mapping
            Software, model, parameters; JSON. The run's fingerprint is added.
        survey : mapping or None
            The scene-level decisions; JSON.

        Raises
        ------
        TileError
            If tiles are missing.
        OutputError
            If the disk is full, GDAL refuses an option, or the object store refuses or goes away; the
            finished tiles are kept.
        """
        missing = sorted(set(range(self.layout.tiles)) - set(self.done()))
        if missing:
            raise TileError(
                f"{len(missing)} of {self.layout.tiles} tiles are not finished, the first is tile "
                f"{missing[0]}. Run again with --resume."
            )
        kept = {"lineage": {**lineage, "fingerprint": self.record()["fingerprint"]}, "survey": survey}
        with full_disk_named(self.layout), self._store_named():
            if self.layout.format == "Zarr":
                write_geozarr_metadata(self._work.values(), self.layout, plain_values(kept))
                self._publish_group()
            else:
                made = make_tiff(self.layout.stacked, Stacked(self._arrays("r")), plain_values(kept))
                self._publish(made)
            self._work.remove()

    def _publish_group(self) -> None:
        if is_url(self.layout.path):
            publish_group(f"{self.folder}/{VALUES}", self.layout.path)
        else:
            publish_folder(Path(self.folder) / VALUES, Path(self.layout.path), self._old)

    def _publish(self, made: Path) -> None:
        if is_url(self.layout.path):
            upload(made, self.layout.path)
        else:
            publish_file(made, Path(self.layout.path))

    @property
    def _work(self) -> WorkDirectory:
        return work_directory_at(self.folder)

    @property
    def _old(self) -> Path:
        return Path(self.folder) / "old.zarr"

    def _arrays(self, mode: str) -> list[Any]:
        """Open the product, and the standard deviations where they are kept."""
        values = self._work.values()
        return [zarr.open_array(values, path=v.name, mode=mode, zarr_format=3) for v in self.layout.variables]

    @contextmanager
    def _store_named(self) -> Iterator[None]:
        """Say in one line what an object store said, and that what is done is not lost."""
        with named(self.layout.path, OutputError):
            yield

    def _lay_out(self) -> None:
        """Create the array unless it is there; marks without an array mean nothing."""
        if all(self._work.has(f"{VALUES}/{v.name}/zarr.json") for v in self.layout.variables):
            return
        self._work.forget_marks()
        group = zarr.open_group(self._work.values(), mode="w", zarr_format=3)
        for variable in self.layout.variables:
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
        axes = zip(("bands", "rows", "columns"), region, self.layout.shape, self.layout.chunks, strict=True)
        for axis, part, size, chunk in axes:
            inside = 0 <= part.start < part.stop <= size
            if not inside or part.start % chunk or (part.stop % chunk and part.stop != size):
                raise ValueError(
                    f"{axis} {part.start}:{part.stop} of {size} do not lie on chunk borders, which are {chunk} apart"
                )


@dataclass(frozen=True)
class Stacked:
    """Arrays of the same shape (band, y, x), read as one whose bands follow each other."""

    arrays: Sequence[Any]

    def __getitem__(self, region: tuple[slice, slice, slice]) -> NDArray[Any]:
        """Return some bands, rows and columns."""
        bands, rows, columns = region
        count = self.arrays[0].shape[0]
        parts = []
        for at, array in enumerate(self.arrays):
            first, last = max(bands.start - at * count, 0), min(bands.stop - at * count, count)
            if first < last:
                parts.append(array[first:last, rows, columns])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@contextmanager
def full_disk_named(layout: OutputSpec) -> Iterator[None]:
    """Turn the system's word for a full disk into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(layout, error.strerror) from error
        raise


def _require_same(layout: OutputSpec, before: dict[str, Any], now: dict[str, Any]) -> None:
    old, new = _flat(before), _flat(now)
    if old.get("dualsr_geo") != new["dualsr_geo"]:
        made_by, this = (v.get("dualsr_geo", "an unknown version") for v in (before, now))
        raise ResumeError(
            f"The interrupted run in {layout.work} was begun by dualsr-geo {made_by}, and dualsr-geo {this} cannot "
            f"continue it. Finish it with dualsr-geo {made_by}, or leave --resume out to start again."
        )
    changed = [k for k in sorted({*old, *new}) if old.get(k, "absent") != new.get(k, "absent")]
    if changed:
        said = "; ".join(f"{k} was {old.get(k, 'absent')}, is {new.get(k, 'absent')}" for k in changed)
        raise ResumeError(
            f"The interrupted run in {layout.work} was another one: {said}. "
            "Give what it had, or leave --resume out to start anew."
        )


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested keys joined by dots, values as JSON."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(item, sort_keys=True)
    return flat
