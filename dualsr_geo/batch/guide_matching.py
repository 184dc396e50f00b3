"""How the guide of a scene is found: by a pattern, by the asset of a STAC item, or in a table."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dualsr_geo.batch.discovery import matches
from dualsr_geo.batch.scene_entry import SceneEntry, is_remote
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.storage.locations import exists
from dualsr_geo.io.storage.urls import is_writable, resolve_dots

PLACEHOLDER = re.compile(r"\{(\w+)\}")
KNOWN = ("stem", "name", "parent")


@dataclass(frozen=True)
class Rule:
    """How guides are found.

    Attributes
    ----------
    patterns : tuple of str
        Each names one guide: a path with ``{stem}``, ``{name}``, ``{parent}`` or a group of `match`, from
        the scene's folder if it is relative, with wildcards if they leave one file; or an asset's key.
    match : Pattern or None
        What the paths of scenes match; its named groups may stand in the patterns.
    table : mapping of str to tuple of str
        The guides of scenes by path, name or STAC id.
    alone : bool
        Whether a scene whose guide is not found is sharpened without it.
    """

    patterns: tuple[str, ...] = ()
    match: re.Pattern[str] | None = None
    table: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alone: bool = False

    @property
    def empty(self) -> bool:
        """Whether no guide was asked for."""
        return not self.patterns and not self.table


def rule(rgb: Sequence[str], *, match: str | None = None, alone: bool = False) -> Rule:
    """Return how guides are found.

    Parameters
    ----------
    rgb : sequence of str
        Patterns, assets' keys, and ``.csv`` tables with the columns ``scene`` and ``guide``.
    match : str, optional
        A regular expression with named groups, searched in the path of a scene.
    alone : bool
        Whether a scene without a guide is sharpened alone.

    Raises
    ------
    OptionError
        If `match` is no regular expression, or a pattern asks for what nobody knows.
    InputError
        If a table cannot be read.
    """
    try:
        searched = None if match is None else re.compile(match)
    except re.error as error:
        raise OptionError(f"--match {match} is no regular expression: {error}.") from error
    tables = [p for p in rgb if p.lower().endswith(".csv") and not PLACEHOLDER.search(p)]
    patterns = tuple(p for p in rgb if p not in tables)
    known = {*KNOWN, *(searched.groupindex if searched else ())}
    for pattern in patterns:
        if unknown := [n for n in PLACEHOLDER.findall(pattern) if n not in known]:
            raise OptionError(
                f"--rgb {pattern} asks for {{{unknown[0]}}}, which nobody knows. "
                f"Give {', '.join(f'{{{k}}}' for k in sorted(known))}, or a group of --match."
            )
    rows = [row for table in tables for row in _rows(table)]
    table = {scene: tuple(g for s, g in rows if s == scene and g) for scene, _ in rows}
    return Rule(patterns, searched, table, alone)


def _rows(path: str) -> list[tuple[str, str]]:
    """Read the rows of a table, scenes and guides; relative paths start at the current folder."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--rgb {path} cannot be read as a table: {error}.") from error
    if rows and not {"scene", "guide"} <= set(rows[0]):
        raise InputError(f"--rgb {path} has the columns {', '.join(map(str, rows[0]))}. Give scene and guide.")
    return [(_key(row["scene"] or ""), _absolute(row["guide"] or "")) for row in rows]


def _key(scene: str) -> str:
    """Return a scene of a table as entries are looked up: a bare name stays one."""
    return scene if os.sep not in scene else _absolute(scene)


def _absolute(path: str) -> str:
    return path if is_remote(path) or not path else os.path.abspath(path)


def belongs(entry: SceneEntry, by: Rule) -> bool:
    """Say whether an entry is a scene at all: one that was found has to match."""
    return by.match is None or not entry.found or by.match.search(entry.key) is not None


def guides_of(entry: SceneEntry, by: Rule) -> tuple[str, ...]:
    """Find the guides of a scene; none where none was asked for.

    Raises
    ------
    InputError
        If one is not there, or more than one is.
    """
    if by.empty:
        return ()
    try:
        of_table = _of_table(entry, by) if by.table else ()
        return (*of_table, *(_of_pattern(entry, pattern, by) for pattern in by.patterns))
    except InputError:
        if by.alone:
            return ()
        raise


def _of_table(entry: SceneEntry, by: Rule) -> tuple[str, ...]:
    name = entry.key.rpartition("/")[2]
    for key in (entry.key, name, entry.stem):
        if key in by.table:
            return by.table[key]
    raise InputError(f"The table of --rgb has no row for {entry.key}. Add one, or give --alone.")


def _of_pattern(entry: SceneEntry, pattern: str, by: Rule) -> str:
    if pattern in entry.assets:
        return entry.assets[pattern]
    filled = _filled(entry, pattern, by)
    parent = entry.key.rpartition("/")[0]
    place = filled if is_remote(filled) else f"{glob.escape(parent)}/{filled}" if not filled.startswith("/") else filled
    if is_remote(place) and not is_writable(place):
        # Nobody can be asked what there is; opening it says.
        return _plain(place)
    place = resolve_dots(place) if is_writable(place) else os.path.normpath(place)
    found = _several(place) if glob.has_magic(pattern) else _there(_plain(place))
    if len(found) != 1:
        raise InputError(_missing(entry, pattern, _plain(place), found))
    if found[0] == entry.path or (os.path.exists(entry.path) and os.path.samefile(found[0], entry.path)):
        raise InputError(f"--rgb {pattern} names the scene {entry.path} itself. Give a pattern of its guide.")
    return found[0]


def _filled(entry: SceneEntry, pattern: str, by: Rule) -> str:
    """Put in what the placeholders stand for, escaped, so that only the pattern's own wildcards are any."""
    parent, _, name = entry.key.rpartition("/")
    known: dict[str, str] = {"stem": entry.stem, "name": name, "parent": parent}
    if by.match is not None:
        matched = by.match.search(entry.key)
        if matched is None:
            raise InputError(f"{entry.key} does not match --match {by.match.pattern}, which --rgb needs.")
        known |= {k: v or "" for k, v in matched.groupdict().items()}
    return PLACEHOLDER.sub(lambda m: glob.escape(known[m[1]]), pattern)


def _plain(path: str) -> str:
    """Undo `glob.escape`."""
    return re.sub(r"\[([*?[])\]", r"\1", path)


def _there(path: str) -> list[str]:
    there = exists(path, InputError) if is_writable(path) else os.path.lexists(path)
    return [path] if there else []


def _several(pattern: str) -> list[str]:
    return matches(pattern) if is_writable(pattern) else sorted(glob.glob(pattern))


def _missing(entry: SceneEntry, pattern: str, place: str, found: Iterable[str]) -> str:
    several = list(found)
    if several:
        return f"--rgb {pattern} leaves {len(several)} guides for {entry.key}: {', '.join(several[:3])}. Give a narrower one."
    of_item = (
        f", and its STAC item has no such asset (it has {', '.join(sorted(entry.assets))})" if entry.assets else ""
    )
    return f"Its guide {place} is not there{of_item}. Mend --rgb {pattern}, or give --alone."
