"""Creation options of GeoTIFFs and COGs: checked, and completed by our defaults."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from rasterio.dtypes import check_dtype
from rasterio.enums import Compression, Resampling

from dualsr_geo.errors import DualSRWarning, OptionError
from dualsr_geo.io.writers import netcdf
from dualsr_geo.io.writers.output_spec import TIFF_FORMATS, OutputSpec
from dualsr_geo.messages import unknown_name

# Side of a block of the file, pixels.
BLOCK_PX = 512
# The COG driver takes no smaller blocks, pixels.
MIN_BLOCK_PX = 128
# Threads with which GDAL compresses.
THREADS = "2"
# Values of GDAL that mean no.
NO = ("NO", "FALSE", "OFF", "0")
# Compressions to which a predictor applies.
PREDICTED = {"ZSTD", "DEFLATE", "LZW"}
# Options that apply to the blocks of a stage as they do to those of their copies, compressions without loss, and sides
# of blocks that GDAL takes for overviews and that bound the memory of the writing, pixels.
PLAIN_OPTIONS = {
    "COMPRESS", "LEVEL", "PREDICTOR", "BLOCKSIZE", "BIGTIFF", "NUM_THREADS", "OVERVIEWS", "OVERVIEW_RESAMPLING",
}  # fmt: skip
PLAIN_COMPRESSIONS = PREDICTED | {"NONE"}
PLAIN_BLOCKS_PX = {"128", "256", "512", "1024"}
# GTiff's numbers of the COG driver's names.
PREDICTORS = {"YES": "2", "STANDARD": "2", "FLOATING_POINT": "3", "NO": "1"}

# Creation options of Zarr, with GDAL's names, and their values.
ZARR_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "OVERVIEWS": ("AUTO", "NONE"),
    "OVERVIEW_RESAMPLING": ("AVERAGE", "NEAREST"),
}

# What GDAL writes of a name that no driver knows.
NO_SUCH_OPTION = "does not support creation option"
# Creation options that a GeoTIFF or a COG may be given here: those of GDAL's COG driver first, then those of GTiff.
NAMES = (
    "COMPRESS", "LEVEL", "PREDICTOR", "BLOCKSIZE", "BIGTIFF", "NUM_THREADS", "OVERVIEWS", "OVERVIEW_RESAMPLING",
    "SPARSE_OK", "INTERLEAVE", "TILED", "BLOCKXSIZE", "BLOCKYSIZE", "ZLEVEL", "ZSTD_LEVEL", "LZMA_PRESET", "JPEG_QUALITY",
    "WEBP_LEVEL", "WEBP_LOSSLESS", "MAX_Z_ERROR", "DISCARD_LSB", "NBITS", "PHOTOMETRIC", "ALPHA", "PROFILE", "TFW", "RPB",
    "RPCTXT", "ENDIANNESS", "GEOTIFF_VERSION", "GEOTIFF_KEYS_FLAVOR", "STREAMABLE_OUTPUT",
)  # fmt: skip


def require_options(spec: OutputSpec) -> None:
    """Check, before the work, the creation options that GDAL would ignore with a warning.

    Raises
    ------
    OptionError
        If the format takes none, or a compression or resampling is unknown.
    """
    if spec.format == "Zarr":
        _require_zarr_options(requested_options(spec))
    if spec.format == netcdf.FORMAT:
        netcdf.require_options(spec)
    if spec.format not in TIFF_FORMATS:
        return
    if not check_dtype(spec.packing.dtype):
        raise OptionError(
            f"The output would be {spec.packing.dtype}, as the scene is, which {spec.format} does not hold. Give --dtype "
            "float32, or --format Zarr."
        )
    requested = requested_options(spec)
    choices = (("COMPRESS", Compression, "ZSTD, DEFLATE, LZW, LERC or NONE"),
               ("OVERVIEW_RESAMPLING", Resampling, "AVERAGE, NEAREST or CUBIC"))  # fmt: skip
    for name, names, examples in choices:
        if name in requested and requested[name].lower() not in names.__members__:
            raise OptionError(f"--co {name}={requested[name]} is unknown. Give {examples}.")
    _require_type(spec, requested)


def _require_zarr_options(requested: Mapping[str, str]) -> None:
    for name, value in requested.items():
        if name not in ZARR_OPTIONS:
            raise OptionError(
                f"--co {name}={value}: Zarr takes only OVERVIEWS and OVERVIEW_RESAMPLING. Leave it out, or give --format COG."
            )
        if value.upper() not in ZARR_OPTIONS[name]:
            choices = " or ".join(f"--co {name}={choice}" for choice in ZARR_OPTIONS[name])
            raise OptionError(f"--co {name}={value} is unknown for Zarr. Give {choices}.")


def _require_type(spec: OutputSpec, requested: Mapping[str, str]) -> None:
    """Check the options that do not hold the values of the output; GDAL prints lines of its own and leaves holes."""
    dtype, count = spec.packing.dtype, sum(v.shape[0] for v in spec.variables)
    compression = requested.get("COMPRESS", "").upper()
    way_out = f"Give --co COMPRESS=ZSTD, DEFLATE or LZW, which keep {dtype} as it is"
    if compression.startswith("CCITT"):
        raise OptionError(
            f"--co COMPRESS={compression} is for images of one bit, and the output is {dtype}. {way_out}."
        )
    if compression in ("JPEG", "WEBP") and dtype != "uint8":
        raise OptionError(f"--co COMPRESS={compression} holds only uint8, and the output is {dtype}. {way_out}.")
    if compression == "WEBP" and count not in (3, 4):
        raise OptionError(f"--co COMPRESS=WEBP holds 3 or 4 bands, and the output has {count}. {way_out}.")
    bits = requested.get("NBITS")
    if bits is not None and bits != str(8 * np.dtype(dtype).itemsize):
        raise OptionError(f"--co NBITS={bits} would cut values of {dtype}. Leave it out, or give --dtype.")


class _Collector(logging.Handler):
    """Keeps the messages of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(record.getMessage())


@contextmanager
def gdal_warnings() -> Iterator[Sequence[str]]:
    """Yield a sequence to which the warnings of GDAL in this block are added."""
    collector, log = _Collector(), logging.getLogger("rasterio")
    log.addHandler(collector)
    try:
        yield collector.messages
    finally:
        log.removeHandler(collector)


def warn_of_ignored(spec: OutputSpec, messages: Sequence[str]) -> None:
    """Warn of the requested creation options that GDAL ignores.

    Parameters
    ----------
    spec : OutputSpec
    messages : sequence of str
        Warnings of GDAL while it wrote with these options.
    """
    for name, value in requested_options(spec).items():
        message = next((m for m in messages if name in m.replace("=", " ").split()), None)
        if message is None:
            continue
        reason = message.partition(" in ")[2].rstrip(".")
        if NO_SUCH_OPTION in message:
            reason = unknown_name(NAMES, name, "creation option")
        text = f"--co {name}={value} is ignored by GDAL: {reason}"
        warnings.warn(text, DualSRWarning, stacklevel=2)


def requested_options(spec: OutputSpec) -> dict[str, str]:
    """Return the creation options that the user gave, names in capitals."""
    return {name.upper(): value for name, value in spec.options}


def has_plain_options(spec: OutputSpec) -> bool:
    """Return whether the blocks of a file that is written by the options are those of the output, in another order."""
    requested = requested_options(spec)
    return (
        requested.keys() <= PLAIN_OPTIONS
        and requested.get("COMPRESS", "ZSTD").upper() in PLAIN_COMPRESSIONS
        and requested.get("BLOCKSIZE", "512") in PLAIN_BLOCKS_PX
    )


def cog_options(spec: OutputSpec) -> dict[str, str]:
    """Return all creation options, in the terms of the COG driver."""
    requested = requested_options(spec)
    options = {**_defaults(spec, requested), **requested}
    options.pop("OVERVIEW_RESAMPLING", None)
    return options


def _defaults(spec: OutputSpec, requested: Mapping[str, str]) -> dict[str, str]:
    large = spec.raw_bytes * 4 / 3 > 2**31
    options = {
        "COMPRESS": "ZSTD",
        "INTERLEAVE": "BAND",
        "BLOCKSIZE": str(block_side(spec.shape[1:])),
        "BIGTIFF": "YES" if large else "IF_SAFER",
        "NUM_THREADS": THREADS,
        "OVERVIEWS": "FORCE_USE_EXISTING" if spec.format == "COG" else "NONE",
    }
    if requested.get("COMPRESS", "ZSTD").upper() == "ZSTD":
        # GDAL's default of 9 takes five times as long and saves nothing on noisy spectra.
        options["LEVEL"] = "1"
    if requested.get("COMPRESS", "ZSTD").upper() in PREDICTED:
        options["PREDICTOR"] = "FLOATING_POINT" if spec.packing.is_float else "STANDARD"
    return options


def gtiff_options(cog: Mapping[str, str]) -> dict[str, str]:
    """Return creation options of the COG driver in the terms of the GTiff driver; others are unchanged."""
    options = dict(cog)
    side, overviews = options.pop("BLOCKSIZE"), options.pop("OVERVIEWS")
    level, compression = options.pop("LEVEL", None), options["COMPRESS"].upper()
    if "PREDICTOR" in options:
        options["PREDICTOR"] = PREDICTORS.get(options["PREDICTOR"].upper(), options["PREDICTOR"])
    if level is not None:
        options["ZSTD_LEVEL" if compression == "ZSTD" else "ZLEVEL"] = level
    if overviews.upper() != "NONE":
        options["COPY_SRC_OVERVIEWS"] = "YES"
    if options.get("TILED", "YES").upper() == "YES":
        options = {"TILED": "YES", "BLOCKXSIZE": side, "BLOCKYSIZE": side, **options}
    return options


def stage_options(spec: OutputSpec) -> dict[str, str]:
    """Return the creation options of the stage: those of the output if they are plain, else cheap ones."""
    if has_plain_options(spec):
        options = gtiff_options(cog_options(spec))
        options.pop("COPY_SRC_OVERVIEWS", None)
        return options
    side = str(block_side(spec.shape[1:]))
    return {
        "TILED": "YES", "BLOCKXSIZE": side, "BLOCKYSIZE": side, "INTERLEAVE": "BAND", "COMPRESS": "ZSTD",
        "ZSTD_LEVEL": "1", "PREDICTOR": "3" if spec.packing.is_float else "2", "BIGTIFF": "YES", "NUM_THREADS": THREADS,
    }  # fmt: skip


def overview_options(stage: Mapping[str, str]) -> dict[str, str]:
    """Return the configuration of GDAL that makes the blocks of overviews as those of a stage."""
    names = ("COMPRESS", "PREDICTOR", "ZSTD_LEVEL", "ZLEVEL", "INTERLEAVE")
    same = {f"{name}_OVERVIEW": stage[name] for name in names if name in stage}
    return {**same, "GDAL_TIFF_OVR_BLOCKSIZE": stage["BLOCKXSIZE"]}


def block_side(shape: tuple[int, int]) -> int:
    """Return the side of a block in pixels: 512, or less for a small image."""
    return min(BLOCK_PX, max(MIN_BLOCK_PX, -(-max(shape) // 16) * 16))


def overview_levels(shape: tuple[int, int]) -> list[int]:
    """Return 2, 4, 8, ... until both sides are 512 px or less."""
    return [2**k for k in range(1, max(1, math.ceil(math.log2(max(shape) / BLOCK_PX)) + 1))]
