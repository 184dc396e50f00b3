"""Names of options in messages: flags on the command line, keywords in Python.

Messages are written with flags. `rendered` is applied where an error or a warning becomes text; the command line turns
it off for itself and for the processes that it starts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

# Environment variable that is "flags" in a process of the command line; processes that it starts inherit it.
STYLE = "DUALSR_GEO_MESSAGES"
# Keyword of each flag that has another name; the others are their flag with underscores.
RENAMED = {
    "alone": "allow_unguided",
    "checkpoint-every": "checkpoint_s",
    "co": "creation",
    "driver": "format",
    "num-threads": "jobs",
    "profile": "creation",
    "ram": "max_memory",
    "scheduler": "client",
    "validate-every": "validate_s",
}
# Flags without a value, which are True as keywords.
SWITCHES = frozenset(
    ("alone", "overwrite", "published", "resume", "stac", "trust-references", "uncertainty")
)  # fmt: skip
# Flags with a value, and those of `SWITCHES`, that a message may name.
VALUED = frozenset((
    "asset", "average", "bands", "batch", "begin", "bidx", "changes", "checkpoint-every", "co", "coregister", "degradation",
    "denoise", "device", "driver", "dtype", "fine", "format", "gsd", "guide", "guide-mtf-gain", "half-model", "halve-every",
    "jobs", "largest-gradient", "licence", "match", "max-memory", "minutes", "model", "models", "mtf-gain", "network",
    "nodata", "note", "num-threads", "optimiser", "orientations", "output", "pan", "patch", "plot", "precision", "profile",
    "psf", "ram", "rate", "reference", "report", "rgb", "scale", "scenes-at-once", "schedule", "scheduler", "seed", "sensor",
    "spectral", "steps", "tile", "validate", "validate-every", "validation-side", "warmup", "wavelengths", "weight-decay",
    "width", "work-dir",
))  # fmt: skip
# Values of text that messages name.
WORDS = (
    "all|auto|local|off|none|cuda|cpu|COG|GTiff|netCDF|Zarr|float32|float64|bfloat16|u?int8|u?int16|u?int32|consistency|"
    "backprojection-pixel|backprojection|finenet-per-tile|finenet|learned|regression|interpolation|bicubic|halving|cosine"
)
VALUE = re.compile(
    rf" (?:(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|nan)|(?P<word>{WORDS}|\d[\d.,]*[KMG]i?B|\d+:\d+|[\w{{}}./-]*[\w}}]\.(?:tif|json|csv|txt))"
    r"|(?P<quoted>'[^']*'))(?=[\s,;:)]|\.?$|\. )"
)
FLAG = re.compile(r"(?<![\w-])--(?P<name>[a-z][a-z-]*[a-z])")
# Commands of other programs, whose flags are their own.
FOREIGN = re.compile(r"\b(?:rio|gdal\w*|torchrun|dask|pip|dualsr-geo \w+)\s[^`);,.]*")
# What a Python user calls instead of a command.
CALLS = (
    ("rio edit-info --crs", ".rio.write_crs"),
    ("`dualsr-geo sensors list`", "`dualsr_geo.sensors.sensors()`"),
    ("`models list`", "`dualsr-geo models list`"),
    ("dualsr-geo guide-check", "`.dualsr.guide_check`"),
)


@contextmanager
def flags() -> Iterator[None]:
    """Leave flags in messages as they are, in this process and in those that it starts."""
    before = os.environ.get(STYLE)
    os.environ[STYLE] = "flags"
    try:
        yield
    finally:
        if before is None:
            del os.environ[STYLE]
        else:
            os.environ[STYLE] = before


def rendered(text: str) -> str:
    """Return a message in the words of its reader: with keywords, unless this is a process of the command line."""
    return text if os.environ.get(STYLE) == "flags" else with_keywords(text)


def with_keywords(text: str) -> str:
    """Return a message with keywords instead of flags: ``--scale 4`` is ``scale=4``, and ``--scale`` is `` `scale` ``."""
    if "--" not in text and "dualsr-geo" not in text:
        return text
    for command, call in CALLS:
        text = text.replace(command, call)
    parts, at = [], 0
    for foreign in FOREIGN.finditer(text):
        parts += [_translated(text[at : foreign.start()]), foreign.group()]
        at = foreign.end()
    return "".join([*parts, _translated(text[at:])])


def _translated(text: str) -> str:
    """Translate the flags of a text that has none of other programs."""
    parts, at = [], 0
    for flag in FLAG.finditer(text):
        if flag["name"] not in SWITCHES | VALUED:
            continue
        keyword = RENAMED.get(flag["name"], flag["name"].replace("-", "_"))
        value = VALUE.match(text, flag.end())
        parts.append(text[at : flag.start()])
        at = flag.end()
        if flag["name"] in SWITCHES:
            parts.append(f"{keyword}=True")
        elif value is None:
            is_quoted = text[: flag.start()].endswith("`")
            parts.append(keyword if is_quoted else f"`{keyword}`")
        else:
            at = value.end()
            is_text = keyword == "bidx" or value["number"] is None
            content = (value["number"] or value["word"] or value["quoted"]).strip("'")
            parts.append(f"{keyword}={content!r}" if is_text else f"{keyword}={_python_number(content)}")
    return "".join([*parts, text[at:]])


def _python_number(text: str) -> str:
    return "float('nan')" if text == "nan" else text
