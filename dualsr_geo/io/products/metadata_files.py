"""Metadata files of products: XML, and groups of NAME = VALUE."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.packing import SCALE_LIMITS

Groups = dict[str, dict[str, str]]


def parse_xml(path: ProductPath) -> Element:
    """Read an XML file, names without namespace.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    try:
        root = ET.fromstring(path.read_bytes())  # noqa: S314  # expat refuses entities that expand without end
    except (OSError, ET.ParseError) as error:
        raise InputError(f"{path} cannot be read as metadata: {error}. Fetch it again.") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def require_text(root: Element, name: str, where: ProductPath) -> str:
    """Return the text of the first element of a name, at any depth.

    Raises
    ------
    InputError
        If there is none.
    """
    text = root.findtext(f".//{name}")
    if not text or not text.strip():
        raise InputError(f"The metadata of {where.name} have no {name}. Fetch the metadata file again.")
    return text.strip()


def to_number(text: str, name: str, where: ProductPath) -> float:
    """Read a number of the metadata.

    Raises
    ------
    InputError
        If the text is not a finite number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"The metadata of {where.name} have {name} {text!r}, which is not a number. Fetch them again.")
    return value


def to_divisor(text: str, name: str, where: ProductPath) -> float:
    """Read a number of the metadata by which stored values are divided.

    Raises
    ------
    InputError
        If the text is not a positive number of a magnitude that a scale may have.
    """
    value = to_number(text, name, where)
    if not SCALE_LIMITS[0] <= value <= SCALE_LIMITS[1]:
        raise InputError(
            f"The metadata of {where.name} have {name} {text}, by which values cannot be divided. Fetch them again."
        )
    return value


def parse_groups(path: ProductPath) -> Groups:
    """Read groups (``GROUP = NAME`` or ``BEGIN_GROUP = NAME``) of ``NAME = VALUE``; nested groups are flattened.

    The format of Landsat's MTL.txt and of Maxar's IMD and TIL. Values are returned without quotes; those
    before any group are in the group ``""``.

    Raises
    ------
    InputError
        If it is missing.
    """
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read as metadata: {error}. Fetch it again.") from error
    groups: Groups = {"": {}}
    open_groups = [""]
    for line in lines:
        match = re.match(r"\s*(\w+)\s*=\s*(.*?)\s*;?\s*$", line)
        if match is None:
            continue
        name, value = match[1], match[2].strip('"')
        if name in ("GROUP", "BEGIN_GROUP"):
            open_groups.append(value)
            groups.setdefault(value, {})
        elif name == "END_GROUP":
            open_groups = open_groups[:-1] or [""]
        else:
            groups[open_groups[-1]][name] = value
    return groups
