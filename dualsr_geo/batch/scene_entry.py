"""A scene of an archive that is not opened yet."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dualsr_geo.io.storage.urls import for_display

# What GDAL reads by a driver or from the web; a drive has one letter.
NO_PATH = re.compile(r"[A-Za-z]\w+:")


@dataclass(frozen=True)
class SceneEntry:
    """A scene of an archive, not opened yet.

    Attributes
    ----------
    path : str
        What `open_scene` opens: an absolute path or a URL.
    stem : str
        What its product is called by.
    folder : str
        Where its product goes below the output folder: its own place below the source.
    found : bool
        Whether it was found in a folder or by a glob; else it was named.
    assets : mapping of str to str
        Of a STAC item: where its assets are, by key.
    taken : str
        When it was taken, where STAC says so.
    wrong : str
        Why it cannot be a scene; empty where nothing is known against it.
    """

    path: str
    stem: str
    folder: str = ""
    found: bool = False
    assets: Mapping[str, str] = field(default_factory=dict)
    taken: str = ""
    wrong: str = ""

    @property
    def key(self) -> str:
        """What it is called in the ledger: its path, of a URL without what may be secret."""
        return for_display(self.path) if is_remote(self.path) else self.path


def is_remote(path: str) -> bool:
    """Say whether a path is a URL, or one of GDAL's virtual files or subdatasets."""
    return path.startswith("/vsi") or (NO_PATH.match(path) is not None and not os.path.lexists(path))


def named(path: str) -> SceneEntry:
    """Return the entry of a scene that was named."""
    bare = path.partition("?")[0].rstrip("/") if is_remote(path) else path
    name = bare.rpartition("/")[2]
    return SceneEntry(path, _stem(name), wrong="" if is_remote(path) else _refusal(path))


def _stem(name: str) -> str:
    return name.removesuffix(".SAFE") if name.endswith(".SAFE") else Path(name).stem


def _refusal(path: str) -> str:
    """Say why a path is never opened: a pipe would wait for its other end for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else f"{path} is no file but a pipe, a socket or a device."
