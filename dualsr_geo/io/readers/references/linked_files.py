"""Other files that a file names: the sources of a VRT, and the links and external values of HDF5."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import h5py

from dualsr_geo.errors import InputError

# Bytes in which GDAL looks for the mark of a format.
HEAD_BYTES = 1024
# A VRT of a hundred thousand tiles is smaller.
MAX_VRT_BYTES = 1 << 28
# Elements of a VRT whose text is a file, lower case as GDAL compares them: sources of bands, of warped and of
# pansharpened images, and elevation models.
_FILE_ELEMENTS = {"sourcefilename", "sourcedataset", "sourcevrttilenames", "dempath", "cutlinedatasource"}
# Names of settings (MDI, OOI, Option, Argument) whose value is a file.
_FILE_SETTING = re.compile(r"(?i)file|dataset|dem|path|source|location|_ds\b")
# A VRT may hold a function in Python, which GDAL runs where its own setting allows it.
_CODE_ELEMENTS = {"pixelfunctioncode"}


@dataclass(frozen=True)
class Reference:
    """A file that another one names.

    Attributes
    ----------
    name : str
        As it is written.
    relative : bool
        Whether it starts at the folder of the file that names it; if not, at that folder or at the current one.
    raw : bool
        Whether its bytes are read as values, whatever its format.
    """

    name: str
    relative: bool = False
    raw: bool = False


def head_of(path: str) -> bytes:
    """Return the first bytes of a file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Make it readable, or give another.") from error


# ---- VRT ---------------------------------------------------------------------------------


def vrt_text(path: str) -> bytes:
    """Return the text of a VRT.

    Raises
    ------
    InputError
        If it is larger than any mosaic's.
    """
    size = Path(path).stat().st_size
    if size > MAX_VRT_BYTES:
        raise InputError(
            f"{path} is a VRT of {size >> 20} MiB, more than {MAX_VRT_BYTES >> 20} MiB. Give a smaller one."
        )
    return Path(path).read_bytes()


def references_of_vrt(text: bytes, where: str) -> list[Reference]:
    """Return every file that a VRT names, in the order of the text.

    Raises
    ------
    InputError
        If it is no XML, or holds code.
    """
    try:
        root = ET.fromstring(text.lstrip(b"\xef\xbb\xbf \t\r\n").rstrip(b"\0"))  # noqa: S314  # expat refuses entities that expand without end
    except (ET.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{where} is a damaged VRT: {error}. Fetch it again.") from None
    code = next((e for e in root.iter() if _tag(e) in _CODE_ELEMENTS or _is_python(e)), None)
    if code is not None:
        raise InputError(f"{where} is a VRT with code (<{code.tag}>), which is not run. Give its values as a raster.")
    return [r for element, is_raw in _walk(root, is_raw=False) for r in _references(element, is_raw)]


def _walk(element: Element, *, is_raw: bool) -> Iterator[tuple[Element, bool]]:
    """Yield an element and those in it, and whether each belongs to a raw band."""
    # Not by recursion: a file may nest elements without end.
    stack = [(element, is_raw)]
    while stack:
        current, raw = stack.pop()
        raw = raw or (
            _tag(current) == "vrtrasterband" and _attribute(current, "subclass").lower() == "vrtrawrasterband"
        )
        yield current, raw
        stack.extend((child, raw) for child in reversed(current))


def _references(element: Element, is_raw: bool) -> Iterator[Reference]:  # noqa: FBT001  # as `_walk` yields it
    text = (element.text or "").strip()
    if not text:
        return
    if _tag(element) in _FILE_ELEMENTS:
        yield Reference(text, _attribute(element, "relativetovrt").strip() == "1", is_raw)
    elif _FILE_SETTING.search(_attribute(element, "key") or _attribute(element, "name")) and _tag(element) in (
        "mdi", "ooi", "option", "argument",
    ):  # fmt: skip
        relative = _attribute(element, "relativetovrt").strip() == "1"
        yield from (Reference(text, relative),) if _looks_like_a_file(text) else ()


def _looks_like_a_file(text: str) -> bool:
    """Return whether the value of a setting is a path, rather than a number or a word."""
    return "/" in text or "\\" in text or ":" in text or re.search(r"\.[A-Za-z]\w{1,4}$", text) is not None


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _attribute(element: Element, name: str) -> str:
    return next((v for k, v in element.attrib.items() if k.lower() == name), "")


def _is_python(element: Element) -> bool:
    return _tag(element) == "pixelfunctionlanguage" and (element.text or "").strip().lower() == "python"


# ---- HDF5 --------------------------------------------------------------------------------


def references_of_hdf5(file: str | IO[bytes], where: str) -> list[Reference]:
    """Return every other file that an HDF5 file names: external values, external links, sources of virtual datasets.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    listed: list[Reference] = []

    def collect(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            listed.append(Reference(link.filename))
        elif isinstance(link, h5py.HardLink):
            listed.extend(_of_object(opened, name))

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems_links(collect)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{where} cannot be opened: {' '.join(str(error).split())}. Fetch it again.") from error
    return listed


def _of_object(file: h5py.File, name: str) -> Iterator[Reference]:
    # The class of a link's target costs no opening of its values.
    if file.get(name, getclass=True) is not h5py.Dataset:
        return
    dataset = file[name]
    yield from (Reference(external, raw=True) for external, _, _ in dataset.external or ())
    if dataset.is_virtual:
        yield from (Reference(s.file_name) for s in dataset.virtual_sources() if s.file_name != ".")
