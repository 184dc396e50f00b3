"""Landsat deliveries: which bands are the scene, and which band guides it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd
from dualsr_geo.io.products.landsat.espa import EspaProduct, espa_document
from dualsr_geo.io.products.landsat.file_names import BandFile, ProductName, band_file, product_name
from dualsr_geo.io.products.landsat.instruments import Instrument
from dualsr_geo.io.products.landsat.metadata import SUFFIXES, documents_in, is_document, read_metadata
from dualsr_geo.io.products.landsat.product import MAX_NAMED, NODATA, Product, products_in
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath, VirtualPath
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene

UNGUIDED = "sharpened without a guide, unless"
# Times that the pixels of a guide are smaller: 2 as delivered.
MIN_SHARPER = 1.5
# Beginnings of the names of folders.
FOLDERS = tuple(f"L{letter}0{number}_" for letter in "COTEM" for number in range(1, 10))


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a Landsat delivery's folder, its MTL file or the file of one of its bands."""
    if band_file(path.name) is not None and (isinstance(path, VirtualPath) or path.is_file()):
        return True
    if path.is_dir():
        if path.name.startswith(FOLDERS):
            return True
        return any(is_document(p) for p in path.glob("*")) or _is_of_bands(path) or espa_document(path) is not None
    return is_document(path) or espa_document(path) is not None


def _is_of_bands(folder: ProductPath) -> bool:
    """Say whether the images in a folder are of one acquisition: a folder of other images is that of several scenes."""
    images = [p.name for p in folder.glob("*") if p.suffix.lower() in (".tif", ".tiff")]
    return any(map(band_file, images)) and len({_acquisition(product_name(name)) for name in images}) == 1


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the reflective bands, guided by the panchromatic one where it is delivered; a file is its one band.

    Level 2 is surface reflectance, or surface temperature in kelvin where only that is there; Level 1 is
    top-of-atmosphere reflectance, or radiance where the MTL file states no reflectance. The numbers are in the MTL
    file; 0 is fill in every band, gaps of Landsat 7 included. Without an MTL file Level 2 of Collection 2 has its usual
    numbers, and anything else is opened as counts.

    Parameters
    ----------
    path : ProductPath
        The folder, its ``_MTL.txt``, ``_MTL.json`` or ``_MTL.xml``, or the file of a band, e.g. ``.._ST_B10.TIF``.
    gsd : float or None
        Pixel size of the bands, metres; that of the reflective ones by default.
    sensor : str or None
        Not used: metadata and names state the spacecraft.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If the metadata or a band is missing, or the folder has several scenes.
    OptionError
        If there are no bands of `gsd`.
    """
    del sensor
    stated = band_file(path.name)
    if stated is not None and (isinstance(path, VirtualPath) or not path.is_dir()):
        return _open_file(path, stated, gsd, nodata)
    if (espa := _espa_at(path)) is not None:
        return _open_espa(espa, gsd, nodata)
    product, guiding = _scene_at(path)
    product.require_bands()
    bands = product.reflective
    if not any(product.has(b) for b in bands) and product.thermal:
        bands = product.thermal
    groups = {product.instrument.gsd_m: bands} if bands else {}
    pan = product.pan
    if pan is not None:
        groups[product.instrument.pan_gsd_m] = (pan,)
    if not groups:
        raise InputError(
            f"{product.folder} has no spectral band of {product.instrument.title}. Fetch the bands into this folder."
        )
    own, sharp = choose_gsd(groups, gsd, product.name)
    scene, values = product.open(groups[own], nodata)
    if sharp is not None:
        guides = _sharper(_pan_of(product, nodata), scene)
    else:
        guides = _sharper(_pan_of(guiding, nodata), scene) if guiding and own == product.instrument.gsd_m else ()
    notes = (values.note, *_notes(product, guiding if guides else None, groups[own]))
    without = "" if own != product.instrument.gsd_m else _without_guide(product)
    return Delivery(scene, guides, product.sensor_of(groups[own]), product.level, notes, without_guide=without)


def _scene_at(path: ProductPath) -> tuple[Product, Product | None]:
    """Return the product of a folder or MTL file, and the product whose panchromatic band guides Level 2."""
    if not path.is_dir():
        product = Product.of_document(path)
        return product, _level_1_of(product)
    if len(documents := documents_in(path)) > 1:
        _require_one_acquisition(path, [d.name for d in documents])
    products = products_in(path)
    if not products:
        raise InputError(
            f"{path} holds no *_MTL.txt, *_MTL.json or *_MTL.xml, and no band named as USGS does (.._B4.TIF). "
            "Fetch the bands and the MTL file of the delivery."
        )
    _require_one_acquisition(path, [p.name if p.metadata is None else p.metadata.document.name for p in products])
    product = max(products, key=lambda p: p.level_number)
    return product, _level_1_of(product)


def _require_one_acquisition(folder: ProductPath, names: Sequence[str]) -> None:
    """Check that products, by the names of their MTL files or their own, are levels of one acquisition."""
    if len({_acquisition(product_name(n)) or n for n in names}) > 1:
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        raise InputError(
            f"{folder} holds {len(names)} Landsat scenes: {', '.join(names[:MAX_NAMED])}{more}. Give the MTL file of one, "
            "or a folder of each."
        )


def _level_1_of(product: Product) -> Product | None:
    """Return the Level 1 of the acquisition of a Level 2, where its panchromatic band is in the same folder."""
    if product.level_number != 2:
        return None
    return _pan_product(product.folder, product.acquired, product.instrument)


def _pan_product(folder: ProductPath, acquired: ProductName | None, taken_by: Instrument) -> Product | None:
    """Return the product of an acquisition that has its panchromatic band in a folder."""
    wanted = _acquisition(acquired)
    if wanted is None or taken_by.pan is None or not folder.is_dir():
        return None
    for path in sorted(folder.glob("*")):
        band = band_file(path.name)
        if band is not None and band.band == taken_by.pan and _acquisition(band.product) == wanted:
            return _of_file(path, band)
    return None


def _acquisition(name: ProductName | None) -> tuple[object, ...] | None:
    return None if name is None else (name.letter, name.number, name.path, name.row, name.date)


def _of_file(path: ProductPath, stated: BandFile) -> Product:
    """Return the product that has a file as its only band, with the metadata that are next to it."""
    product = Product.of_files(path.parent, {path.name: stated})
    documents = [path.with_name(stated.product.text + suffix) for suffix in SUFFIXES]
    document = next((d for d in documents if _is_there(d)), None)
    if document is None:
        return product
    metadata = read_metadata(document)
    return replace(product, metadata=metadata, level=metadata.level)


def _is_there(document: ProductPath) -> bool:
    """Say whether there is a file; False where a store refuses to say, which may still give the image."""
    try:
        return document.is_file()
    except InputError:
        return False


def _pan_of(product: Product, nodata: float | None) -> tuple[Scene, ...]:
    return () if product.pan is None else (product.open((product.pan,), nodata)[0],)


def _sharper(pan: tuple[Scene, ...], scene: Scene) -> tuple[Scene, ...]:
    """Return a guide if it has smaller pixels: those of thumbnails and overviews are of one size."""
    return tuple(p for p in pan if grid.gsd(scene.geobox) >= MIN_SHARPER * grid.gsd(p.geobox, like=scene.geobox))


def _open_file(path: ProductPath, stated: BandFile, gsd: float | None, nodata: float | None) -> Delivery:
    """Open the file of a band; as a plain raster where it is none as delivered: with several bands, or its own scale."""
    plain = open_raster(os.fspath(path), bidx=None, nodata=nodata).scene
    packing = plain.packing
    if plain.count > 1 or packing.is_float or (*packing.scales, *packing.offsets) != (1.0, 0.0):
        return Delivery(plain)
    product = _of_file(path, stated)
    bands = (stated.band,)
    pixel = product.instrument.pan_gsd_m if stated.band == product.instrument.pan else product.instrument.gsd_m
    choose_gsd({pixel: bands}, gsd, path.name)
    opened = open_raster(os.fspath(path), bidx="1", nodata=NODATA if nodata is None else nodata).scene
    scene, values = product.described([opened], bands)
    notes = (values.note, *_notes(product, None, bands))
    return Delivery(replace(scene, name=path.stem), (), product.sensor_of(bands), product.level, notes)


def _espa_at(path: ProductPath) -> EspaProduct | None:
    """Return the product of ESPA at a path; None if there is none, or only its metadata are in a folder with others."""
    document = espa_document(path)
    if document is None:
        return None
    product = EspaProduct.of_document(document)
    return product if product.has_images or not path.is_dir() or not documents_in(path) else None


def _open_espa(product: EspaProduct, gsd: float | None, nodata: float | None) -> Delivery:
    choose_gsd({product.instrument.gsd_m: product.instrument.reflective[2]}, gsd, product.document.name)
    scene = product.open(nodata)
    guiding = _pan_product(product.document.parent, product.acquired, product.instrument)
    guides = _sharper(_pan_of(guiding, nodata), scene) if guiding else ()
    notes = (product.note, *(_guide_note(guiding) if guiding and guides else ()))
    pan = product.instrument.pan
    without = _no_pan(product.instrument) if pan is None else _pan_elsewhere(pan)
    return Delivery(scene, guides, product.instrument.sensor, product.level, notes, without_guide=without)


def _notes(product: Product, guiding: Product | None, bands: tuple[str, ...]) -> tuple[str, ...]:
    """Return sentences about a guide of another product, and about the pixels of thermal bands."""
    notes: list[str] = []
    if guiding is not None:
        notes += _guide_note(guiding)
    if bands[0] in (*product.instrument.thermal[1], *product.instrument.thermal[2]):
        measured, delivered = product.instrument.thermal_gsd_m, product.instrument.gsd_m
        notes.append(f"Measured at {measured} m, and resampled to {delivered:g} m before delivery.")
    return tuple(notes)


def _without_guide(product: Product) -> str:
    """Return a sentence for a scene that has no guide of its own."""
    if product.instrument.pan is None:
        return _no_pan(product.instrument)
    if product.level_number == 2:
        return _pan_elsewhere(product.instrument.pan)
    if product.pan is not None:
        return f"Band {product.pan} has pixels as large as the others: {UNGUIDED} one is given by --pan or --rgb."
    return f"Band {product.instrument.pan} was not delivered with it: {UNGUIDED} one is given by --pan or --rgb."


def _guide_note(guiding: Product) -> tuple[str, ...]:
    return (f"The guide is {guiding.files[guiding.pan or '']}, of the Level 1 of the same acquisition.",)


def _no_pan(taken_by: Instrument) -> str:
    return f"{taken_by.title} has no panchromatic band: {UNGUIDED} one is given by --pan or --rgb."


def _pan_elsewhere(pan: str) -> str:
    return f"Level 2 is delivered without band {pan}; its Level 1 has it: {UNGUIDED} it is given by --pan."
