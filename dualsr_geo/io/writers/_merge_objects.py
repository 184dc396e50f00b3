"""The place of a product in an object store: what may lie there already, and putting the new one there.

An object appears whole or not at all, but nothing can be renamed: a file is uploaded in parts that the
store puts together at the end; a Zarr group is copied within the store from the work folder, what makes
it a group last.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.object_store import (
    ZARR_DOCUMENTS,
    delete,
    holds,
    is_group,
    is_object,
    named,
    names_below,
    open_store,
)
from dualsr_geo.io.storage.urls import is_url, is_writable, shown, split
from dualsr_geo.io.storage.work_directory import AT_ONCE, RECORD, folder_at
from dualsr_geo.io.writers.output_spec import Layout

# A store takes 10,000 parts at most, none below 5 MiB.
PART_BYTES, MOST_PARTS = 8 << 20, 10_000


def require_url(place: str) -> None:
    """Check that a URL can be written to.

    Raises
    ------
    OutputError
        If it is a web page's, or names no object in a bucket.
    """
    if not is_url(place):
        return
    scheme, bucket, key = split(place)
    if not is_writable(place):
        raise OutputError(
            f"{shown(place)}: {scheme}:// can be read, not written. Give --output s3://, gs://, az:// or a file."
        )
    if not (bucket and key):
        raise OutputError(f"{shown(place)} names no object in a bucket. Give --output {scheme}://bucket/name.tif.")


def require_object_place(layout: Layout, *, overwrite: bool) -> None:
    """Check that the product can be put where it was asked for, as far as reading tells.

    Raises
    ------
    OutputError
        If the bucket is not there or not ours, a product exists and may not be replaced, or something
        else lies where it or its work folder goes.
    """
    place = layout.path
    require_url(place)
    inside, file = holds(place, OutputError), is_object(place, OutputError)
    group = inside and is_group(place, OutputError)
    if (file or group) and not overwrite:
        raise OutputError(f"{place} exists. Give --overwrite to replace it, or another --output.")
    if layout.format != "Zarr":
        if inside:
            raise OutputError(f"{place} is a folder and {layout.format} is a file. Give another --output.")
        return
    if file:
        raise OutputError(f"{place} exists and is not Zarr, so it is not replaced. Give another --output.")
    ours = folder_at(layout.work).has(RECORD)
    # Copies of ours without what makes them a group are left where a run ended while it put them there.
    if inside and not group and not ours:
        raise OutputError(f"{place} exists and is not Zarr, so it is not replaced. Give another --output.")
    if not ours and holds(layout.work, OutputError):
        raise OutputError(
            f"{layout.work} is needed for unfinished work, but is not ours. Move it, or give another --output."
        )


def require_writable(layout: Layout) -> None:
    """Check by writing that a file can be put there, before the work that ends with it.

    Raises
    ------
    OutputError
        If the store refuses.
    """
    root, _, name = layout.path.rpartition("/")
    with named(layout.path, OutputError):
        obstore.put(open_store(root), f"{name}.part", b"dualsr-geo asks whether it may write here.\n")
        delete(root, [f"{name}.part"])


def upload(made: Path, place: str) -> None:
    """Put a finished file in its place, with what GDAL wrote beside it; it appears when its last part is there.

    Raises
    ------
    OutputError
        If the store refuses or goes away; an old product is then still there.
    """
    root, _, name = place.rpartition("/")
    store, stem = open_store(root), name.rpartition(".")[0]
    with named(place, OutputError):
        for beside in sorted(made.parent.glob(f"{made.stem}.*")):
            if beside != made:
                _put(store, stem + beside.name.removeprefix(made.stem), beside)
        _put(store, name, made)
        delete(root, [name + s for s in (".aux.xml", ".ovr", ".msk") if is_object(place + s, OutputError)])


def _put(store: object, name: str, path: Path) -> None:
    part = max(PART_BYTES, -(-path.stat().st_size // MOST_PARTS))
    obstore.put(store, name, path, chunk_size=part)  # type: ignore[arg-type]  # its stores have no common class


def publish_group(values: str, place: str) -> None:
    """Put a finished Zarr group in its place, over an old one: copied within the store, what makes it a group last.

    Parameters
    ----------
    values, place : str
        URLs in one bucket.

    Raises
    ------
    OutputError
        If the store refuses or goes away. Then nothing at the place looks like a group, and
        `values` is untouched.
    """
    scheme, bucket, source = split(values)
    target = split(place)[2]
    store = open_store(f"{scheme}://{bucket}")
    with named(place, OutputError):
        _withdraw(place)
        names = sorted(names_below(values, OutputError), key=lambda n: (n.endswith("zarr.json"), -n.count("/")))
        chunks = [n for n in names if not n.endswith("zarr.json")]

        def copy(name: str) -> None:
            obstore.copy(store, f"{source}/{name}", f"{target}/{name}")

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(copy, chunks))
        for name in names[len(chunks) :]:
            copy(name)


def _withdraw(place: str) -> None:
    """Remove an old group, first what makes it one."""
    names = names_below(place, OutputError)
    delete(place, [n for n in names if n in ZARR_DOCUMENTS])
    delete(place, [n for n in names if n not in ZARR_DOCUMENTS])
