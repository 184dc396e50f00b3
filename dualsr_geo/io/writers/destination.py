"""The place of a product: what may lie there already, and putting the new one there at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
from dualsr_geo.io.storage.urls import is_url, is_writable, shown, split, url_of
from dualsr_geo.io.storage.work_directory import AT_ONCE, RECORD, work_directory_at
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.raster.scene import Scene

# A store takes 10,000 parts at most, none below 5 MiB.
PART_BYTES, MOST_PARTS = 8 << 20, 10_000

# What other programs leave beside a raster: it speaks of the pixels that were there before.
SIDECARS = (".aux.xml", ".ovr", ".msk")


def resolve_output(output: str | os.PathLike[str]) -> str:
    """Return where a product was asked for, a path or a URL, in the form that all say it."""
    where = os.fspath(output)
    return where.rstrip("/") if is_url(where) else str(Path(where))


def default_output(where: str | os.PathLike[str], scene: Scene, suffix: str) -> Path:
    """Return the default place of a product: beside the scene, which was opened as `where`.

    Raises
    ------
    OutputError
        If the scene lies in a store or on the web: nobody puts things there unasked.
    """
    if is_url(os.fspath(where)):
        raise OutputError(f"{shown(os.fspath(where))} is no file that a product could lie beside. Give --output.")
    place, read = Path(where), scene.source.files_read()
    if place.is_dir() and read and place.resolve() in Path(read[0]).resolve().parents:
        # A product's folder stands for the files in it; "." has no name to go by.
        place = Path(os.path.abspath(place))
        return place.with_name(f"{place.name.removesuffix('.SAFE')}{suffix}.tif")
    # A subdataset, or an array in a store, is no place; the file that it lies in is.
    if read and not place.is_file() and not (place.exists() and place.samefile(read[0])):
        place = Path(read[0])
    return place.with_name(f"{place.stem}{suffix}.tif")


def require_apart(output: str, inputs: Sequence[Scene]) -> None:
    """Check that the product replaces none of its inputs, nor a file that one of them reads.

    Raises
    ------
    OutputError
        If it would, by whatever name or link, or if its folder may not be looked into.
    """
    require_url(output)
    if is_url(output):
        for url in (url_of(f) for scene in inputs for f in scene.source.files_read()):
            if url is not None and f"{shown(url).rstrip('/')}/".startswith(f"{shown(output).rstrip('/')}/"):
                raise OutputError(f"The output {output} is the input {shown(url)} itself. Give another --output.")
        return
    place = Path(output)
    try:
        there = place.exists()
    except PermissionError as error:
        raise OutputError(f"{place.parent} may not be looked into: {error.strerror}. Give another --output.") from error
    if not there:
        return
    for path in (Path(f) for scene in inputs for f in scene.source.files_read()):
        # A product may be a folder, which is replaced with all that lies in it.
        around = path.resolve().parents if place.is_dir() else ()
        if path.exists() and any(place.samefile(p) for p in (path, *around)):
            raise OutputError(f"The output {place} is the input {path} itself. Give another --output.")


def require_place(layout: OutputSpec, *, overwrite: bool) -> None:
    """Check that the product can be written where it was asked for.

    Raises
    ------
    OutputError
        If its folder is missing or not writable, a product exists and may not be replaced,
        or something else lies where the work folder goes.
    """
    if is_url(layout.path):
        require_object_place(layout, overwrite=overwrite)
    if is_url(layout.work):
        return
    place, folder = Path(layout.path), layout.folder
    parent = folder.parent
    way_out = "another --work-dir" if is_url(layout.path) else "another --output"
    if not parent.is_dir():
        raise OutputError(
            f"The folder {parent} of {folder.name.removesuffix('.part')} does not exist. Create it, or give {way_out}."
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {parent} is not writable. Give {way_out}.")
    if not is_url(layout.path):
        if place.exists() and not overwrite:
            raise OutputError(f"{place} exists. Give --overwrite to replace it, or another --output.")
        _require_replaceable(layout)
    if folder.exists() and not _is_ours(folder):
        raise OutputError(f"{folder} is needed for unfinished work, but is not ours. Move it, or give {way_out}.")


def _require_replaceable(layout: OutputSpec) -> None:
    """Refuse to replace a folder by a file, or a folder that holds other things than Zarr."""
    place = Path(layout.path)
    if layout.format != "Zarr" and place.is_dir():
        raise OutputError(f"{place} is a folder and {layout.format} is a file. Give another --output.")
    is_zarr = any((place / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))
    if layout.format == "Zarr" and place.exists() and not is_zarr:
        raise OutputError(f"{place} exists and is not Zarr, so it is not replaced. Give another --output.")


def _is_ours(folder: Path) -> bool:
    """Say whether a folder is a work folder: it has run.json, or was left before it was written."""
    if (folder / "run.json").is_file():
        return True
    return folder.is_dir() and all(p.name.removeprefix(".").startswith("run.json") for p in folder.iterdir())


def publish_file(made: Path, place: Path) -> None:
    """Put a finished file in its place, over an old one if there is one."""
    for suffix in SIDECARS:
        place.with_name(place.name + suffix).unlink(missing_ok=True)
    # GDAL puts beside a TIFF what it cannot hold (DigitalGlobe's IMD).
    for beside in made.parent.glob(f"{made.stem}.*"):
        if beside != made:
            os.replace(beside, place.with_name(place.stem + beside.name.removeprefix(made.stem)))
    os.replace(made, place)


def publish_folder(made: Path, place: Path, aside: Path) -> None:
    """Put a finished folder in its place; an old one is moved aside first, as folders cannot be replaced."""
    if place.exists():
        os.replace(place, aside)
    os.replace(made, place)


def roll_back(aside: Path, place: Path) -> None:
    """Undo a replacement of a Zarr product that was killed between its two renames."""
    if aside.exists() and not place.exists():
        os.replace(aside, place)


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


def require_object_place(layout: OutputSpec, *, overwrite: bool) -> None:
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
    ours = work_directory_at(layout.work).has(RECORD)
    # Copies of ours without what makes them a group are left where a run ended while it put them there.
    if inside and not group and not ours:
        raise OutputError(f"{place} exists and is not Zarr, so it is not replaced. Give another --output.")
    if not ours and holds(layout.work, OutputError):
        raise OutputError(
            f"{layout.work} is needed for unfinished work, but is not ours. Move it, or give another --output."
        )


def require_writable(layout: OutputSpec) -> None:
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
