"""Match scenes with guides by patterns of paths, assets of STAC items and tables."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dualsr_geo.batching.discovery import rasters_matching
from dualsr_geo.batching.scene_entry import SceneEntry, is_remote
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.storage.locations import exists
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.io.storage.urls import is_writable, resolve_dots

PLACEHOLDER = re.compile(r"\{(\w+)\}")
# The placeholders that every scene has.
SCENE_PLACEHOLDERS = ("stem", "name", "parent")


@dataclass(frozen=True)
class GuideRule:
    """How the guides of a scene are found.

    Attributes
    ----------
    patterns : tuple of str
        One for each guide: the key of an asset, or a path with ``{stem}``, ``{name}``, ``{parent}`` or a named
        group of `match`. A relative path starts at the scene's folder; wildcards must match one file.
    match : Pattern or None
        Searched in the paths of scenes; its named groups are placeholders of `patterns`.
    table : mapping of str to tuple of str
        The guides of scenes by path, name or STAC id.
    allow_unguided : bool
        Whether a scene whose guide is missing is sharpened without a guide.
    tables : tuple of str
        The files of `table`.
    """

    patterns: tuple[str, ...] = ()
    match: re.Pattern[str] | None = None
    table: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    allow_unguided: bool = False
    tables: tuple[str, ...] = ()


def guide_rule(rgb: Sequence[str], *, match: str | None = None, allow_unguided: bool = False) -> GuideRule:
    """Return the rule of the options of a batch.

    Parameters
    ----------
    rgb : sequence of str
        Patterns, keys of assets, and ``.csv`` tables with the columns ``scene`` and ``guide``.
    match : str, optional
        A regular expression with named groups, searched in the path of a scene.
    allow_unguided : bool
        Whether a scene whose guide is missing is sharpened without a guide.

    Raises
    ------
    OptionError
        If `match` is no regular expression, or a pattern has an unknown placeholder.
    InputError
        If a table cannot be read.
    """
    try:
        expression = None if match is None else re.compile(match)
    except re.error as error:
        raise OptionError(f"--match {match} is no regular expression: {error}.") from error
    tables = [p for p in rgb if p.lower().endswith(".csv") and not PLACEHOLDER.search(p)]
    patterns = tuple(p for p in rgb if p not in tables)
    names = {*SCENE_PLACEHOLDERS, *(expression.groupindex if expression else ())}
    for pattern in patterns:
        if unknown := [n for n in PLACEHOLDER.findall(pattern) if n not in names]:
            raise OptionError(
                f"--rgb {pattern} has the unknown placeholder {{{unknown[0]}}}. "
                f"Give {', '.join(f'{{{name}}}' for name in sorted(names))}, or a group of --match."
            )
    rows = [row for table in tables for row in _rows(table)]
    table = {scene: tuple(g for s, g in rows if s == scene and g) for scene, _ in rows}
    return GuideRule(patterns, expression, table, allow_unguided, tuple(tables))


def _rows(path: str) -> list[tuple[str, str]]:
    """Read the scenes and guides of a table; relative paths start at the current folder."""
    require_no_special_file(path, "--rgb")
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--rgb {path} cannot be read as a table: {error}.") from error
    if rows and not {"scene", "guide"} <= set(rows[0]):
        raise InputError(
            f"--rgb {path} has the columns {', '.join(map(str, rows[0]))}. Give a table with scene and guide."
        )
    return [(_table_key(row["scene"] or ""), _absolute(row["guide"] or "")) for row in rows]


def _table_key(scene: str) -> str:
    """Return the absolute path of a scene of a table; a name without a folder is kept."""
    return scene if os.sep not in scene else _absolute(scene)


def _absolute(path: str) -> str:
    return path if is_remote(path) or not path else os.path.abspath(path)


def matches_rule(entry: SceneEntry, rule: GuideRule) -> bool:
    """Return whether an entry is a scene: those of folders and globs have to match `rule.match`."""
    return rule.match is None or not entry.listed or rule.match.search(entry.key) is not None


def guides_of(entry: SceneEntry, rule: GuideRule) -> tuple[str, ...]:
    """Find the guides of a scene; none if the rule names none.

    Raises
    ------
    InputError
        If a guide is missing, or a pattern matches several files.
    """
    try:
        by_table = _by_table(entry, rule) if rule.table else ()
        return (*by_table, *(_by_pattern(entry, pattern, rule) for pattern in rule.patterns))
    except InputError:
        if rule.allow_unguided:
            return ()
        raise


def _by_table(entry: SceneEntry, rule: GuideRule) -> tuple[str, ...]:
    name = entry.key.rpartition("/")[2]
    for key in (entry.key, name, entry.stem):
        if key in rule.table:
            return rule.table[key]
    raise InputError(
        f"The table of --rgb has no row for {entry.key}. Add one, or give --alone to sharpen without a guide."
    )


def _by_pattern(entry: SceneEntry, pattern: str, rule: GuideRule) -> str:
    if pattern in entry.assets:
        return entry.assets[pattern]
    path = _filled(entry, pattern, rule)
    if not (is_remote(path) or path.startswith("/")):
        path = f"{glob.escape(entry.key.rpartition('/')[0])}/{path}"
    if is_remote(path) and not is_writable(path):
        # A web server cannot be searched; opening the guide reports whether it exists.
        return _unescaped(path)
    path = resolve_dots(path) if is_writable(path) else os.path.normpath(path)
    guides = _matching(path) if glob.has_magic(pattern) else _existing(_unescaped(path))
    if len(guides) != 1:
        raise InputError(_no_single_guide(entry, pattern, _unescaped(path), guides))
    if guides[0] == entry.path or (os.path.exists(entry.path) and os.path.samefile(guides[0], entry.path)):
        raise InputError(f"--rgb {pattern} names the scene {entry.path} itself. Give a pattern of its guide.")
    return guides[0]


def _filled(entry: SceneEntry, pattern: str, rule: GuideRule) -> str:
    """Return a pattern with the values of its placeholders, escaped: only the pattern's own wildcards match."""
    parent, _, name = entry.key.rpartition("/")
    values: dict[str, str] = {"stem": entry.stem, "name": name, "parent": parent}
    if rule.match is not None:
        match = rule.match.search(entry.key)
        if match is None:
            raise InputError(f"{entry.key} does not match --match {rule.match.pattern}, which --rgb needs.")
        values |= {k: v or "" for k, v in match.groupdict().items()}
    return PLACEHOLDER.sub(lambda m: glob.escape(values[m[1]]), pattern)


def _unescaped(path: str) -> str:
    """Undo `glob.escape`."""
    return re.sub(r"\[([*?[])\]", r"\1", path)


def _existing(path: str) -> list[str]:
    is_file = exists(path, InputError) if is_writable(path) else os.path.lexists(path)
    return [path] if is_file else []


def _matching(pattern: str) -> list[str]:
    return rasters_matching(pattern) if is_writable(pattern) else sorted(glob.glob(pattern))


def _no_single_guide(entry: SceneEntry, pattern: str, path: str, guides: Iterable[str]) -> str:
    """Return the message where a pattern matches no guide or several."""
    several = list(guides)
    if several:
        return (
            f"--rgb {pattern} matches {len(several)} guides of {entry.key}: {', '.join(several[:3])}. "
            "Give a pattern that matches one."
        )
    assets = f", and its STAC item has no such asset (it has {', '.join(sorted(entry.assets))})" if entry.assets else ""
    return (
        f"The guide {path} does not exist{assets}. Check --rgb '{pattern}', or give --alone to sharpen without a guide."
    )
