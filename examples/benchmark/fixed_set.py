"""Make a fixed set of products, and compare two such sets bit by bit.

Run: python examples/benchmark/fixed_set.py write MANIFEST.json [--data DIR] [--only WORD,...]
     python examples/benchmark/fixed_set.py compare BEFORE.json AFTER.json

A change that only moves code must leave every product as it is. `write` makes small scenes from a fixed seed, cuts some
out of the shared data where that is present, sharpens them in every way, and writes a hash of each product. The arrays
themselves are next to the manifest in an .npz file of the same name. `compare` exits with 1 if a product differs.

The script uses public interfaces only, so it runs on any version: the command line, `dualsr_geo.upscale`, and `.dualsr`.
Most commands run in this process, because a process of its own takes seconds to load torch. To compare two checkouts,
set PYTHONPATH to each of them in turn; `write` prints which package it uses.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rioxarray
import torch
import xarray as xr
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, from_origin
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

import dualsr_geo

Floats = NDArray[np.float32]

SHARED = Path(__file__).resolve().parents[3] / "shared"
SEED = 20240607
CRS = "EPSG:32633"
CORNER = (389000.0, 5820000.0)
GSD_M = 8.0
# Keys of reports whose values depend on the clock, the machine or the place of the temporary folder.
VOLATILE = re.compile(
    r"(^|[._])(seconds|peak_memory_bytes|estimated_\w+|created|updated|datetime|began|ended|since|pid|host|owner|size|"
    r"jobs|worker|mtime)(\.|$)"
)
# Attributes of Zarr and xarray variables that change what the values mean; all others are notes.
FIRM = ("_FillValue", "add_offset", "crs_wkt", "GeoTransform", "grid_mapping", "nodata", "offsets", "scale_factor",
        "scales", "units")  # fmt: skip
# How many differing keys of a report are named.
MOST_NAMED = 12
# The published networks in shared/parity.
NETWORKS = {
    "coarsr2": "dualsr_coarsr_x2.pth",
    "coarsr4": "dualsr_coarsr_x4.pth",
    "coarsenet4": "sfpn_coarsenet_x4.pth --scale 4",
}

# A line is a name and the arguments of `dualsr-geo upscale`. The product is NAME.tif unless -o names another one.
# many: 31 bands, uint16 with a scale, ratio 4. few: 4 bands, float32, ratio 2. holes: 6 bands, int16 with nodata.
# wide: 5 bands, a guide with a local displacement, and one with changes. noisy: 12 bands. byte: 3 bands, uint8.
MADE = """
auto-pan                  many.tif --pan many_pan.tif
auto-rgb                  many.tif --rgb many_rgb.tif
auto-alone                many.tif --scale 4
auto-alone-3              few.tif --scale 3
auto-noisy                noisy.tif --rgb noisy_rgb.tif
auto-noisy-alone          noisy.tif --scale 2
auto-two-guides           many.tif --rgb many_rgb.tif --rgb many_pan.tif
auto-spectral-3           many.tif --pan many_pan.tif --spectral 3
auto-spectral-all         holes.tif --rgb holes_rgb.tif --spectral all
auto-bfloat16             many.tif --rgb many_rgb.tif --precision bfloat16
auto-ratio-2              few.tif --pan few_pan.tif
auto-byte                 byte.tif --pan byte_pan.tif
auto-bands                many.tif --pan many_pan.tif -b 3,7..12 --mtf-gain 0.25
auto-psf                  many.tif --pan many_pan.tif --psf psf.json
regression-pan            many.tif --pan many_pan.tif --model regression
regression-rgb            holes.tif --rgb holes_rgb.tif --model regression
regression-alone          many.tif --scale 2 --model regression
regression-ratio-2        few.tif --pan few_pan.tif --model regression
interpolation-alone       many.tif --scale 4 --model interpolation
interpolation-pan         few.tif --pan few_pan.tif --model interpolation
interpolation-holes       holes.tif --scale 2 --model interpolation
learned-pan               many.tif --pan many_pan.tif --model learned
learned-rgb               few.tif --rgb few_rgb.tif --model learned
learned-alone             many.tif --scale 2 --model learned
bicubic-alone             many.tif --scale 4 --model bicubic
bicubic-holes             holes.tif --scale 3 --model bicubic
brovey-pan                many.tif --pan many_pan.tif --model brovey
brovey-rgb                holes.tif --rgb holes_rgb.tif --model brovey
gsa-pan                   many.tif --pan many_pan.tif --model gsa
gsa-rgb                   few.tif --rgb few_rgb.tif --model gsa
mtf-glp-hpm-pan           few.tif --pan few_pan.tif --model mtf-glp-hpm
mtf-glp-hpm-rgb           holes.tif --rgb holes_rgb.tif --model mtf-glp-hpm
holes-auto                holes.tif --rgb holes_rgb.tif
holes-auto-alone          holes.tif --scale 4
holes-float               holes.tif --rgb holes_rgb.tif -t float32 --nodata -9999
half-auto                 many.tif --pan many_half.tif
half-regression           holes.tif --rgb holes_half.tif --model regression
half-learned              few.tif --pan few_half.tif --model learned
half-uncertain            few.tif --pan few_half.tif --uncertainty
uncertain-pan             many.tif --pan many_pan.tif --uncertainty -b 1..9
uncertain-alone           few.tif --scale 2 --uncertainty
uncertain-holes           holes.tif --rgb holes_rgb.tif --uncertainty -o uncertain-holes.zarr
fine-none                 many.tif --pan many_pan.tif --fine none
fine-consistency          few.tif --pan few_pan.tif --model gsa --fine consistency
fine-backprojection       few.tif --pan few_pan.tif --fine backprojection
fine-pixel                few.tif --pan few_pan.tif --fine backprojection-pixel
fine-pixel-alone          holes.tif --scale 4 --model interpolation --fine backprojection-pixel
fine-finenet              holes.tif --rgb holes_rgb.tif --model regression --fine finenet
fine-finenet-gsa          few.tif --pan few_pan.tif --model gsa --fine finenet
fine-finenet-per-tile     few.tif --pan few_pan.tif --model regression --fine finenet-per-tile
local                     wide.tif --pan wide_pan.tif --coregister local
local-regression          wide.tif --pan wide_pan.tif --model regression --coregister local --tile 48
coregister-off            wide.tif --pan wide_pan.tif --model regression --coregister off
changes-auto              wide.tif --pan wide_changed.tif --changes auto
changes-off               wide.tif --pan wide_changed.tif --model regression --changes off
changes-uncertain         wide.tif --pan wide_changed.tif --model regression --uncertainty -b 2,4
tiles-auto                many.tif --pan many_pan.tif --tile 16
tiles-alone               holes.tif --scale 2 --tile 11 --jobs 2
tiles-zarr                wide.tif --pan wide_changed.tif --model regression --tile 40 -o tiles.zarr
zarr-auto                 many.tif --rgb many_rgb.tif -o auto.zarr
zarr-float                few.tif --pan few_pan.tif --model regression -o float.zarr
from-zarr                 few.zarr --pan few_pan.tif --model regression
gtiff                     many.tif --pan many_pan.tif --model gsa -f GTiff --co COMPRESS=LZW
to-float32                many.tif --pan many_pan.tif --model regression -t float32
to-float64                holes.tif --scale 2 --model bicubic -t float64 --nodata -1
to-int16                  holes.tif --rgb holes_rgb.tif --model gsa -t int16 --nodata -32768
"""
NETWORK = """
coarsr2                   few5.tif --model coarsr2.safetensors
coarsr4                   many.tif --model coarsr4.safetensors -t float32
coarsr4-published         many.tif --model coarsr4.safetensors --published -t float32
coarsr4-consistency       many.tif --model coarsr4.safetensors --fine consistency --tile 16
coarsr4-backprojection    many.tif --model coarsr4.safetensors --fine backprojection --half-model coarsr2.safetensors
coarsenet4                many.tif --rgb many_rgb.tif --model coarsenet4.safetensors -t float32
coarsenet4-published      holes.tif --rgb holes_rgb.tif --model coarsenet4.safetensors --published
coarsenet4-tiles          many.tif --rgb many_rgb.tif --model coarsenet4.safetensors --tile 18 -b 1..8
coarsenet4-finenet        holes.tif --rgb holes_rgb.tif --model coarsenet4.safetensors --fine finenet
coarsenet4-bfloat16       holes.tif --rgb holes_rgb.tif --model coarsenet4.safetensors --precision bfloat16
"""
REAL = """
real-cave-rgb             cave.tif --rgb cave_rgb.tif
real-cave-alone           cave.tif --scale 4 --spectral all
real-sn6                  sn6.tif --pan sn6_pan.tif
real-sn6-uncertain        sn6.tif --pan sn6_pan.tif --model regression --uncertainty
real-cave-sensor          cave.tif --rgb cave_rgb.tif --sensor cave --model regression
real-sn6-gsa              sn6.tif --pan sn6_pan.tif --model gsa
real-landsat              landsat.tif --pan landsat_pan.tif --coregister local
real-spot6                spot6.tif --pan spot6_pan.tif
real-enmap                enmap.tif --scale 2
real-enmap-sensor         enmap.tif --scale 2 --sensor enmap --model interpolation
real-delivered            LC08
real-hyspex               hyspex.tif --rgb hyspex_rgb.tif --scale 4
"""
# A line is a name and a whole command that prints JSON.
REPORTS = """
models                    models list --json
models-show               models show auto --json
sensors                   sensors list --json
sensors-show              sensors show worldview-2 --json
info                      info many.tif --rgb many_pan.tif --json
info-holes                info holes.tif --json
info-zarr                 info few.zarr --json
guide-check               guide-check many.tif --pan many_pan.tif --json
guide-check-wide          guide-check wide.tif --pan wide_changed.tif --json
guide-check-half          guide-check few.tif --pan few_half.tif --json
dry-run                   upscale many.tif --pan many_pan.tif --dry-run
evaluate                  evaluate few.tif --pan few_pan.tif --json
evaluate-alone            evaluate holes.tif --scale 2 --models auto,interpolation,bicubic --json
evaluate-product          evaluate auto-pan.tif --reference many_truth.tif --scale 4 --json
"""


@dataclass
class Product:
    """A product and the facts about it.

    Attributes
    ----------
    arrays : dict of str to array
        Values as stored.
    form : dict
        Other values that must not change: grid, nodata, names, scales. JSON.
    facts : dict
        Values whose wording may change: tags, attributes, reports. Flat; numbers and texts.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    form: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Product, name: str) -> None:
        """Take over another product under a name."""
        self.arrays |= {f"{name}/{k}": v for k, v in other.arrays.items()}
        self.form[name] = other.form
        self.facts |= {f"{name}.{k}": v for k, v in other.facts.items()}


# ---- scenes --------------------------------------------------------------------------------


def write_raster(path: str, cube: NDArray[Any], transform: Affine, **options: Any) -> None:
    """Write a cube (band, y, x) as a GeoTIFF; `options` are those of rasterio, `scale` and `names`."""
    scale, names = options.pop("scale", None), options.pop("names", None)
    count, height, width = cube.shape
    shape = {"count": count, "height": height, "width": width, "dtype": cube.dtype.name}
    profile = {"driver": "GTiff", "crs": CRS, "transform": transform, "photometric": "MINISBLACK", **shape, **options}
    with rasterio.open(path, "w", **profile) as target:
        target.write(cube)
        if scale is not None:
            target.scales = (scale,) * count
        for i, name in enumerate(names or (), 1):
            target.set_band_description(i, name)
            target.update_tags(i, wavelength=name.split()[0], wavelength_units="nanometers", fwhm="20")


def land(rng: np.random.Generator, shape: tuple[int, int], bands: int) -> Floats:
    """Return a sharp scene (band, y, x) in about 0..1: fields with edges and texture, each of its own spectrum."""
    fields = gaussian_filter(rng.normal(size=(6, *shape)), (0, 5, 5))
    texture = 1 + 0.15 * gaussian_filter(rng.normal(size=shape), 0.7)
    spectra = 0.5 + 0.45 * np.tanh(gaussian_filter1d(4 * rng.normal(size=(6, bands)), max(0.5, bands / 10), axis=1))
    cube = spectra[fields.argmax(0)].transpose(2, 0, 1) * texture + 0.02 * np.tanh(fields[:1])
    return np.asarray(np.clip(cube, 0.01, 1.5), np.float32)


def coarser(cube: Floats, ratio: int) -> Floats:
    """Return a cube blurred and decimated."""
    blurred = gaussian_filter(cube, (0, 0.35 * ratio, 0.35 * ratio))
    count, height, width = cube.shape
    return blurred.reshape(count, height // ratio, ratio, width // ratio, ratio).mean((2, 4))


def guides(cube: Floats) -> dict[str, Floats]:
    """Return what a pan and an RGB camera see of a sharp scene."""
    parts = np.array_split(cube, 3)
    return {"pan": cube.mean(0, keepdims=True), "rgb": np.stack([p.mean(0) for p in parts])[::-1]}


def noised(rng: np.random.Generator, cube: Floats, sigma: float) -> Floats:
    """Return a cube with white noise."""
    return cube + rng.normal(0, sigma, cube.shape).astype(np.float32)


def integers(cube: Floats, dtype: str, gain: float) -> NDArray[Any]:
    """Return a cube times a gain as integers."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(cube * gain), max(limits.min, 0), limits.max).astype(dtype)


def make_scenes() -> None:
    """Write the synthetic scenes and their guides into the current folder."""
    rng = np.random.default_rng(SEED)
    sharp = from_origin(*CORNER, GSD_M / 4, GSD_M / 4)
    whole = from_origin(*CORNER, GSD_M, GSD_M)
    _make_many(rng, whole, sharp)
    _make_few(rng, whole)
    _make_holes(rng, whole, sharp)
    _make_wide(rng, whole)
    truth = land(rng, (31 * 2, 39 * 2), 12)
    scaled = integers(noised(rng, coarser(truth, 2), 0.03), "uint16", 1e4)
    write_raster("noisy.tif", scaled, whole, scale=1e-4)
    write_raster("noisy_rgb.tif", guides(truth)["rgb"], from_origin(*CORNER, GSD_M / 2, GSD_M / 2))
    truth = land(rng, (29 * 4, 47 * 4), 3)
    write_raster("byte.tif", integers(noised(rng, coarser(truth, 4), 0.004), "uint8", 180), whole, nodata=0)
    write_raster("byte_pan.tif", integers(guides(truth)["pan"], "uint8", 180), sharp)
    taps = np.exp(-0.5 * (np.arange(13) - 6.0) ** 2 / 1.9**2)
    taps = [float(t) for t in taps / taps.sum()]
    # 13 taps around the centre of a pixel, which at ratio 4 is between two hr pixels.
    psf = {"ratio": 4, "taps_y": taps, "taps_x": taps, "start_y": -4, "start_x": -5}
    Path("psf.json").write_text(json.dumps(psf))


def _make_many(rng: np.random.Generator, whole: Affine, sharp: Affine) -> None:
    """Write 31 bands of uint16 with a scale, 33 x 41, and guides of ratio 4; one of them covers half."""
    truth = land(rng, (33 * 4, 41 * 4), 31)
    names = [f"{nm:.1f} nm" for nm in np.linspace(410, 990, 31)]
    scaled = integers(noised(rng, coarser(truth, 4), 0.002), "uint16", 1e4)
    write_raster("many.tif", scaled, whole, nodata=65535, scale=1e-4, names=names)
    write_raster("many_truth.tif", integers(truth, "uint16", 1e4), sharp, nodata=65535, scale=1e-4, names=names)
    noisy = {k: noised(rng, v, 0.003) for k, v in guides(truth).items()}
    write_raster("many_pan.tif", integers(noisy["pan"], "uint16", 4000), sharp, scale=2.5e-4)
    # Displaced by a fraction of a pixel, which coregistration finds.
    write_raster("many_rgb.tif", noisy["rgb"], sharp @ Affine.translation(0.6, -0.4))
    write_raster("many_half.tif", noisy["pan"][..., :84], sharp)


def _make_few(rng: np.random.Generator, whole: Affine) -> None:
    """Write 4 bands of float32, 45 x 31, as TIFF and Zarr, 5 bands of the same place, and guides of ratio 2."""
    sharp = from_origin(*CORNER, GSD_M / 2, GSD_M / 2)
    truth = land(rng, (45 * 2, 31 * 2), 5)
    cube = noised(rng, coarser(truth, 2), 0.002)
    write_raster("few5.tif", cube, whole)
    write_raster("few.tif", cube[:4], whole, nodata=float("nan"))
    write_raster("few_pan.tif", guides(truth)["pan"], sharp)
    write_raster("few_rgb.tif", integers(guides(truth)["rgb"], "uint8", 170), sharp)
    write_raster("few_half.tif", guides(truth)["pan"][:, 40:], sharp @ Affine.translation(0, 40))
    array = rioxarray.open_rasterio("few.tif").rename("radiance")
    array.to_dataset().to_zarr("few.zarr", zarr_format=3, consolidated=False)


def _make_holes(rng: np.random.Generator, whole: Affine, sharp: Affine) -> None:
    """Write 6 bands of int16 with holes, 37 x 43, and guides of ratio 4, which have holes of their own."""
    truth = land(rng, (37 * 4, 43 * 4), 6)
    cube = integers(noised(rng, coarser(truth, 4), 0.003), "int16", 1e4)
    cube[:, 5:9, 30:36] = cube[:, 20:, :3] = -9999
    cube[2, 25, 11] = cube[0, 0, 0] = -9999
    write_raster("holes.tif", cube, whole, nodata=-9999)
    rgb = integers(guides(truth)["rgb"], "uint16", 1e4)
    rgb[:, 70:80, 60:90] = 0
    write_raster("holes_rgb.tif", rgb, sharp, nodata=0)
    write_raster("holes_half.tif", rgb[:, :80], sharp, nodata=0)


def _make_wide(rng: np.random.Generator, whole: Affine) -> None:
    """Write 5 bands, 88 x 101, a guide of ratio 2 with a local displacement, and one with changes."""
    sharp = from_origin(*CORNER, GSD_M / 2, GSD_M / 2)
    shape = (88 * 2, 101 * 2)
    truth = land(rng, shape, 5)
    write_raster("wide.tif", integers(noised(rng, coarser(truth, 2), 0.002), "uint16", 1e4), whole, scale=1e-4)
    pan = guides(truth)["pan"]
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    warped = map_coordinates(pan[0], [y + 1.2 * np.sin(x / 50), x - 1.5 * np.cos(y / 60)], order=3, mode="nearest")
    write_raster("wide_pan.tif", integers(warped[None], "uint16", 4000), sharp)
    other = land(rng, shape, 1)
    pan[:, 30:90, 100:170] = other[:, 30:90, 100:170]
    write_raster("wide_changed.tif", integers(pan, "uint16", 4000), sharp)


def cut_scenes(data: Path) -> None:
    """Cut scenes out of the shared data into the current folder, where it is there."""
    cave = sorted(data.glob("cave/beads/*_ms_*.png"))
    if cave:
        cube = np.concatenate([cropped(p, (150, 210), (140, 124))[0] for p in cave]).astype(np.float32)
        none = {"crs": None, "photometric": "MINISBLACK"}
        write_raster("cave.tif", integers(coarser(cube, 4), "uint16", 1), Affine.identity() @ Affine.scale(4), **none)
        write_raster("cave_rgb.tif", integers(cube[[24, 14, 6]], "uint16", 1), Affine.identity(), **none)
    for name, path, corner, size in (
        ("sn6", "multispectral/solaris_SN6_ms1_native2m.tif", (40, 30), (37, 45)),
        ("sn6_pan", "multispectral/solaris_SN6_pan1.tif", (160, 120), (148, 180)),
        ("landsat", "real/navarra_l8_ms.tif", (20, 16), (80, 72)),
        ("landsat_pan", "real/navarra_l8_pan.tif", (40, 32), (160, 144)),
        ("spot6", "real/spot6_vegetation/Vegetation_MS.tif", (30, 50), (31, 47)),
        ("spot6_pan", "real/spot6_vegetation/Vegetation_Pan.tif", (120, 200), (124, 188)),
        ("enmap", "hyperspectral/enmap_potsdam_NW_64x96.tif", (9, 20), (31, 43)),
        ("hyspex", "real/hysu_hyspex.tif", (10, 10), (41, 35)),
        ("hyspex_rgb", "real/hysu_3k_rgb.tif", (0, 0), (420, 360)),
    ):
        if (data / path).is_file():
            cut(data / path, f"{name}.tif", corner, size)
    # A product as delivered, which brings its own pan band.
    delivered = data / "real/products/landsat_C1L1_ethiopia/LC08"
    if delivered.is_dir():
        Path("LC08").symlink_to(delivered, target_is_directory=True)


def cropped(path: Path, corner: tuple[int, int], size: tuple[int, int]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return a part of a raster, and the profile that it is written with; corner and size are rows and columns."""
    with rasterio.open(path) as source:
        pane = Window(corner[1], corner[0], size[1], size[0])
        kept = {"crs": source.crs, "nodata": source.nodata, "transform": source.window_transform(pane)}
        return source.read(window=pane), kept


def cut(path: Path, place: str, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Write a part of a raster with its tags."""
    cube, kept = cropped(path, corner, size)
    transform = kept.pop("transform")
    if kept["crs"] is None:
        # Without a map, scene and guide begin at the same corner.
        transform = Affine.scale(1.0 if place.endswith("_pan.tif") else 4.0)
    write_raster(place, cube, transform, **kept)
    with rasterio.open(path) as source, rasterio.open(place, "r+") as target:
        target.scales, target.offsets = source.scales, source.offsets
        target.descriptions = source.descriptions
        for i in source.indexes:
            target.update_tags(i, **source.tags(i))
            target.update_tags(i, ns="IMAGERY", **source.tags(i, ns="IMAGERY"))


# ---- what a product is ---------------------------------------------------------------------


def raster(path: str | Path) -> Product:
    """Read a product that rasterio opens."""
    with rasterio.open(path) as source:
        form = {
            "transform": list(source.transform)[:6],
            "crs": None if source.crs is None else source.crs.to_wkt(),
            "nodata": source.nodata,
            "dtypes": list(source.dtypes),
            "descriptions": list(source.descriptions),
            "scales": list(source.scales),
            "offsets": list(source.offsets),
            "units": list(source.units),
            "masks": [[flag.name for flag in flags if isinstance(flag, MaskFlags)] for flags in source.mask_flag_enums],
        }
        tags: dict[str, Any] = {ns: source.tags(ns=ns) for ns in ("", *source.tag_namespaces())}
        for i in source.indexes:
            tags[f"band {i}"] = {ns: source.tags(i, ns=ns) for ns in ("", *source.tag_namespaces(i))}
        profile = {k: source.profile.get(k) for k in ("driver", "blockxsize", "blockysize", "compress", "interleave")}
        return Product({"values": source.read()}, form, flat({"tags": tags, "profile": profile}))


def store(path: str | Path) -> Product:
    """Read a Zarr product."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = xr.open_zarr(path, decode_cf=False)
    made = Product(facts=flat({"attrs": dataset.attrs}))
    for name, variable in sorted(dataset.variables.items()):
        made.add(_variable(variable), str(name))
    return made


def labelled(array: xr.DataArray) -> Product:
    """Read a DataArray, coordinates included; a lazy one is computed."""
    made = _variable(array.variable)
    made.form["name"] = array.name
    for name, coord in sorted(array.coords.items()):
        made.add(_variable(coord.variable), str(name))
    return made


def _variable(variable: xr.Variable) -> Product:
    """Read values, dimensions and attributes."""
    attrs, encoding = plain(variable.attrs), plain(variable.encoding)
    made = Product(form={"dims": list(variable.dims)})
    made.form["attrs"] = {k: v for k, v in attrs.items() if k in FIRM}
    made.form["encoding"] = {k: v for k, v in encoding.items() if k in (*FIRM, "dtype")}
    made.facts = flat({"attrs": {k: v for k, v in attrs.items() if k not in FIRM}})
    _take(made, "values", variable.values)
    return made


def _take(made: Product, name: str, values: NDArray[Any]) -> None:
    """Keep numbers as an array, texts as JSON."""
    if values.dtype.kind in "biufcmM":
        made.arrays[name] = values
    else:
        made.form[name] = [str(v) for v in values.ravel()]


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def flat(value: Any) -> dict[str, Any]:
    """Return nested values, JSON in texts included, by dotted keys; without what the clock and the machine decide."""
    return {k: v for k, v in _leaves(plain(value), "") if not VOLATILE.search(k)}


def _leaves(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            yield at, _placeless(value)
            return
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, f"{at}.{key}" if at else str(key))
    else:
        yield at, _placeless(value) if isinstance(value, str) else value


def _placeless(text: str) -> str:
    """Return a text without the temporary folder and the package's own folder."""
    package = str(Path(dualsr_geo.__file__).parent)
    return text.replace(str(Path.cwd()), ".").replace(package, "PACKAGE")


def digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 of an array: type, shape and bytes."""
    head = f"{values.dtype.str} {values.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(values).tobytes()).hexdigest()


# ---- the set -------------------------------------------------------------------------------


def command(*args: str) -> Any:  # JSON
    """Run `dualsr-geo` in this process; return what it prints, parsed where it is JSON."""
    from dualsr_geo.cli import main  # noqa: PLC0415  # registers the accessor's modules first

    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            code = main(list(args), standalone_mode=False)
    except Exception as error:
        raise RuntimeError(f"{' '.join(args)}: {error or type(error).__name__}") from error
    if code:
        raise RuntimeError(f"{' '.join(args)}: exit code {code}. {err.getvalue()}")
    text = out.getvalue()
    return json.loads(text) if text[:1] in ("{", "[") else text.splitlines()


def upscaled(name: str, line: str) -> Product:
    """Make a product by `dualsr-geo upscale` and read it."""
    args = shlex.split(line)
    place = args[args.index("-o") + 1] if "-o" in args else f"{name}.tif"
    report = command("upscale", *args, *(() if "-o" in args else ("-o", place)), "--json")
    return _with_report(store(place) if place.endswith(".zarr") else raster(place), report)


def _with_report(made: Product, report: Any) -> Product:
    made.facts |= flat({"json": report})
    return made


def lines(table: str) -> Iterator[tuple[str, str]]:
    """Return the names and arguments of a table."""
    for line in table.strip().splitlines():
        name, _, rest = line.partition(" ")
        yield name, rest.strip()


def in_a_process() -> Product:
    """Run the command line in a process of its own."""
    code = "from dualsr_geo.cli import main; main()"
    args = shlex.split("upscale many.tif --pan many_pan.tif -o process.tif --json")
    # The package of this process, wherever it was found.
    path = {**os.environ, "PYTHONPATH": str(Path(dualsr_geo.__file__).parents[1])}
    words = [sys.executable, "-c", code, *args]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=path)  # noqa: S603  # our own command
    return _with_report(raster("process.tif"), json.loads(done.stdout))


def on_a_cluster() -> Product:
    """Run tiles on a dask cluster of one process with two threads."""
    from distributed import LocalCluster  # noqa: PLC0415  # takes a second to load

    sizes = {"n_workers": 1, "threads_per_worker": 2, "processes": True, "dashboard_address": None}
    with LocalCluster(**sizes) as cluster:  # type: ignore[no-untyped-call]
        line = f"many.tif --pan many_pan.tif --tile 24 --scheduler {cluster.scheduler_address} --quiet"
        return upscaled("cluster", line)


def in_a_batch() -> Product:
    """Sharpen two scenes into a folder."""
    args = "batch few.tif wide.tif --rgb {stem}_pan.tif --model regression -o batch --stac --json"
    made = Product(facts=flat({"json": command(*shlex.split(args))}))
    for path in sorted(Path("batch").rglob("*")):
        if path.suffix == ".tif":
            made.add(raster(path), path.name)
        elif path.name == "items.json" or path.parent.name == "items":
            made.facts |= flat({path.name: json.loads(path.read_text())})
    return made


def degraded() -> Product:
    """Degrade two scenes by the command line."""
    made = Product()
    for scene, scale, place in (("many.tif", 2, "degraded.tif"), ("holes.tif", 3, "degraded.zarr")):
        report = command("degrade", scene, "--scale", str(scale), "--mtf-gain", "0.25", "-o", place, "--json")
        made.add(_with_report(store(place) if place.endswith(".zarr") else raster(place), report), place)
    return made


def sampled() -> Product:
    """Write the scene and the guide of `dualsr-geo sample`."""
    command("sample", "sample", "--guide", "rgb", "--bands", "7", "--size", "24", "31", "--scale", "2", "--seed", "5")
    made = Product()
    for name in ("scene.tif", "rgb.tif"):
        made.add(raster(f"sample/{name}"), name)
    return made


def by_function() -> Product:
    """Sharpen by `dualsr_geo.upscale`, with a given blur."""
    options = dualsr_geo.Options(model="regression", uncertainty=True, psf=dualsr_geo.Psf.from_mtf(2, 0.3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dualsr_geo.DualSRWarning)
        report = dualsr_geo.upscale("few.tif", "function.tif", rgb="few_pan.tif", options=options, bidx="2..4")
    return _with_report(raster("function.tif"), report)


def by_accessor() -> Iterator[tuple[str, Callable[[], Product]]]:
    """Return what `.dualsr` makes of arrays as stored and masked, of dates and Datasets."""

    def opened(path: str, **options: Any) -> xr.DataArray:
        array = rioxarray.open_rasterio(path, chunks={"band": -1, "y": 24, "x": 32}, **options)
        assert isinstance(array, xr.DataArray)
        return array

    def lazy(array: Any) -> Product:
        parts = array.data_vars if isinstance(array, xr.Dataset) else {"product": array}
        made = Product(facts=flat({"attrs": array.attrs}))
        for name, part in parts.items():
            made.add(labelled(part), str(name))
            made.form[str(name)]["lazy"] = part.chunks is not None
        return made

    many, few, pan = (lambda: opened("many.tif")), (lambda: opened("few.tif")), (lambda: opened("few_pan.tif"))
    wide, rgb = (lambda: opened("many.tif", masked=True, mask_and_scale=True)), (lambda: opened("holes_rgb.tif"))

    def dated() -> xr.DataArray:
        array = few()
        return xr.concat([array, 0.9 * array.isel(y=slice(None, None, -1)).assign_coords(y=array.y)], dim="time")

    def by_name() -> xr.Dataset:
        array = opened("holes.tif")
        return xr.Dataset({f"b{i}": array.isel(band=i, drop=True) for i in range(4)}, attrs={"title": "four"})

    yield "accessor-stored", lambda: lazy(many().dualsr.upscale(rgb=opened("many_pan.tif"), tile=16))
    yield "accessor-masked", lambda: lazy(wide().dualsr.upscale(rgb="many_rgb.tif", model="regression"))
    yield "accessor-alone", lambda: lazy(opened("holes.tif", masked=True).dualsr.upscale(scale=2))
    yield "accessor-uncertain", lambda: lazy(few().dualsr.upscale(rgb=pan(), model="regression", uncertainty=True))
    yield "accessor-dates", lambda: lazy(dated().dualsr.upscale(rgb=pan(), model="gsa"))
    yield "accessor-dataset", lambda: lazy(by_name().dualsr.upscale(rgb=rgb(), model="regression"))
    yield "accessor-degrade", lambda: lazy(many().dualsr.degrade(scale=3))
    yield "accessor-fine", lambda: lazy(few().dualsr.upscale(rgb=pan(), fine="finenet-per-tile"))
    yield (
        "accessor-evaluate",
        lambda: Product(facts=flat(few().compute().dualsr.evaluate(rgb=pan().compute(), models=("regression", "gsa")))),
    )
    yield "accessor-quicklook", lambda: Product({"pixels": np.asarray(many().dualsr.quicklook(longest=64))})


def imported(parity: Path) -> Iterator[tuple[str, Callable[[], Product]]]:
    """Return how the published networks are imported; their weights are read by `load_model` and run on a cube."""

    def one(name: str, words: str) -> Product:
        checkpoint, *more = words.split()
        command("models", "import", str(parity / checkpoint), "-o", f"{name}.safetensors", *more)
        cube = np.random.default_rng(SEED).random((7, 12, 9), np.float32)
        ratio = int(name[-1])
        guide = np.random.default_rng(SEED).random((3, 12 * ratio, 9 * ratio), np.float32) if "net" in name else None
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        values = dualsr_geo.load_model(f"{name}.safetensors")(cube, guide)
        torch.set_num_threads(threads)
        return Product({"values": values}, facts=flat(command("models", "show", f"{name}.safetensors", "--json")))

    for name, words in NETWORKS.items():
        yield f"import-{name}", lambda name=name, words=words: one(name, words)


def everything(data: Path) -> Iterator[tuple[str, Callable[[], Product]]]:
    """Return all products by name, each with the function that makes it, in the order in which they are made."""
    for path in sorted(Path().glob("*.tif")):
        yield f"input-{path.stem}", lambda path=path: raster(path)
    parity = data.parent / "parity"
    if parity.is_dir():
        yield from imported(parity)
    tables = [MADE, *([NETWORK] if parity.is_dir() else ())]
    real = "\n".join(f"{n} {a}" for n, a in lines(REAL) if Path(a.split()[0]).exists())
    for name, line in (pair for table in (*tables, real) for pair in lines(table)):
        yield name, lambda name=name, line=line: upscaled(name, line)
    for name, line in lines(REPORTS):
        yield name, lambda line=line: Product(facts=flat({"json": command(*shlex.split(line))}))
    yield "batch", in_a_batch
    yield "degrade", degraded
    yield "sample", sampled
    yield "function", by_function
    yield from by_accessor()
    yield "process", in_a_process
    yield "cluster", on_a_cluster


# ---- manifests -----------------------------------------------------------------------------


def write(place: Path, data: Path, only: Sequence[str]) -> int:
    """Make all products, and write the manifest and the arrays; return 1 if a product could not be made."""
    print(f"{dualsr_geo.__file__}, version {dualsr_geo.__version__}")
    place, data = place.resolve(), data.resolve()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    found, arrays, began = {}, {}, time.monotonic()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        make_scenes()
        cut_scenes(data)
        for name, make in everything(data):
            if only and not any(word in name for word in (*only,)):
                continue
            started = time.monotonic()
            found[name], kept = _made(make)
            arrays |= {f"{name}/{k}": v for k, v in kept.items()}
            took = time.monotonic() - started
            print(f"{took:6.1f} s  {name}  {found[name].get('error', '')}".rstrip(), flush=True)
    failed = [name for name, entry in found.items() if "error" in entry]
    place.parent.mkdir(parents=True, exist_ok=True)
    versions = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
    manifest = {"version": dualsr_geo.__version__, "with": versions, "products": found}
    place.write_text(json.dumps(manifest, indent=1, sort_keys=True))
    np.savez_compressed(place.with_suffix(".npz"), **arrays)
    print(f"{place}: {len(found)} products, {len(failed)} failed, {time.monotonic() - began:.0f} s")
    return int(bool(failed))


def _made(make: Callable[[], Product]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Make a product; return its entry in the manifest, and its arrays."""
    try:
        made = make()
    except Exception as error:  # noqa: BLE001  # whatever goes wrong is one product less, and named
        return {"error": _placeless(f"{type(error).__name__}: {error}")}, {}
    hashes = {k: digest(v) for k, v in made.arrays.items()}
    form = plain(made.form)
    whole = hashlib.sha256(json.dumps([hashes, form], sort_keys=True).encode()).hexdigest()
    return {"sha256": whole, "arrays": hashes, "form": form, "facts": made.facts}, made.arrays


def compare(before: Path, after: Path) -> int:
    """Print how two manifests differ; return 1 if values or forms do."""
    old, new = (json.loads(p.read_text()) for p in (before, after))
    errors, notes = [], []
    notes += _noted("versions", *(flat_all({k: m[k] for k in ("version", "with")}) for m in (old, new)))
    with np.load(before.with_suffix(".npz")) as kept, np.load(after.with_suffix(".npz")) as made:
        for name in sorted({*old["products"], *new["products"]}):
            one, two = (m["products"].get(name) for m in (old, new))
            if one is None or two is None:
                errors.append(f"{name}: only in {after if one is None else before}")
                continue
            errors += _changed(name, one, two, kept, made)
            notes += _noted(name, *(entry.get("facts", entry.get("said", {})) for entry in (one, two)))
    for text in notes:
        print(f"note:  {text}")
    for text in errors:
        print(f"ERROR: {text}")
    print(f"{len(new['products'])} products, {len(errors)} differences, {len(notes)} notes")
    return int(bool(errors))


def _changed(name: str, one: Mapping[str, Any], two: Mapping[str, Any], kept: Any, made: Any) -> list[str]:
    """Return how a product differs in its values and its form."""
    if "error" in one or "error" in two:
        each = (("before", one), ("after", two))
        return [f"{name}: {which} it fails with {entry['error']}" for which, entry in each if "error" in entry]
    if one["sha256"] == two["sha256"]:
        return []
    found = [
        f"{name}: {k} is {_short(b)}, was {_short(a)}"
        for k, a, b in _unlike(flat_all(one["form"]), flat_all(two["form"]))
    ]
    for key in sorted({*one["arrays"], *two["arrays"]}):
        if key not in one["arrays"] or key not in two["arrays"]:
            found.append(f"{name}: the array {key} is only {'after' if key in two['arrays'] else 'before'}")
        elif one["arrays"][key] != two["arrays"][key]:
            found.append(f"{name}: {key} {_distance(kept[f'{name}/{key}'], made[f'{name}/{key}'])}")
    return found


def _distance(old: NDArray[Any], new: NDArray[Any]) -> str:
    """Return a sentence on how far two arrays are apart."""
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"is {new.dtype} {new.shape}, was {old.dtype} {old.shape}"
    a, b = (np.asarray(v, np.float64) for v in (old, new))
    both = np.isfinite(a) & np.isfinite(b)
    span = float(np.ptp(a[both])) if both.any() else 0.0
    largest = float(np.abs(a - b, where=both, out=np.zeros_like(a)).max(initial=0)) if both.any() else 0.0
    other = int(((a != b) & ~(np.isnan(a) & np.isnan(b))).sum())
    part = f"{largest / span:.3g} of the range" if span else f"{largest:.3g}"
    holes = int((np.isfinite(a) != np.isfinite(b)).sum())
    return f"differs by up to {part} in {other} of {a.size} values" + (f", {holes} of them holes" if holes else "")


def flat_all(value: Any) -> dict[str, Any]:
    """Return nested values by dotted keys, all of them."""
    return dict(_leaves(value, ""))


def _unlike(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Return the keys whose values are not the same, with the values; None where there is none."""
    for key in sorted({*one, *two}):
        # NaN is like NaN.
        if json.dumps(one.get(key)) != json.dumps(two.get(key)) or (key in one) != (key in two):
            yield key, one.get(key), two.get(key)


def _noted(name: str, one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """Return a line on how two reports differ, numbers first; none where they do not."""
    found = list(_unlike(one, two))
    numbers = [k for k, *pair in found if all(isinstance(v, int | float) for v in pair)]
    texts = [k for k, *_ in found if k not in numbers]
    parts = [f"{len(keys)} {kind} ({_few(keys)})" for kind, keys in (("numbers", numbers), ("texts", texts)) if keys]
    return [f"{name}: {' and '.join(parts)} differ"] if parts else []


def _few(keys: Sequence[str]) -> str:
    """Return the first keys; lists are named once."""
    names = list(dict.fromkeys(re.sub(r"(\.\d+)+(?=\.|$)", "[]", k) for k in keys))
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def main() -> None:
    """Write a manifest or compare two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    task = tasks.add_parser("write", help="Make the products and write their manifest.")
    task.add_argument("manifest", type=Path)
    task.add_argument("--data", type=Path, default=SHARED / "data", help="The shared data.")
    task.add_argument(
        "--only", default="", metavar="WORD,...", help="Only products with one of the words in their name."
    )
    task = tasks.add_parser("compare", help="Report how two manifests differ.")
    task.add_argument("before", type=Path)
    task.add_argument("after", type=Path)
    arguments = parser.parse_args()
    if arguments.task == "compare":
        sys.exit(compare(arguments.before, arguments.after))
    sys.exit(write(arguments.manifest, arguments.data, [w for w in arguments.only.split(",") if w]))


if __name__ == "__main__":
    main()
