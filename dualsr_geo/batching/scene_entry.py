"""A scene of a batch before it is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dualsr_geo.engine.pixel_sizes import label_of
from dualsr_geo.io.storage.folders.archives import is_archive, without_suffix
from dualsr_geo.io.storage.special_files import special_file_error
from dualsr_geo.io.storage.urls import shown
from dualsr_geo.redaction import remember

# The prefix of a GDAL driver or of a URL. A drive has one letter.
PREFIX = re.compile(r"[A-Za-z]\w+:")


@dataclass(frozen=True)
class SceneEntry:
    """A scene of a batch before it is opened.

    Attributes
    ----------
    path : str
        An absolute path or a URL that `open_scene` opens.
    stem : str
        The name of the product without the ratio and the suffix.
    folder : str
        The folder of the product below the output folder; the same as that of the scene below its source.
    listed : bool
        Whether the scene was listed in a folder or by a glob, rather than named by the user.
    assets : mapping of str to str
        The paths of the assets of a STAC item, by key.
    acquired : str
        The acquisition time of a STAC item, RFC 3339; empty if unknown.
    error : str
        The reason why this cannot be a scene; empty if there is none.
    gsd : float or None
        The pixel size of the bands, metres, where each of a product's pixel sizes is a scene.
    """

    path: str
    stem: str
    folder: str = ""
    listed: bool = False
    assets: Mapping[str, str] = field(default_factory=dict)
    acquired: str = ""
    error: str = ""
    gsd: float | None = None

    def of_gsd(self, gsd: float) -> SceneEntry:
        """Return the entry of the bands of one pixel size, whose product has it in its name."""
        return replace(self, stem=f"{self.stem}{label_of(gsd)}", gsd=gsd)

    @property
    def key(self) -> str:
        """The name of the scene in the journal: its path, or its URL without credentials and query."""
        return self._name if self.gsd is None else f"{self._name} at {self.gsd:g} m"

    @property
    def _name(self) -> str:
        if not is_remote(self.path):
            return self.path
        # An item of a collection, and its assets, are behind the sign that begins the secrets of any other URL.
        item = self.path.partition("json#")[2]
        return f"{shown(self.path)}#{item}" if item else shown(self.path)


def is_remote(path: str) -> bool:
    """Return whether a path is a URL, a virtual file of GDAL or a subdataset."""
    return path.startswith("/vsi") or (PREFIX.match(path) is not None and not os.path.lexists(path))


def entry_of(path: str) -> SceneEntry:
    """Return the entry of a path or URL."""
    remember(path)
    bare = shown(path).rstrip("/") if is_remote(path) else path
    name = bare.rpartition("/")[2]
    return SceneEntry(path, _stem(name), error="" if is_remote(path) else special_file_error(path))


def _stem(name: str) -> str:
    if is_archive(name):
        return without_suffix(name).removesuffix(".SAFE")
    return name.removesuffix(".SAFE") if name.endswith(".SAFE") else Path(name).stem
